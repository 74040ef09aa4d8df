"""A file of prompts is read as it is meant, and names do not change when more is put behind."""

import pytest

from masktools.errors import ParameterError
from masktools.generation import Prompt, read_prompts
from masktools.generation.prompt_files import file_names


def written(tmp_path, name, content, encoding="utf-8"):
    (tmp_path / name).write_text(content, encoding=encoding)
    return tmp_path / name


def test_a_text_file_holds_one_prompt_in_each_line(tmp_path):
    path = written(tmp_path, "p.txt", "rain on a roof\n\n# a note\n  bells, far away \r\nrain on a roof")
    assert [prompt.text for prompt in read_prompts(path)] == ["rain on a roof", "bells, far away", "rain on a roof"]


def test_a_table_may_name_its_recordings_and_their_seeds(tmp_path):
    path = written(tmp_path, "p.csv", 'Name,caption,seed\na,"rain, soft",7\n,bells,\nb,,3\n', "utf-8-sig")
    assert read_prompts(path) == [Prompt("rain, soft", "a", 7), Prompt("bells")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", "[]", "a file of prompts must end in .txt or .csv, got 'p.json'"),
        ("p.txt", "# nothing\n\n", "must hold at least one, .* holds none"),
        ("p.csv", "words,seed\nrain,1\n", "must have a column prompt, caption or text, it has words, seed"),
        ("p.csv", "", "must have a column prompt, caption or text, it has none"),
        ("p.csv", "text,seed\nrain,one\n", r"line 2: a seed must be a whole number from 0 to \d+, got 'one'"),
        ("p.csv", "text,seed\nrain,-1\n", "got '-1'"),
        ("p.csv", "text,name\nrain,../rain\n", "line 2: a name must be that of a file, .* got '../rain'"),
        ("p.csv", "text,name\nrain,a:b\n", "got 'a:b'"),
    ],
)
def test_what_is_no_list_of_prompts_is_refused(tmp_path, name, content, message):
    with pytest.raises(ParameterError, match=message):
        read_prompts(written(tmp_path, name, content))


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="the file of prompts must exist"):
        read_prompts(tmp_path / "none.txt")
    (tmp_path / "p.txt").write_bytes("Glöckchen".encode("latin-1"))
    with pytest.raises(ParameterError, match="must be text in UTF-8"):
        read_prompts(tmp_path / "p.txt")


def test_names_come_from_the_words_and_are_all_different():
    texts = ["Rain on a roof.", "rain on a ROOF", "雨", "?!", "..", "x" * 200]
    names = [names[0] for names in file_names([Prompt(text) for text in texts])]
    assert names == ["rain-on-a-roof", "rain-on-a-roof-2", "雨", "sound", "sound-2", "x" * 60]


def test_a_given_name_is_kept_and_words_give_way_to_it():
    assert file_names([Prompt("rain"), Prompt("hail", name="Rain")]) == [["rain-2"], ["Rain"]]
    with pytest.raises(ParameterError, match="each prompt must have a name of its own, got 'a' twice"):
        file_names([Prompt("rain", "a"), Prompt("hail", "A")])


def test_prompts_put_behind_change_no_name():
    first = [Prompt("rain"), Prompt("rain"), Prompt("hail")]
    assert file_names([*first, *first])[:3] == file_names(first)

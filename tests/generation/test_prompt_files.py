"""A file of prompts is read as it is meant, and names do not change when more is put behind."""

import pytest

from masktools.errors import ParameterError
from masktools.generation import Prompt, read_prompts
from masktools.generation.collection import file_names


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
        ("p.csv", "text,name\nrain,a.WAV\n", "a name must go without its ending, which --format chooses, got 'a.WAV'"),
        ("p.csv", f"text,name\nrain,{'雨' * 70}\n", "line 2: a name must have at most 180 bytes, got 210"),
        ("p.csv", f"text,seed\nrain,{'9' * 5000}\n", "line 2: a seed must be a whole number"),
        ("p.csv", "text\nhail\nrain, soft\n", "line 3: a row must not have more fields than columns: put commas"),
        ("p.csv", 'text,seed\n"rain,1\nhail,2\n', "commas between its columns and quotes in pairs: unexpected end"),
        ("p.txt", "r\0a\0i\0n\0", "must be text, got .* with zero bytes"),
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


def test_a_prompt_in_quotes_may_have_several_lines_and_fields_that_are_left_over_may_be_empty(tmp_path):
    path = written(tmp_path, "p.csv", 'text,seed\r\n"a bell\r\nin a tower",1,,\r\n"a ""dog""\u2028barks",2\r\n')
    assert read_prompts(path) == [Prompt("a bell\nin a tower", None, 1), Prompt('a "dog"\u2028barks', None, 2)]


def test_a_line_of_text_ends_where_the_line_ends(tmp_path):
    path = written(tmp_path, "p.txt", "rain\u2028on a roof\x0c\nhail\x85falls\r\n")
    assert [prompt.text for prompt in read_prompts(path)] == ["rain\u2028on a roof", "hail\x85falls"]


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


def test_names_that_some_file_systems_take_for_one_are_two():
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert file_names([Prompt(composed), Prompt(apart)]) == [[composed], [f"{composed}-2"]]
    with pytest.raises(ParameterError, match="each prompt must have a name of its own"):
        file_names([Prompt("a", composed), Prompt("b", apart)])


def test_a_name_made_of_long_letters_is_cut_between_two_of_them():
    ((name,),) = file_names([Prompt("\U00020000" * 100)])
    assert name == "\U00020000" * 45


def test_ten_thousand_equal_prompts_are_named_at_once():
    names = [name for (name,) in file_names([Prompt("rain")] * 10_000)]
    assert names[-1] == "rain-10000"
    assert len(set(names)) == 10_000


def test_a_field_may_be_longer_than_the_reader_takes_by_itself(tmp_path):
    (prompt,) = read_prompts(written(tmp_path, "p.csv", f"text\n{'rain ' * 30_000}\n"))
    assert len(prompt.text) > 131_072

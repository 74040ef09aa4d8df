"""Lists of prompts become recordings, one file after the other."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from masktools.core.errors import MasktoolsError, ParameterError
from masktools.restoration.generation import (
    Finished,
    Item,
    Prompt,
    generate,
    generate_items,
    plan_items,
    read_prompts,
    write_behind,
)
from masktools.restoration.generation.collection import FINISHED, file_names
from masktools.restoration.generation.recordings import conditions_of
from masktools.solver import SolverConfig, item_seeds
from tests.tiny import tiny_pipeline


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


FEW = SolverConfig(n_steps=3)
TEXTS = ["rain", "a dog", "bells", "the sea", "wind"]


def made(batch_size, items=None):
    pipeline = tiny_pipeline(batch_size=batch_size)
    return list(generate_items(pipeline, items or plan_items([Prompt(text) for text in TEXTS]), 0.5, FEW))


def test_the_batch_size_changes_neither_order_nor_sound():
    one, many = made(1), made(3)
    assert [result.item.prompt for result in one] == [result.item.prompt for result in many] == TEXTS
    for left, right in zip(one, many, strict=True):
        np.testing.assert_allclose(left.samples, right.samples, atol=1e-4)


def test_a_packed_model_makes_bit_for_bit_the_same_in_any_batch():
    each = []
    for size in (1, 2, 5):
        pipeline = tiny_pipeline(batch_size=size)
        pipeline.pack()
        items = plan_items([Prompt(text) for text in TEXTS])
        each.append(np.stack([one.samples for one in generate_items(pipeline, items, 0.5, FEW)]))
    assert (each[0] == each[1]).all()
    assert (each[0] == each[2]).all()


def test_a_text_is_read_by_itself_whatever_stands_beside_it():
    pipeline, asked = tiny_pipeline(batch_size=3), []
    read = pipeline.condition
    pipeline.condition = lambda texts: asked.append(list(texts)) or read(texts)
    texts = ["rain", "a dog", "rain"]
    together = conditions_of(pipeline, texts)
    assert asked == [["rain"], ["a dog"]]
    assert all(torch.equal(together[place], read([text])[0]) for place, text in enumerate(texts))
    generate(pipeline, texts, seconds=0.3, solver=FEW)
    list(generate_items(pipeline, plan_items([Prompt(text) for text in texts]), 0.3, FEW))
    assert all(len(one) == 1 for one in asked)


def test_nothing_to_make_is_nothing():
    assert list(generate_items(tiny_pipeline(), [])) == []


def test_a_list_gives_what_generate_gives():
    whole = generate(tiny_pipeline(), TEXTS, n=2, seconds=0.5, seed=4, solver=FEW)
    items = plan_items([Prompt(text) for text in TEXTS], n=2, seed=4)
    each = list(generate_items(tiny_pipeline(), items, 0.5, FEW))
    assert [item.seed for item in items] == whole.report["seeds"]
    np.testing.assert_allclose(np.stack([one.samples for one in each]), whole.samples, atol=1e-4)


def test_a_prompt_with_its_own_seed_does_not_depend_on_its_place():
    own = Prompt("rain", seed=5)
    alone = plan_items([own], n=2, seed=1)
    behind = plan_items([Prompt("hail"), own], n=2, seed=9)
    assert [item.seed for item in alone] == [item.seed for item in behind[2:]] == item_seeds(5, 2)


def test_progress_reaches_its_end_and_a_length_out_of_range_is_refused():
    seen = []
    items = plan_items([Prompt(text) for text in TEXTS])
    list(generate_items(tiny_pipeline(batch_size=2), items, 0.3, FEW, lambda done, total: seen.append((done, total))))
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    with pytest.raises(ParameterError, match=r"seconds must lie in \(0, 600\], got 601"):
        next(generate_items(tiny_pipeline(), items, 601.0, FEW))


def test_writing_keeps_the_order_and_happens_elsewhere():
    threads, begun = set(), []

    def making():
        for number in range(6):
            begun.append(number)
            yield number

    def write(number):
        threads.add(threading.current_thread().name)
        time.sleep(0.002 * (6 - number))
        return number * 10

    assert list(write_behind(making(), write, 2)) == [0, 10, 20, 30, 40, 50]
    assert begun == list(range(6))
    assert threading.main_thread().name not in threads


def test_no_more_than_the_allowed_number_waits():
    let_go, written, begun = threading.Event(), [], []

    def making():
        for number in range(10):
            begun.append(number)
            if number == 4:
                let_go.set()
            yield number

    def write(number):
        let_go.wait(5)
        written.append(number)
        return number

    results = write_behind(making(), write, 3)
    assert next(results) == 0
    assert max(begun) <= 4, "four wait or are being written, then the making waits"
    assert list(results) == list(range(1, 10))
    assert written == list(range(10))


def test_what_cannot_be_written_ends_the_making():
    begun = []

    def making():
        for number in range(100):
            begun.append(number)
            yield number

    def write(number):
        if number == 2:
            raise OSError("disk full")
        return number

    with pytest.raises(OSError, match="disk full"):
        list(write_behind(making(), write, 1))
    assert len(begun) < 10


def test_what_is_finished_is_known_again_unless_anything_differs(tmp_path):
    pipeline, item = tiny_pipeline(), Item("rain", "rain", 3)
    target = tmp_path / "rain.wav"
    target.write_bytes(b"sound")
    Finished(tmp_path, pipeline, FEW, 1.0).add(item, target)

    def known(of=item, pipe=pipeline, solver=FEW, seconds=1.0, **more):
        return Finished(tmp_path, pipe, solver, seconds, **more).has(of, target)

    assert known()
    assert not known(of=replace(item, seed=4))
    assert not known(of=replace(item, prompt="hail"))
    assert not known(pipe=tiny_pipeline(seed=1))
    other = tiny_pipeline()
    other.vocoder.head.bias.add_(1.0)
    assert not known(pipe=other), "a bundle whose vocoder was trained further"
    other = tiny_pipeline()
    other.vocoder.config = replace(other.vocoder.config, width=32)
    assert not known(pipe=other), "a bundle whose vocoder has the same weights and other settings"
    assert not known(solver=SolverConfig())
    assert not known(seconds=2.0)
    assert not known(n_candidates=2)
    target.write_bytes(b"other sound")
    assert not known()
    target.unlink()
    assert not known()


def test_a_line_that_was_cut_off_is_no_line_and_spoils_no_other(tmp_path):
    pipeline = tiny_pipeline()
    for name in ("a", "b"):
        (tmp_path / f"{name}.wav").write_bytes(b"sound")
    first = Finished(tmp_path, pipeline, FEW, None)
    first.add(Item("a", "a", 0), tmp_path / "a.wav")
    with (tmp_path / FINISHED).open("a") as file:
        file.write('{"file": "b.wav", "ke')
    again = Finished(tmp_path, pipeline, FEW, None)
    assert again.has(Item("a", "a", 0), tmp_path / "a.wav")
    assert not again.has(Item("b", "b", 0), tmp_path / "b.wav")
    again.add(Item("b", "b", 0), tmp_path / "b.wav")
    assert Finished(tmp_path, pipeline, FEW, None).has(Item("b", "b", 0), tmp_path / "b.wav")


def test_a_recording_that_was_begun_is_known_as_ones_own(tmp_path):
    pipeline, item, target = tiny_pipeline(), Item("rain", "rain", 3), tmp_path / "rain.wav"
    target.write_bytes(b"sound")
    Finished(tmp_path, pipeline, FEW, 1.0).begin(item, target)
    again = Finished(tmp_path, pipeline, FEW, 1.0)
    assert not again.has(item, target)
    assert again.has_begun(item, target)
    assert not again.has_begun(replace(item, seed=4), target)
    assert not Finished(tmp_path, pipeline, FEW, 2.0).has_begun(item, target)
    again.add(item, target)
    assert again.has(item, target)
    assert not again.has_begun(item, target)


def test_a_model_is_known_by_the_weights_of_all_its_parts(tmp_path):
    pipeline, item, target = tiny_pipeline(), Item("rain", "rain", 3), tmp_path / "rain.wav"
    target.write_bytes(b"sound")
    Finished(tmp_path, pipeline, FEW, None).add(item, target)
    assert Finished(tmp_path, tiny_pipeline(), FEW, None).has(item, target)
    with torch.no_grad():
        next(pipeline.vocoder.parameters()).add_(1.0)
    assert not Finished(tmp_path, pipeline, FEW, None).has(item, target)


def test_a_note_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / FINISHED).mkdir()
    notes = Finished(tmp_path, tiny_pipeline(), FEW, None)
    with pytest.raises(MasktoolsError, match=rf"{FINISHED} cannot be written: Is a directory"):
        notes.begin(Item("rain", "rain", 3), tmp_path / "rain.wav")

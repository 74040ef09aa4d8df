"""Edits are gone back and forth in; what is heard depends on those that hold alone; nothing is rewritten."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools import io
from masktools.app.edits import RESULT, Edit, Edits, pieces_of
from masktools.app.exports import save, write_audio
from masktools.app.refusals import RefusalError

RATE, N, CHANNELS = 8000, 4000, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recording's folder with three jobs of two regions, two candidates each; regions of different jobs overlap."""
    folder = tmp_path_factory.mktemp("recording")
    rng = np.random.default_rng(0)
    io.write(folder / "source.wav", rng.uniform(-0.5, 0.5, (CHANNELS, N)).astype(np.float32), RATE, "PCM_16")
    for number in range(3):
        own = folder / "jobs" / f"job{number}"
        own.mkdir(parents=True)
        regions = {}
        for region in range(2):
            start, n = 500 * (number + 3 * region), 700
            regions[f"r{region}"] = []
            for candidate in range(2):
                file = f"{region}-{candidate}.npy"
                channels = [0, 1] if candidate else [region]
                np.save(own / file, rng.uniform(-1, 1, (len(channels), n)).astype(np.float32))
                place = {"file": file, "start": start, "stop": start + n, "channels": channels}
                regions[f"r{region}"].append({"pieces": [place]})
        (own / RESULT).write_text(json.dumps({"regions": regions}))
    return folder


@st.composite
def steps(draw):
    """Yield what is done: accept a job with choices, undo, redo."""
    choices = st.dictionaries(st.sampled_from(["r0", "r1"]), st.integers(0, 1), min_size=1)
    accept = st.tuples(st.just("accept"), st.integers(0, 2), choices)
    return draw(st.lists(accept | st.just(("undo",)) | st.just(("redo",)), max_size=12))


def applied(edits, all_steps):
    for number, step in enumerate(all_steps):
        if step[0] == "accept":
            edits = edits.add(Edit(f"e{number}", "inpaint", f"job{step[1]}", step[2]))
        elif (step[0] == "undo" and edits.cursor) or (step[0] == "redo" and edits.cursor < len(edits.entries)):
            edits = getattr(edits, step[0])()
    return edits


def heard(folder, edits):
    """Return the samples of the recording with its edits."""
    samples = io.read(folder / "source.wav").samples.copy()
    return io.put_pieces(samples, 0, pieces_of(folder, edits.holding())).tobytes()


def exported(folder, edits, tmp_path):
    """Return the bytes of the recording with its edits."""
    target = tmp_path / "out.wav"
    write_audio(folder / "source.wav", target, pieces_of(folder, edits.holding()))
    return target.read_bytes()


@settings(max_examples=40, deadline=None)
@given(first=steps(), second=steps())
def test_undo_after_any_sequence_gives_the_same_bytes(folder, first, second):
    edits = applied(Edits(), first)
    wanted = heard(folder, edits)
    after = edits
    n_added = 0
    for step in second:
        if step[0] == "accept":
            after = applied(after, [step])
            n_added += 1
    for _ in range(n_added):
        after = after.undo()
    assert heard(folder, after) == wanted
    assert after.holding() == edits.holding()


@settings(max_examples=8, deadline=None)
@given(done=steps())
def test_all_undone_is_the_file_itself(folder, tmp_path_factory, done):
    edits = applied(Edits(), done)
    while edits.cursor:
        edits = edits.undo()
    assert exported(folder, edits, tmp_path_factory.getbasetemp()) == (folder / "source.wav").read_bytes()


@settings(max_examples=12, deadline=None)
@given(done=steps())
def test_what_is_saved_differs_inside_pieces_only(folder, tmp_path_factory, done):
    place = tmp_path_factory.getbasetemp()
    pieces = pieces_of(folder, applied(Edits(), done).holding())
    target = place / "saved.wav"
    save(folder / "source.wav", target, pieces)
    before, after = (
        np.frombuffer(path.read_bytes()[44:], "<i2").reshape(-1, CHANNELS) for path in (folder / "source.wav", target)
    )
    is_known = np.ones((N, CHANNELS), bool)
    for piece in pieces:
        is_known[piece.start : piece.stop, list(piece.channels)] = False
    assert np.array_equal(before[is_known], after[is_known])
    assert target.read_bytes()[:44] == (folder / "source.wav").read_bytes()[:44]


def test_another_choice_for_a_region_replaces_the_first_and_lies_on_top(folder):
    edits = Edits().add(Edit("a", "inpaint", "job0", {"r0": 0, "r1": 0})).add(Edit("b", "inpaint", "job1", {"r0": 1}))
    again = edits.add(Edit("c", "inpaint", "job0", {"r0": 1}))
    assert again.holding() == [("job0", "r1", 0), ("job1", "r0", 1), ("job0", "r0", 1)]
    assert again.undo().holding() == edits.holding()


def test_what_was_undone_is_gone_when_something_else_is_done():
    edits = Edits().add(Edit("a", "inpaint", "job0", {"r0": 0})).undo().add(Edit("b", "inpaint", "job1", {"r0": 0}))
    assert [edit.id for edit in edits.entries] == ["b"]
    with pytest.raises(RefusalError, match="nothing to undo"):
        edits.undo().undo()

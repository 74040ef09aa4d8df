"""What the page draws and plays is what is in the file, at every zoom."""

import io as memory
import json

import numpy as np
import pytest
from PIL import Image
from scipy.fft import rfft
from scipy.signal.windows import hann

from masktools import io
from masktools.app.edits import RESULT, Edit, Edits
from masktools.app.layers import COLUMN, N_ROWS, rows_of
from masktools.app.refusals import RefusalError
from masktools.app.store import Source, Store
from masktools.app.survey import survey
from masktools.app.views import FIRST_HOP, TILE, View
from masktools.review.panels import Rows
from tests.app.conftest import GAPS, RATE, damaged


@pytest.fixture(scope="module")
def session(tape, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("views"))
    yield store.open_file(tape)
    store.close()


@pytest.fixture(scope="module")
def view(session, tape):
    """A recording that was surveyed."""
    made = View(session.folder, tape)
    made.events = list(survey(made))
    yield made
    made.close()


@pytest.fixture(scope="module")
def wave(tape):
    return io.read(tape).samples


def colours(png):
    return np.asarray(Image.open(memory.BytesIO(png)))


def literal(wave, channel, scale, start, hop):
    """Return levels (rows, columns) by the definition: the mean power of frames, summed over the bins of each row."""
    length = 2 * round(0.046 * RATE / 2)
    window = hann(length, sym=False)
    per_column = max(1, int(np.ceil(hop / (length / 2))))
    edges = rows_of(scale, RATE).edges_hz
    hz, half = np.arange(length // 2 + 1) * RATE / length, RATE / length / 2
    shared = np.minimum(hz + half, edges[1:, None]) - np.maximum(hz - half, edges[:-1, None])
    shares = shared.clip(0) / (2 * half * 1.5)
    levels = np.empty((N_ROWS, TILE))
    for column in range(TILE):
        power = np.zeros(len(hz))
        for frame in range(per_column):
            centre = start + int(np.floor((column * per_column + frame + 0.5) * hop / per_column))
            at = np.arange(centre - length // 2, centre - length // 2 + length)
            inside = (at >= 0) & (at < wave.shape[1])
            samples = np.where(inside, wave[channel, at.clip(0, wave.shape[1] - 1)], 0.0)
            power += np.abs(rfft(samples * window) * 2 / window.sum()) ** 2 / per_column
        levels[:, column] = 10 * np.log10(shares @ power + 1e-12)
    return levels


@pytest.mark.parametrize(
    ("level", "index", "scale", "channel"),
    [(0, 3, "mel", 0), (4, 1, "linear", 1), (7, 0, "mel", 1), (8, 0, "linear", 0), (8, 0, "mel", 1)],
)
def test_a_tile_is_the_spectrogram_of_its_place(view, wave, level, index, scale, channel):
    hop = FIRST_HOP << level
    picture, is_true = view.tile("before", channel, scale, level, index)
    assert is_true
    wanted = literal(wave, channel, scale, index * TILE * hop, hop)
    shown = view.scale.show(wanted).astype(int)
    difference = np.abs(colours(picture).astype(int) - shown)
    n_known = min(TILE, -(-(wave.shape[1] - index * TILE * hop) // hop))
    step = 1 if level < 8 else 2  # from afar levels are kept in steps of half a decibel
    assert difference[:, :n_known].max() <= step
    assert (difference == 0).mean() > 0.9


def test_tiles_of_every_level_show_the_same_tone(view, wave):
    """The row in which a tone is the strongest does not move with the zoom."""
    rows = []
    for level in range(11):
        hop = FIRST_HOP << level
        picture = colours(view.tile("before", 0, "mel", level, 0)[0]).astype(int)
        n_known = max(1, min(TILE, wave.shape[1] // hop))
        rows.append(int(picture[:, :n_known].mean(axis=1).argmax()))
    assert max(rows) - min(rows) <= 1
    edges = Rows(RATE / 2, N_ROWS).edges_hz
    assert edges[N_ROWS - 1 - rows[0]] <= 225
    assert edges[N_ROWS - rows[0]] >= 215


def test_samples_are_those_of_the_file(view, wave):
    sent = np.frombuffer(view.samples("before", 1000, 500), "<f4").reshape(2, 500)
    assert np.array_equal(sent, wave[:, 1000:1500])
    assert np.frombuffer(view.samples("before", wave.shape[1] - 10, 500), "<f4").size == 20


@pytest.mark.parametrize(
    ("start", "stop", "width"), [(0, 132_300, 1200), (100, 300, 200), (19_000, 22_000, 37), (5, 132_300, 3)]
)
def test_peaks_hold_every_sample_of_their_columns(view, wave, start, stop, width):
    peaks = np.frombuffer(view.peaks("before", start, stop, width), "<i2").reshape(2, width, 2)
    edges = start + np.arange(width + 1) * (stop - start) // width
    wide = 256 if (stop - start) / width >= 512 else 0
    for column in range(0, width, max(1, width // 50)):
        low, high = edges[column] // (wide or 1) * (wide or 1), edges[column + 1]
        inside = wave[:, low : max(low + 1, high // (wide or 1) * (wide or 1) if column < width - 1 else stop)]
        assert np.array_equal(peaks[:, column, 0], np.rint(inside.min(axis=1) * 32767).astype(int))
        assert np.array_equal(peaks[:, column, 1], np.rint(inside.max(axis=1) * 32767).astype(int))


def test_the_survey_finds_the_damage_and_tells_how_far_it_is(view):
    shares = [told["share"] for name, told in view.events if name == "survey"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    found = json.loads((view.folder / "survey" / "findings.json").read_text())
    assert [(one["start"], one["end"]) for one in found["damage"]] == list(GAPS)
    assert {name for name, _ in view.events} == {"survey", "damage"}


def test_the_overview_is_that_of_the_samples_whatever_the_order_in_which_it_is_filled(view, wave):
    layer = view.layer("before")
    assert layer.fresh.all()
    held = {scale: codes.copy() for scale, codes in layer.codes.items()}
    layer.spoil(GAPS[0][0], GAPS[0][1])
    assert not layer.fresh[GAPS[0][0] // COLUMN]
    list(layer.fill_stale(view.before))
    for scale, codes in held.items():
        assert np.abs(codes.astype(int) - layer.codes[scale]).max() <= 1  # the same but for rounding


@pytest.fixture(scope="module")
def repaired(session, view, wave):
    """The view after two edits, and the samples that are heard then."""
    own = session.folder / "jobs" / "job"
    own.mkdir(parents=True)
    rng = np.random.default_rng(3)
    after, regions = wave.copy(), {}
    for number, (start, stop) in enumerate(GAPS):
        fill = rng.uniform(-0.2, 0.2, (2, stop - start)).astype(np.float32)
        after[:, start:stop] = fill
        np.save(own / f"{number}.npy", fill)
        place = {"file": f"{number}.npy", "start": start, "stop": stop, "channels": [0, 1]}
        regions[f"r{number}"] = [{"pieces": [place]}]
    (own / RESULT).write_text(json.dumps({"regions": regions}))
    edits = Edits().add(Edit("a", "inpaint", "job", {"r0": 0})).add(Edit("b", "inpaint", "job", {"r1": 0}))
    session.change(edits=edits)
    assert view.follow(session.state.revision)
    return after


def test_after_is_before_with_the_pieces_in_their_places(view, wave, repaired):
    for start in (0, GAPS[0][0] - 50, GAPS[1][0] + 100):
        sent = np.frombuffer(view.samples("after", start, 2000), "<f4").reshape(2, 2000)
        assert np.array_equal(sent, repaired[:, start : start + 2000])


def test_the_difference_is_exactly_zero_where_nothing_was_done(view, wave, repaired):
    assert not np.frombuffer(view.samples("difference", 0, 19_000), "<f4").any()
    sent = np.frombuffer(view.samples("difference", GAPS[0][0], 800), "<f4").reshape(2, 800)
    assert np.array_equal(sent, (repaired - wave)[:, GAPS[0][0] : GAPS[0][1]])


def test_pictures_of_the_repaired_side_are_those_of_the_repaired_samples(view, repaired):
    assert view.freshen()
    for scale in ("mel", "linear"):
        picture, is_true = view.tile("after", 1, scale, 8, 0)
        assert is_true
        wanted = view.scale.show(literal(repaired, 1, scale, 0, COLUMN)).astype(int)
        n_known = repaired.shape[1] // COLUMN
        assert np.abs(colours(picture).astype(int) - wanted)[:, :n_known].max() <= 2
    peaks = np.frombuffer(view.peaks("after", 0, repaired.shape[1], 100), "<i2").reshape(2, 100, 2)
    column = GAPS[0][0] * 100 // repaired.shape[1]
    assert peaks[0, column, 1] >= np.rint(repaired[0, 20_000:20_700].max() * 32767) - 1


def test_undo_shows_what_was_there(view, session, wave, repaired):
    session.change(edits=session.state.edits.undo().undo())
    assert view.follow(session.state.revision)
    assert view.freshen()
    before, after = (view.tile(side, 0, "mel", 8, 0)[0] for side in ("before", "after"))
    assert np.abs(colours(before).astype(int) - colours(after)).max() <= 1
    assert not np.frombuffer(view.samples("difference", GAPS[0][0], 800), "<f4").any()


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (lambda view: view.samples("before", 10**9, 10), 422),
        (lambda view: view.samples("before", 0, 10**9), 422),
        (lambda view: view.samples("nowhere", 0, 10), 404),
        (lambda view: view.peaks("before", 10, 10, 10), 422),
        (lambda view: view.peaks("before", 0, 10, 5000), 422),
        (lambda view: view.tile("before", 2, "mel", 0, 0), 404),
        (lambda view: view.tile("before", 0, "mel", 21, 0), 404),
        (lambda view: view.tile("before", 0, "mel", 0, 10**9), 404),
    ],
)
def test_what_is_not_there_is_refused(view, ask, status):
    with pytest.raises(RefusalError) as refused:
        ask(view)
    assert refused.value.status == status


def test_a_cut_file_is_shown_as_far_as_it_goes(tmp_path):
    path = tmp_path / "cut.flac"
    io.write(path, damaged(20.0), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    store = Store(tmp_path / "sessions")
    view = View(store.add("cut.flac", Source.of(path)).folder, path)
    events = list(survey(view))
    found = json.loads((view.folder / "survey" / "findings.json").read_text())
    assert events[-1] == ("survey", {"share": 1.0})
    assert any("cut off" in warning or "damaged" in warning for warning in found["warnings"])
    assert np.frombuffer(view.samples("before", 0, 1000), "<f4").any()
    view.close()
    store.close()


def test_the_length_that_an_mp3_promises_gives_way_to_the_true_one(tmp_path):
    path = tmp_path / "cut.mp3"
    io.write(path, damaged(20.0), RATE)
    whole = path.read_bytes()
    start = whole.index(b"\xff\xf3", 400)  # without the frame that says how many there are
    path.write_bytes(whole[start : len(whole) * 3 // 4])
    store = Store(tmp_path / "sessions")
    view = View(store.add("cut.mp3", Source.of(path)).folder, path)
    promised = view.facts()
    assert not promised["exact"]
    assert len(view.peaks("before", 0, promised["samples"], 1200)) == 2 * 1200 * 4  # at once, before all is decoded
    events = dict(survey(view))
    assert events["length"]["exact"]
    with io.open_recording(path, tell=False) as decoded:
        assert events["length"]["samples"] == decoded.n_samples
    view.close()
    store.close()

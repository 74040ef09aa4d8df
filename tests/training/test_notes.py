"""Notes of instruments: NSynth's real layout in miniature, its cache, and the words of notes."""

import json

import numpy as np
import pytest
import soundfile
import torch

from masktools.core.errors import ParameterError
from masktools.mel import MelConfig, MelFrontEnd
from masktools.networks.conditioning.notes import NoteWords, NoteWordsConfig, pitch_name, pitch_of
from masktools.training.notes import NoteData, NoteStream, build_note_cache, read_notes
from tests.training.nsynth import as_tars, write_notes

MEL = MelConfig()


@pytest.fixture(scope="module")
def nsynth(tmp_path_factory):
    return write_notes(tmp_path_factory.mktemp("nsynth"))


@pytest.fixture(scope="module")
def cache(nsynth, tmp_path_factory):
    return build_note_cache([str(nsynth)], tmp_path_factory.mktemp("cache"), MEL, 32)


@pytest.mark.parametrize("table_last", [False, True])
def test_a_tar_holds_what_its_folder_holds(nsynth, tmp_path, table_last):
    tars = as_tars(nsynth, tmp_path / "tars", table_last)
    of_folder = {note.name: (note, read()) for note, read in read_notes(nsynth)}
    of_tars = {note.name: (note, read()) for note, read in read_notes(tars)}
    assert len(of_folder) == 16
    assert of_folder.keys() == of_tars.keys()
    for name, (note, (samples, rate)) in of_folder.items():
        assert of_tars[name][0] == note
        assert rate == of_tars[name][1][1] == 16_000
        np.testing.assert_array_equal(of_tars[name][1][0], samples)
    assert not list(tmp_path.rglob("*.wav")), "nothing is unpacked"


def test_the_splits_are_those_of_nsynth_and_share_no_instrument(cache):
    of_split = {name: {cache.notes[n].instrument for n in cache.split(name)} for name in ("train", "valid", "test")}
    assert [len(cache.split(name)) for name in of_split] == [8, 4, 4]
    assert not of_split["train"] & (of_split["valid"] | of_split["test"])


def test_a_note_is_cached_as_its_spectrogram_resampled_and_followed_by_silence(cache, nsynth):
    note, _ = next(read_notes(nsynth))
    number = [one.name for one in cache.notes].index(note.name)
    mel = cache.mel(number)
    assert mel.shape == (80, 32)
    assert (mel[:, 24:] == -1).all()
    time_s = np.arange(round(0.25 * 22_050)) / 22_050
    hertz = 440 * 2 ** ((note.pitch - 69) / 12)
    overtones = 6 if note.family == "reed" else 3
    wave = 0.3 * np.exp(-3 * time_s) * sum(np.sin(2 * np.pi * hertz * n * time_s) / n for n in range(1, overtones))
    wanted = MelFrontEnd(MEL)(torch.from_numpy(wave.astype(np.float32))[None])[0]
    loud = wanted[:, 2:18] > -0.2
    assert (mel[:, 2:18] - wanted[:, 2:18])[loud].abs().max() < 0.02


def test_broken_notes_are_left_out_and_counted(tmp_path):
    source = write_notes(tmp_path / "notes")
    broken = sorted((source / "nsynth-train" / "audio").iterdir())
    broken[0].write_bytes(b"no audio")
    broken[1].unlink()
    soundfile.write(broken[2], np.zeros(0), 16_000)
    made = build_note_cache([str(source)], tmp_path / "cache", MEL, 16)
    assert made.n_skipped == 3
    assert len(made.notes) == len(made.mels) == 13


def test_a_cache_is_made_once_and_not_mixed_up_with_another(cache, nsynth, tmp_path):
    sources = [str(nsynth)]
    again = build_note_cache(sources, tmp_path / "cache", MEL, 16)
    assert build_note_cache(sources, tmp_path / "cache", MEL, 16).notes == again.notes
    with pytest.raises(ParameterError, match="other notes or settings"):
        build_note_cache(sources, tmp_path / "cache", MEL, 32)


def test_what_is_no_nsynth_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"no notes at .*: it must be a folder with examples.json"):
        list(read_notes(tmp_path))
    (tmp_path / "examples.json").write_text(json.dumps({"../up": {"pitch": 60}}))
    with pytest.raises(ParameterError, match="must have pitch, velocity"):
        list(read_notes(tmp_path))
    row = {"pitch": 60, "velocity": 1, "instrument_str": "a", "instrument_family_str": "reed"}
    (tmp_path / "examples.json").write_text(json.dumps({"../up": row}))
    with pytest.raises(ParameterError, match="a plain name"):
        list(read_notes(tmp_path))


def test_the_stream_is_a_function_of_the_seed_and_leaves_some_things_open(cache):
    streams = [NoteStream(cache, "train", seed, open_share=0.3) for seed in (1, 1, 2)]
    samples = [[stream.sample(index) for index in range(60)] for stream in streams]
    assert all(torch.equal(a["mel"], b["mel"]) for a, b in zip(*samples[:2], strict=True))
    assert not all(torch.equal(a["mel"], b["mel"]) for a, b in zip(samples[0], samples[2], strict=True))
    words = cache.words
    told_pitch = [bool(sample["condition"][: words.config.n_pitches].any()) for sample in samples[0]]
    told_family = [bool(sample["condition"][-2:].any()) for sample in samples[0]]
    assert 0 < sum(told_pitch) < 60
    assert 0 < sum(told_family) < 60
    families = {sample["family"] for sample in samples[0]}
    assert families == {0, 1}


def test_validation_notes_have_their_full_condition(nsynth, tmp_path):
    data = NoteData(str(tmp_path / "cache"), [str(nsynth)], n_frames=32, batch_size=3, n_valid_notes=4)
    data.prepare_data()
    data.setup()
    (batch, rest) = list(data.val_dataloader())
    assert batch["mel"].shape == (3, 80, 32)
    assert len(rest["mel"]) == 1
    words = data.notes.words
    assert all((row > 0).sum() == 3 for row in batch["condition"])
    assert batch["condition"].shape[1] == words.dim == 88 + 2 + 2


WORDS = NoteWords(NoteWordsConfig((("clarinet", "reed"), ("electric_guitar", "guitar"), ("flute", "flute")), 40, 80))


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("a clarinet, C4", (60, "clarinet", None)),
        ("an electric guitar playing Bb3", (58, "electric_guitar", None)),
        ("F#5", (78, None, None)),
        ("some reed at MIDI note 62", (62, None, "reed")),
        ("two flutes", (None, "flute", None)),
    ],
)
def test_words_of_a_note_are_read(text, classes):
    assert WORDS.classes(text) == classes
    vector = WORDS.embed_text([text])[0]
    assert vector.norm() == pytest.approx(1.0)
    assert torch.equal(vector, WORDS.vector(*classes))


def test_names_of_pitches_are_read_back():
    assert all(pitch_of(pitch_name(pitch)) == pitch for pitch in range(128))


@pytest.mark.parametrize(
    ("text", "what"),
    [("rain", "names no note"), ("a flute, C8", "from E2"), (" ", "is empty")],
)
def test_words_that_are_no_note_are_refused(text, what):
    with pytest.raises(ParameterError, match=what):
        WORDS.embed_text([text])


def test_unknown_classes_are_refused():
    with pytest.raises(ParameterError, match="choose from clarinet"):
        WORDS.vector(60, "oboe")
    with pytest.raises(ParameterError, match="choose from flute, guitar, reed"):
        WORDS.vector(60, family="vocal")


def test_no_instrument_is_held_out_whose_name_training_lacks():
    from recipes.renders.instruments import label_of
    from recipes.renders.notes import family_of, held_out

    for seed in range(20):
        out = held_out(seed)
        trained = {label_of(program) for program in range(128) if family_of(program) and program not in out}
        assert {label_of(program) for program in out} <= trained
        families = {split: {family_of(p) for p, s in out.items() if s == split} for split in ("valid", "test")}
        assert len(families["valid"]) >= 10
        assert len(families["test"]) >= 9


def test_rendered_notes_are_nsynth_and_are_as_long_and_as_high_as_asked(tmp_path):
    import shutil

    from recipes.renders import notes

    if shutil.which("fluidsynth") is None or not notes.SOUNDFONT.is_file():
        pytest.skip("needs fluidsynth and its General MIDI bank")
    settings = notes.NoteRenderSettings(60, 72, 12, (100,), 0.5, 0.8)
    split = notes.held_out(0).get(71, "train")
    assert notes.render_notes(tmp_path, settings, programs=[71]) == {split: 2}
    found = {note.pitch: (note, *read()) for note, read in read_notes(tmp_path)}
    assert [found[pitch][0].label for pitch in (60, 72)] == ["clarinet", "clarinet"]
    for pitch, (_, samples, rate) in found.items():
        assert len(samples) == round(0.8 * rate)
        spectrum = np.abs(np.fft.rfft(samples))
        strongest = np.flatnonzero(spectrum > 0.3 * spectrum.max())[0] / 0.8
        assert abs(12 * np.log2(strongest / (440 * 2 ** ((pitch - 69) / 12)))) < 0.5

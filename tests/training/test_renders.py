"""Training audio of the project's own: pieces are well formed, renders sound, and a folder of them can be trusted."""

import csv
import os
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from recipes.renders import levels, programs
from recipes.renders.chip import play_chip
from recipes.renders.composer import compose
from recipes.renders.drumming import GROOVES, drumming
from recipes.renders.figures import BASSES, CHORDS, bass_line
from recipes.renders.folder import COLUMNS, RenderSettings, plan, render_folder
from recipes.renders.harmony import MODES, Key, progression
from recipes.renders.instruments import INSTRUMENTS, label_of, range_of
from recipes.renders.melody import melody
from recipes.renders.midi import TICKS, Note, Part, midi_file
from recipes.renders.mixtures import render_mixture
from recipes.renders.music import SOUNDFONT, render_music, synthesise
from recipes.renders.noises import NOISES, noise
from recipes.renders.speech import render_speech, voices_of
from recipes.renders.styles import STYLES
from recipes.renders.words import LANGUAGES, sentence

RATE = 22_050
plays = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUNDFONT.is_file(), reason="fluidsynth or its bank is not installed"
)
speaks = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
seeds = st.integers(0, 2**32)

# What stands in for both programs: it writes four seconds of a tone to the file that it was told of.
STAND_IN = f"""#!{sys.executable} -S
import sys, wave
words = sys.argv
with wave.open(words[words.index("-F" if "-F" in words else "-w") + 1], "wb") as file:
    file.setparams((1, 2, 22050, 0, "NONE", ""))
    file.writeframes(b"\\x00\\x10\\x00\\xf0" * 44100)
"""


def rng(seed=0):
    return np.random.default_rng(seed)


def program(folder, name, text):
    """Put a program into a folder."""
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Both programs and a bank, none of them real; the bank's path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in programs.PACKAGES:
        program(folder, name, STAND_IN)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "bank.sf2").write_bytes(b"RIFF")
    return tmp_path / "bank.sf2"


def read_tracks(data):
    """Return the tracks of a MIDI file as lists of (tick, message); each message here has a known length."""
    assert data[:8] == b"MThd\x00\x00\x00\x06"
    form, n_tracks, ticks = struct.unpack(">HHH", data[8:14])
    assert (form, ticks) == (1, TICKS)
    tracks, at = [], 14
    for _ in range(n_tracks):
        assert data[at : at + 4] == b"MTrk"
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8])
        at, now, events = at + 8, 0, []
        while at < end:
            delta = 0
            while True:
                delta = delta << 7 | data[at] & 0x7F
                at += 1
                if data[at - 1] < 0x80:
                    break
            now += delta
            status = data[at]
            n = 3 + data[at + 2] if status == 0xFF else 2 if status & 0xF0 == 0xC0 else 3
            events.append((now, data[at : at + n]))
            at += n
        assert events[-1][1] == b"\xff\x2f\x00"
        tracks.append(events)
    assert at == len(data)
    return tracks


notes = st.builds(
    Note, st.floats(0, 40), st.floats(0.01, 8), st.integers(0, 127).filter(lambda p: p % 12 < 3), st.integers(1, 127)
)


@settings(deadline=None, max_examples=40)
@given(st.lists(notes, max_size=30), st.integers(0, 127))
def test_in_a_midi_file_every_key_that_goes_down_comes_up_before_it_goes_down_again(few, instrument):
    _, track = read_tracks(midi_file([Part(instrument, tuple(few))], 120))
    down = set()
    for _, message in track:
        if message[0] & 0xF0 == 0x90:
            assert message[1] not in down
            down.add(message[1])
        if message[0] & 0xF0 == 0x80:
            down.remove(message[1])
    assert not down


def test_a_midi_file_holds_tempo_instrument_and_notes():
    tempo, track = read_tracks(midi_file([Part(73, (Note(1, 0.5, 60, 90),), volume=77)], 100))
    assert tempo[0] == (0, b"\xff\x51\x03" + (600_000).to_bytes(3))
    assert track[0] == (0, bytes((0xC0, 73)))
    assert (0, bytes((0xB0, 7, 77))) in track
    assert (TICKS, bytes((0x90, 60, 90))) in track
    assert (TICKS * 3 // 2, bytes((0x80, 60, 64))) in track


def test_drums_have_the_tenth_channel_to_themselves():
    parts = [Part(0, (Note(0, 1, 60, 80),)) for _ in range(12)] + [Part(0, (Note(0, 1, 36, 80),), drums=True)]
    channels = [track[0][1][0] & 0x0F for track in read_tracks(midi_file(parts, 90))[1:]]
    assert channels == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 9]


def test_general_midi_has_128_instruments():
    assert len(INSTRUMENTS) == 128
    assert (label_of(0), label_of(40), label_of(73)) == ("piano", "violin", "flute")
    assert all(low + 12 <= high for low, high in map(range_of, range(128)))
    with pytest.raises(ParameterError, match=r"a General MIDI program must lie in \[0, 127\], got 128"):
        range_of(128)


@given(st.integers(2, 16), seeds, st.sampled_from(["full", "half"]))
def test_progressions_begin_on_the_tonic_and_cadence(n_chords, seed, last):
    chords = progression(n_chords, rng(seed), last)
    assert len(chords) == n_chords
    assert chords[0] == 0
    if n_chords > 2:
        assert chords[-2:] == {"full": (4, 0), "half": (3, 4)}[last]


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 11), st.sampled_from(sorted(MODES)), st.sampled_from(["calm", "lively", "quick", "triplet"]), seeds
)
def test_a_melody_stays_in_its_key_and_about_its_range(root, mode, feel, seed):
    key = Key(root, mode)
    sung = melody(key, progression(8, rng(seed)), 4, 55, 79, feel, rng(seed))
    scale = {key.pitch(degree) % 12 for degree in range(7)}
    assert {note.pitch % 12 for note in sung} <= scale
    assert all(55 - 7 <= note.pitch <= 79 + 7 for note in sung)
    assert all(0 <= note.start < 32 for note in sung)


@pytest.mark.parametrize("name", CHORDS)
def test_figures_play_within_their_chords_time(name):
    for beats in (3.0, 4.0):
        played = CHORDS[name]([55, 59, 62, 65], beats, rng())
        assert played
        assert all(note.start < beats for note in played)


@pytest.mark.parametrize("name", BASSES)
def test_basses_begin_on_the_chords_root_or_soon_after(name):
    line = bass_line(name, 3, 4.0, rng())
    start, _, degree = line[0]
    assert start <= 0.5
    assert degree in (3, 4, 5, 2)
    assert all(at + length <= 4.0 + 1e-9 for at, length, _ in line)


@pytest.mark.parametrize("name", GROOVES)
def test_grooves_fill_their_bars(name):
    struck = drumming(name, 8, 3 if name in ("waltz", "afro") else 4, rng(1))
    assert {int(note.start // 4) for note in struck} >= set(range(6))
    assert drumming(name, 8, 4, rng(1)) == drumming(name, 8, 4, rng(1))


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_every_style_composes_pieces_that_last_and_can_be_written(style):
    for seed in range(3):
        piece = compose(style, 20.0, rng(seed))
        assert piece == compose(style, 20.0, rng(seed))
        assert piece.duration_s >= 20.0
        assert style.tempo[0] <= piece.tempo <= style.tempo[1]
        assert set(style.labels) <= set(piece.labels)
        assert set(piece.instruments) <= set(piece.labels)
        assert piece.onsets_per_s > 0.05
        read_tracks(midi_file(piece.parts, piece.tempo))


def test_oscillators_play_whole_pieces():
    style = next(style for style in STYLES if style.name == "chiptune")
    wave = play_chip(compose(style, 5.0, rng()), RATE, rng())
    assert len(wave) > 5 * RATE
    assert levels.bandwidth_hz(wave, RATE) > 10_000
    assert abs(wave.mean()) < 0.02


@pytest.mark.parametrize("name", NOISES)
def test_noises_are_as_loud_as_one_another_and_drawn_from_their_seed(name):
    sound = noise(name, 4 * RATE, RATE, rng(3))
    assert sound.shape == (4 * RATE,)
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(1.0, rel=1e-6)
    assert np.array_equal(sound, noise(name, 4 * RATE, RATE, rng(3)))


@given(st.sampled_from(sorted(LANGUAGES)), st.sampled_from(["sentences", "commands", "digits"]), seeds)
def test_sentences_have_no_gaps_in_them(language, kind, seed):
    text = sentence(LANGUAGES[language], kind, rng(seed))
    assert "{" not in text
    assert text.strip()[-1] in ".?!"


def test_no_voice_is_in_two_splits():
    names = [{voice.variant for voice in voices_of(split)} for split in ("train", "valid", "test")]
    assert all(names)
    assert len(set.union(*names)) == sum(map(len, names))


def test_levels_are_reached_without_clipping():
    tone = 0.01 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert levels.rms_db(levels.scaled(tone, -20.0, RATE)) == pytest.approx(-20.0, abs=0.1)
    clicks = np.zeros(RATE)
    clicks[::2000] = 1.0
    assert np.abs(levels.scaled(clicks, -10.0, RATE)).max() <= 0.97
    assert not levels.scaled(np.zeros(RATE), -10.0, RATE).any()


def test_a_rooms_echo_comes_after_the_sound():
    click = np.zeros(RATE)
    click[1000] = 1.0
    heard = levels.room(click, RATE, 0.5, 0.5, rng())
    assert np.abs(heard[:1000]).max() < 1e-12
    assert heard[1000] == pytest.approx(1.0)
    assert np.abs(heard[2000:6000]).max() > 10 * np.abs(heard[12_500:]).max()


@plays
def test_music_of_a_bank_is_the_same_again():
    number = next(n for n in range(9) if render_music(n, 2.0, RATE, rng(n), SOUNDFONT).licence == "MIT")
    made, again = (render_music(number, 2.0, RATE, rng(number), SOUNDFONT) for _ in range(2))
    assert made.wave.shape == (2 * RATE,)
    assert np.array_equal(made.wave, again.wave)
    assert -45 < levels.rms_db(made.wave) < -5
    assert (made.labels, made.caption) == (again.labels, again.caption)


@speaks
def test_speech_is_the_same_again():
    made, again = (render_speech(3.0, RATE, rng(4), "valid") for _ in range(2))
    assert np.array_equal(made.wave, again.wave)
    assert made.labels[0] == "speech"
    assert made.voice in {voice.variant for voice in voices_of("valid")}


def test_mixtures_say_what_is_in_them_and_whose(stand_ins):
    some = [render_mixture(n, 1.0, RATE, rng(n), "test", stand_ins) for n in range(12)]
    assert {made.licence for made in some} >= {"CC0-1.0", "that of bank.sf2"}
    for made in some:
        assert made.wave.shape == (RATE,)
        assert bool(made.voice) == ("speech" in made.labels)
        assert made.caption[0].isupper()
        assert made.caption.endswith(".")
        assert not {"loud", "quiet", "bright", "dark"} & set(made.caption.lower().split(" ")[:2])


def test_a_plan_of_fewer_minutes_is_the_beginning_of_one_of_more():
    some, more = (plan(RenderSettings(minutes, 0, 0)) for minutes in (20, 60))
    assert more[: len(some)] == some
    assert sum(job.duration_s for job in more) >= 3600
    assert {split: [job.split for job in more[:100]].count(split) for split in ("train", "valid", "test")} == {
        "train": 90,
        "valid": 5,
        "test": 5,
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Note(-1, 1, 60, 80), r"a note must start at 0 beats or later and last more than 0, got -1 and"),
        (lambda: Note(0, 1, 128, 0), r"pitch must lie in \[0, 127\] and velocity in \[1, 127\], got 128 and 0"),
        (lambda: midi_file([], 2), r"tempo must lie in \[4, 1000\] beats a minute, got 2"),
        (lambda: midi_file([Part(0, ())] * 16, 100), "a piece must have at most 15 parts besides drums, got 16"),
        (lambda: Key(0, "locrian"), "unknown mode 'locrian': choose from major"),
        (lambda: progression(4, rng(), "fall"), "unknown cadence 'fall': choose from full"),
        (lambda: compose(STYLES[0], 0.0, rng()), "duration_s must be above 0 s, got 0 s"),
        (lambda: noise("hail", 10, RATE, rng()), "unknown noise 'hail': choose from rain"),
        (lambda: RenderSettings(-1), r"music_minutes must lie in \[0, 100000\], got -1"),
        (lambda: RenderSettings(0, 0, 0), "the minutes of music, speech and mixtures must not all be 0"),
        (lambda: RenderSettings(seed=-1), "seed must be at least 0, got -1"),
        (lambda: RenderSettings(sample_rate=1), r"sample_rate must lie in \[8000, 48000\] Hz, got 1"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_a_folder_goes_on_where_it_was_left_and_can_be_enlarged(stand_ins, tmp_path):
    target, seen = tmp_path / "renders", []
    settings = RenderSettings(0.9, 0.1, 0.1, soundfont=stand_ins)
    rows = render_folder(target, settings, progress=lambda done, total: seen.append((done, total)))
    with (target / "manifest.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert tuple(written[0]) == COLUMNS
    assert [row["path"] for row in written] == [row["path"] for row in rows]
    assert {row["kind"] for row in written} == {"music", "speech", "mixture"}
    assert {row["origin"] for row in written} == {"rendered"}
    for row in written:
        info = soundfile.info(target / row["path"])
        assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
        assert info.duration == pytest.approx(float(row["duration_s"]), abs=1e-3)
    (target / rows[0]["path"]).unlink()  # as a kill leaves it
    kept = (target / rows[1]["path"]).stat().st_mtime_ns
    seen.clear()
    more = render_folder(target, RenderSettings(1.4, 0.1, 0.1, soundfont=stand_ins), progress=lambda *n: seen.append(n))
    assert (target / rows[1]["path"]).stat().st_mtime_ns == kept
    assert seen[0][0] == len(rows) - 1
    assert len(more) > len(rows)
    assert [row for row in more if row in rows] == rows
    assert not list(target.rglob("*.part"))


def test_a_folder_of_another_seed_is_refused(stand_ins, tmp_path):
    render_folder(tmp_path / "renders", RenderSettings(0.01, 0, 0, soundfont=stand_ins))
    with pytest.raises(ParameterError, match="holds renders of another seed, rate, bank or version: choose another"):
        render_folder(tmp_path / "renders", RenderSettings(0.01, 0, 0, seed=1, soundfont=stand_ins))


def test_what_is_not_installed_is_named_with_its_package(stand_ins, tmp_path, monkeypatch):
    with pytest.raises(ParameterError, match="no General MIDI bank at gone.sf2: apt-get install fluid-soundfont-gm"):
        render_folder(tmp_path / "renders", RenderSettings(1, 0, 0, soundfont=Path("gone.sf2")))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ParameterError, match="rendering needs the program fluidsynth: apt-get install fluidsynth fluid"
    ):
        render_folder(tmp_path / "renders", RenderSettings(1, 0, 0, soundfont=stand_ins))
    with pytest.raises(ParameterError, match="rendering needs the program espeak-ng: apt-get install espeak-ng"):
        render_folder(tmp_path / "renders", RenderSettings(0, 1, 0, soundfont=stand_ins))
    assert not (tmp_path / "renders").exists()


def test_a_program_that_fails_or_hangs_is_reported_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    program(tmp_path, "fluidsynth", "#!/bin/sh\necho first >&2\necho no memory >&2\nexit 3\n")
    with pytest.raises(ParameterError, match="fluidsynth must exit with code 0, got 3; it said: no memory"):
        programs.call("fluidsynth", [])
    program(tmp_path, "espeak-ng", "#!/bin/sh\nexec sleep 20\n")
    with pytest.raises(ParameterError, match="espeak-ng must end within 0.2 s, but did not: run it again"):
        programs.call("espeak-ng", [], timeout_s=0.2)
    program(tmp_path, "espeak-ng", "#!/bin/sh\nexit 0\n")
    with pytest.raises(ParameterError, match=r"espeak-ng said nothing with the voice .*: is its package complete\?"):
        render_speech(1.0, RATE, rng(), "train")
    program(tmp_path, "fluidsynth", "#!/bin/sh\nexit 0\n")
    (tmp_path / "bank.sf2").touch()
    with pytest.raises(ParameterError, match=r"fluidsynth rendered nothing with .*bank.sf2: is it a SoundFont of"):
        synthesise(compose(STYLES[0], 1.0, rng()), RATE, tmp_path / "bank.sf2", rng())

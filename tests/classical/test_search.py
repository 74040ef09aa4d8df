"""The search: what a recording holds elsewhere comes back, and what it does not hold is not made up from it."""

import numpy as np
import pytest
from scipy.signal import lfilter, welch

from masktools.classical import GAP_FILLS
from masktools.classical.search import COPY, NOISE, TONES, fills_from_elsewhere, levels_elsewhere
from masktools.classical.similarity import Similarity
from masktools.classical.spans import Damaged, extrapolate
from masktools.demo.recordings import play_music, play_voice
from masktools.metrics import band_level_db, level_db
from tests.tiny import noise, tone

RATE = 22_050


def beats(seconds, rate=RATE, seed=0, period_s=0.5):
    """Return a rhythm of four drums that returns every two seconds, over a bass that changes with it."""
    rng, n = np.random.default_rng(seed), round(seconds * rate)
    bar = np.zeros(round(4 * period_s * rate))
    for beat, hertz in enumerate((180.0, 2400.0, 700.0, 4800.0)):
        strokes = rng.standard_normal(round(0.2 * rate)) * np.exp(-np.arange(round(0.2 * rate)) / (0.04 * rate))
        pole = np.exp(2j * np.pi * hertz / rate) * 0.995
        ringing = lfilter([1.0], np.real([1.0, -2 * pole.real, abs(pole) ** 2]), strokes)
        start = round(beat * period_s * rate)
        bar[start : start + len(ringing)] += 0.2 * ringing / np.abs(ringing).max()
    return np.tile(bar, -(-n // len(bar)))[:n].astype(np.float32)[None]


def looked_up(wave, gaps_s, rate=RATE, n_fills=1, method="search", gap=0):
    damaged = Damaged.of(wave, rate, gaps_s)
    similarity = Similarity(damaged.known, wave.shape[1], rate)
    span = damaged.spans[gap]
    found = similarity.find(span)
    return fills_from_elsewhere(method, similarity, damaged.known, span, found, (0, gap), n_fills), found


def of_gap(wave, gap_s, rate=RATE):
    return wave[:, round(gap_s[0] * rate) : round(gap_s[1] * rate)]


@pytest.mark.parametrize("rate", [RATE, 8000, 48_000, 192_000])
def test_a_rhythm_goes_on_at_any_rate(rate):
    wave = beats(9.0, rate)
    (fill,), found = looked_up(wave, [(4.1, 5.0)], rate)
    true = of_gap(wave, (4.1, 5.0), rate)
    assert fill.grain == COPY
    assert found.confidence > 0.9
    assert fill.lag % round(2.0 * rate) == 0  # to the sample
    assert np.linalg.norm(fill.samples - true) < 0.1 * np.linalg.norm(true)


@pytest.mark.parametrize("method", ["copy", "search"])
def test_what_returns_is_found_anywhere_in_the_recording(method):
    wave = np.concatenate([beats(4.0), noise(33.0, level=0.05, seed=5), beats(4.0)], axis=1)
    filled = GAP_FILLS[method](wave, RATE, [(38.6, 39.4)])
    true, got = (of_gap(some, (38.6, 39.4)) for some in (wave, filled))
    assert np.linalg.norm(got - true) < 0.2 * np.linalg.norm(true)


def test_the_places_are_apart_and_touch_no_gap():
    wave, gaps_s = beats(16.0), [(4.1, 5.0), (8.2, 8.9), (12.0, 12.3)]
    fills, found = looked_up(wave, gaps_s, n_fills=3)
    lags = [place.lag for place in found.places]
    assert all(abs(one - other) > 0.07 * RATE for n, one in enumerate(lags) for other in lags[:n])
    assert len({fill.lag for fill in fills}) == 3
    for fill in fills:
        start_s, stop_s = (edge + fill.lag / RATE for edge in gaps_s[0])
        assert start_s >= 0
        assert stop_s <= 16
        assert all(stop_s <= a or start_s >= b for a, b in gaps_s)


def test_gaps_are_filled_alike_in_any_order_and_on_every_run():
    wave, gaps_s = beats(12.0) + noise(12.0, level=0.01), [(3.1, 3.9), (7.0, 7.4)]
    one, other = (GAP_FILLS["search"](wave, RATE, some) for some in (gaps_s, gaps_s[::-1]))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("gain", [0.001, 0.1])
def test_a_faint_recording_is_filled_as_a_loud_one_is(gain):
    wave = beats(9.0) + noise(9.0, level=0.003)
    loud, faint = (GAP_FILLS["search"](some, RATE, [(4.1, 5.0)]) for some in (wave, gain * wave))
    np.testing.assert_allclose(faint / gain, loud, atol=0.02)


def test_digital_silence_between_strokes_does_not_hide_what_returns():
    wave = beats(9.0)
    wave[:, np.abs(wave[0]) < 1e-3] = 0
    _, found = looked_up(wave, [(4.1, 5.0)])
    assert found.confidence > 0.9


def test_a_voice_that_says_no_word_twice_is_told_from_strings_that_play_on():
    for play, is_speech in ((play_voice, True), (play_music, False)):
        wave, rate = play()
        _, found = looked_up(wave, [(4.3, 5.3)], rate)
        assert (found.like_speech, found.is_alike) == (is_speech, not is_speech)
        assert found.confidence > 0.2


def test_a_voice_that_says_a_word_again_is_filled_from_there():
    wave, rate = play_voice()
    _, found = looked_up(np.tile(wave, 2), [(4.3, 5.3)], rate)
    assert found.like_speech
    assert found.is_alike


def test_what_no_word_fills_is_as_loud_and_as_faint_by_turns_as_speech_is():
    wave, rate = play_voice()
    damaged, span_s = Damaged.of(wave, rate, [(4.3, 5.3)]), (0.0, 1.0)
    span, similarity = damaged.spans[0], Similarity(damaged.known, wave.shape[1], rate)
    levels = levels_elsewhere(similarity, damaged.known, span, similarity.find(span))
    margin = rate // 10
    grain = noise((span.length + 2 * margin) / rate, rate, level=0.01)
    made = levels.given_to(grain, margin)[:, margin : margin + span.length]
    true = of_gap(wave, (4.3, 5.3), rate)
    assert level_db(made, rate, span_s) == pytest.approx(level_db(true, rate, span_s), abs=9)
    moments = [level_db(made, rate, (0.1 * n, 0.1 * n + 0.1)) for n in range(10)]
    assert max(moments) > min(moments) + 25  # words, and a pause


def test_without_any_place_there_are_no_levels_either():
    damaged = Damaged.of(tone(220.0, 2.6), RATE, [(0.6, 2.0)])
    similarity = Similarity(damaged.known, round(2.6 * RATE), RATE)
    assert levels_elsewhere(similarity, damaged.known, damaged.spans[0], similarity.find(damaged.spans[0])) is None


def test_what_returns_to_the_sample_keeps_the_levels_it_has():
    wave = np.concatenate([beats(2, seed=bar) for bar in range(6)], axis=1)  # no stroke is twice the same
    wave[:, 5 * RATE : 6 * RATE] *= 0.5  # which no other bar would tell
    song = np.tile(wave, 2)
    (fill, *_), _ = looked_up(song, [(5.0, 6.0)])
    assert fill.likeness > 0.95
    np.testing.assert_allclose(fill.samples, of_gap(song, (5.0, 6.0)), atol=1e-3)


def test_where_nothing_returns_noise_goes_on_as_noise_and_a_chord_as_a_chord():
    rain = noise(8.0)
    (fill,), _ = looked_up(rain, [(4.0, 5.0)])
    assert fill.grain == NOISE
    assert level_db(fill.samples, RATE) == pytest.approx(level_db(rain, RATE), abs=1.5)
    chord = sum(tone(hertz, 2.6, level=0.1) for hertz in (220.0, 277.2, 329.6))
    chord *= np.exp(-np.arange(chord.shape[1]) / (2.0 * RATE)).astype(np.float32)
    (fill,), found = looked_up(chord, [(0.6, 2.0)])
    assert not found.places  # there is no room for another
    assert fill.grain == TONES
    for hertz in (220.0, 277.2, 329.6):
        band, between = (hertz - 8, hertz + 8), (hertz + 15, hertz + 28)
        inside, beside = (band_level_db(fill.samples, RATE, some) for some in (band, between))
        assert inside > beside + 12  # it rings
        assert inside == pytest.approx(band_level_db(chord, RATE, band, (0.6, 2.0)), abs=4)


def test_a_chord_that_dies_away_alone_keeps_its_notes_though_others_died_away_alike():
    def struck(semitones):
        notes = [2 ** (semitones / 12) * hertz for hertz in (220.0, 277.2, 329.6)]
        chord = sum(tone(hertz, 3.0, level=0.1) for hertz in notes)
        return (chord * np.exp(-np.arange(chord.shape[1]) / (1.5 * RATE))).astype(np.float32), notes

    chords = [struck(semitones) for semitones in (1, -1, 2, 0, 3, -2)]
    wave, (_, notes) = np.concatenate([chord for chord, _ in chords], axis=1), chords[3]
    (fill,), found = looked_up(wave, [(9.8, 11.0)])
    assert found.places
    assert fill.grain == TONES
    for hertz in notes:
        inside = band_level_db(fill.samples, RATE, (hertz - 6, hertz + 6))
        assert inside == pytest.approx(band_level_db(wave, RATE, (hertz - 6, hertz + 6), (9.8, 11.0)), abs=4)


def test_no_line_rings_through_noise():
    rain = noise(8.0)
    (fill,), _ = looked_up(rain, [(4.0, 5.5)])
    of_fill, of_rain = (
        np.std(10 * np.log10(welch(some[0], RATE, nperseg=1024)[1][20:400]))
        for some in (fill.samples, of_gap(rain, (4.0, 5.5)))
    )
    assert of_fill < 1.5 * of_rain


def test_what_is_known_goes_on_into_a_copy_that_is_not_the_same():
    bars = np.concatenate([beats(2, seed=bar) for bar in range(6)], axis=1)  # no stroke is twice the same
    wave = bars + 0.05 * noise(12.0)
    (fill,), _ = looked_up(wave, [(5.1, 6.2)])
    assert fill.grain == COPY
    assert fill.likeness < 0.8
    before, after = wave[0, : round(5.1 * RATE)], wave[0, round(6.2 * RATE) :]
    for known, made in ((before, fill.samples[0]), (after[::-1], fill.samples[0, ::-1])):
        expected = extrapolate(known[-1102:].astype(np.float64), 5)
        np.testing.assert_allclose(made[:5], expected, atol=0.1 * float(np.std(wave)))


@pytest.mark.parametrize("method", ["search", "spectral_noise", "copy"])
@pytest.mark.parametrize("length_s", [0.02, 0.1, 0.4, 1.0])
def test_channels_in_opposite_phase_stay_so(method, length_s):
    left = noise(4.0) + tone(220, 4.0)
    filled = GAP_FILLS[method](np.concatenate([left, -left]), RATE, [(1.5, 1.5 + length_s)])
    assert np.corrcoef(of_gap(filled, (1.5, 1.5 + length_s)))[0, 1] < -0.99


@pytest.mark.parametrize("wide", [0.3, 0.8])
def test_noise_is_as_wide_as_it_was(wide):
    middle, side = noise(8.0), noise(8.0, seed=1)
    stereo = np.concatenate([middle + wide * side, middle - wide * side])
    filled = GAP_FILLS["search"](stereo, RATE, [(3.0, 5.0)])
    wanted, got = (np.corrcoef(some)[0, 1] for some in (stereo, of_gap(filled, (3.0, 5.0))))
    assert got == pytest.approx(wanted, abs=0.12)


@pytest.mark.parametrize("method", ["search", "spectral_noise", "copy"])
def test_a_constant_offset_goes_on(method):
    filled = GAP_FILLS[method](0.2 + noise(4.0, level=0.02), RATE, [(1.5, 2.5)])
    blocks = of_gap(filled, (1.5, 2.5))[0].reshape(-1, 1050).mean(axis=1)
    np.testing.assert_allclose(blocks, 0.2, atol=0.02)


@pytest.mark.parametrize(
    ("seconds", "gaps_s"),
    [
        (1.0, [(0.4, 0.7)]),  # a second of music
        (2.0, [(0.4, 1.9)]),  # shorter than its gap
        (3.0, [(0.0, 0.5), (2.4, 3.0)]),  # gaps at both ends
        (3.0, [(0.1 * n, 0.1 * n + 0.09) for n in range(30)]),  # nearly nothing but gaps
        (0.01, [(0.004, 0.008)]),
    ],
)
def test_of_very_little_something_is_made(seconds, gaps_s):
    wave = np.repeat(beats(seconds), 2, axis=0)
    for method in ("search", "copy"):
        filled = GAP_FILLS[method](wave, RATE, gaps_s)
        assert np.isfinite(filled).all()
        assert np.abs(filled).max() <= 4 * np.abs(wave).max()


def test_an_hour_takes_less_than_20_megabytes():
    wave, rate = beats(600.0, 8000), 8000
    similarity = Similarity(Damaged.of(wave, rate, [(300.1, 301.0)]).known, wave.shape[1], rate)
    kept = sum(array.nbytes for array in (*similarity._values, *similarity._valid, similarity._missing))
    assert 6 * kept < 20e6

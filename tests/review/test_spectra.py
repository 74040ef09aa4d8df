"""Spectrograms in which a tone stands where it is heard."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.review.panels import FLOOR_DB, Rows, mean_levels, show_levels, spectrogram, top_level_db

RATE = 22_050
ROWS = Rows(RATE / 2, 64)


def tone(hz, rate=RATE, seconds=1.0, amplitude=1.0):
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate, dtype=np.float32)[None]


def levels_of(samples, rate=RATE, n_cols=50, rows=ROWS, span=None):
    return spectrogram(lambda start, stop: samples[:, start:stop], samples.shape[1], rate, rows, n_cols, span)


@pytest.mark.parametrize("hz", [440.0, 1000.0, 5000.0])
@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
def test_a_tone_peaks_in_its_row_whatever_the_rate(hz, rate):
    levels = levels_of(tone(hz, rate, amplitude=0.5), rate)[0, :, 25]
    row = int(levels.argmax())
    assert ROWS.edges_hz[row] - 25 <= hz <= ROWS.edges_hz[row + 1] + 25
    assert -8.5 < levels.max() < -5.9  # -6 dBFS, some of which may lie in the next row


def test_what_is_above_half_the_rate_is_at_the_floor():
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype(np.float32)
    levels = levels_of(noise, 8000)[0]
    assert levels[ROWS.edges_hz[:-1] > 4100].max() == pytest.approx(FLOOR_DB, abs=0.1)
    assert levels[ROWS.edges_hz[1:] < 3900].min() > -70


def test_columns_are_places_in_time():
    samples = np.concatenate([np.zeros((1, RATE), np.float32), tone(1000.0)], axis=1)
    loudest = levels_of(samples, n_cols=100).max(axis=1)[0]
    assert loudest[:47].max() < -90
    assert loudest[53:].min() > -12


def test_a_column_of_a_long_recording_is_the_mean_of_all_in_it():
    samples = np.concatenate([np.zeros((1, 8 * RATE), np.float32), tone(1000.0, seconds=8.0)], axis=1)
    one, two = levels_of(samples, n_cols=1), levels_of(samples, n_cols=2)
    assert one.max() == pytest.approx(two.max() - 3.01, abs=0.1)
    assert two[0, :, 0].max() < -40  # but for where the tone begins


def test_an_excerpt_shows_what_the_whole_shows_there():
    samples = np.random.default_rng(1).normal(0, 0.1, (2, 4 * RATE)).astype(np.float32)
    whole = levels_of(samples, n_cols=200)
    part = levels_of(samples, n_cols=50, span=(RATE, 2 * RATE))
    np.testing.assert_allclose(part, whole[:, :, 50:100], atol=1e-3)


def test_a_recording_is_read_in_pieces():
    asked = []

    def read(start, stop):
        asked.append(stop - start)
        return np.zeros((1, stop - start), np.float32)

    spectrogram(read, 600 * 8000, 8000, ROWS, 100)
    assert max(asked) < 30 * 8000
    assert sum(asked) < 1.1 * 600 * 8000


def test_samples_that_are_not_finite_are_silent():
    samples = tone(1000.0)
    samples[:, 5000:9000] = np.nan
    assert np.isfinite(levels_of(samples)).all()


def test_the_mean_of_channels_is_that_of_their_powers():
    levels = np.stack([np.full((2, 3), -20.0), np.full((2, 3), FLOOR_DB)])
    np.testing.assert_allclose(mean_levels(levels), -23.01, atol=0.01)


def test_colours_begin_and_end_with_the_scale():
    levels = np.array([[-100.0, -90.0], [-55.0, 3.0]])
    np.testing.assert_array_equal(show_levels(levels, -90.0, -20.0, 71), [[35, 70], [0, 0]])
    assert top_level_db([np.full((4, 4), -23.0), np.full((4, 4), -60.0)]) == -20


def test_rows_are_spaced_as_the_ear_hears():
    assert ROWS.edges_hz[0] == 0
    assert ROWS.edges_hz[-1] == pytest.approx(RATE / 2)
    assert np.all(np.diff(np.diff(ROWS.edges_hz)) > 0)
    assert ROWS.height(0) == 0
    assert ROWS.height(1e6) == 1
    assert ROWS.ticks_hz() == [500, 1000, 2000, 4000, 8000]


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ParameterError, match="rows must reach above 0 Hz"):
        Rows(0.0)
    with pytest.raises(ParameterError, match="span must lie in 0-22050"):
        levels_of(tone(440.0), span=(0, RATE + 1))
    with pytest.raises(ParameterError, match="a column at least"):
        levels_of(tone(440.0), n_cols=0)

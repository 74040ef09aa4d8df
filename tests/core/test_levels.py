"""How loud upper bands are to be expected."""

import numpy as np
import pytest

from masktools.core.errors import BundleError, ParameterError
from masktools.core.levels import (
    BAND_EDGES_HZ,
    FLOOR_DB,
    FixedSlope,
    LevelMixture,
    band_matrix,
    context_of,
    frame_length,
    frames_of,
    read_levels,
)
from masktools.pipeline import hub
from tests.tiny import noise, tiny_pipeline

N = len(BAND_EDGES_HZ) - 1
NO_DOUBT = np.zeros(N)


def mixture(*slopes):
    """Return a mixture of bands that all go up and down together, each part falling by so many dB a band."""
    size = 2 * N
    bands = np.tile(np.arange(N), 2)
    means = np.stack([-60.0 - slope * bands for slope in slopes])
    root = np.linalg.cholesky(100.0 * np.ones((size, size)) + np.eye(size))
    roots = np.repeat(root[np.tril_indices(size)][None], len(slopes), axis=0)
    return LevelMixture(np.full(len(slopes), 1 / len(slopes)), means, roots)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 96_000, 192_000])
def test_white_noise_has_one_density_in_every_band_at_every_rate(rate):
    density = np.abs(frames_of(noise(2, rate)[0], rate)) ** 2 @ band_matrix(rate)
    levels_db = 10 * np.log10(density.mean(axis=0)[BAND_EDGES_HZ[1:] < rate / 2])
    np.testing.assert_allclose(levels_db, -20 - 10 * np.log10(rate / 2), atol=1.5)


def test_bands_that_are_not_there_or_mostly_unknown_have_no_density():
    assert not band_matrix(16_000)[:, BAND_EDGES_HZ[:-1] >= 8000].any()
    matrix = band_matrix(44_100, below_hz=9500.0)
    assert matrix[:, BAND_EDGES_HZ[:-1] == 9000].any()
    assert not band_matrix(44_100, below_hz=9300.0)[:, BAND_EDGES_HZ[:-1] == 9000].any()


def test_the_context_is_the_mean_of_what_is_around():
    levels_db = np.arange(10.0)[:, None] ** 2
    np.testing.assert_allclose(context_of(levels_db, 3)[1:-1], (levels_db[:-2] + levels_db[1:-1] + levels_db[2:]) / 3)
    np.testing.assert_array_equal(context_of(levels_db, 1), levels_db)
    assert len(context_of(levels_db[:2], 45)) == 2


def test_what_goes_together_is_expected_together():
    known = np.arange(N) < 20
    levels_db = np.where(known, mixture(1.0).means[0, :N] + 7.0, 0.0)[None].repeat(50, axis=0)
    expected = mixture(1.0).given(known, NO_DOUBT)(levels_db, 9)
    np.testing.assert_allclose(expected, np.where(known, levels_db, mixture(1.0).means[0, :N] + 7.0), atol=0.3)


def test_each_moment_is_taken_for_the_part_that_it_is_like():
    both, known = mixture(0.5, 2.0), np.arange(N) < 20
    levels_db = both.means[:, :N].repeat(200, axis=0)
    expected = both.given(known, NO_DOUBT)(levels_db, 9)
    np.testing.assert_allclose(expected[[20, -20]], both.means[:, :N], atol=0.3)


def test_what_is_doubtful_has_less_of_a_say():
    known = np.arange(N) < 20
    levels_db = np.full((5, N), -40.0)
    sure, doubtful = (mixture(0.0).given(known, np.full(N, doubt))(levels_db, 3)[:, -1] for doubt in (0.0, 60.0))
    assert (doubtful > -60).all()
    assert (doubtful < sure - 3).all()


def test_what_is_fainter_than_any_recording_has_still_less_above():
    known = np.arange(N) < 20
    at_floor, below = (
        mixture(0.0).given(known, NO_DOUBT)(np.full((5, N), level), 3)[:, -1] for level in (FLOOR_DB, FLOOR_DB - 50)
    )
    np.testing.assert_allclose(below, at_floor - 50, atol=1e-6)


def test_a_fixed_slope_falls_on_and_never_rises():
    known = np.arange(N) < 20
    levels_db = np.full((4, N), -50.0)
    fallen = FixedSlope(-12.0).given(known, NO_DOUBT)(levels_db, 3)
    assert (fallen[:, :20] == -50).all()
    assert (np.diff(fallen[:, 19:]) < 0).all()
    octaves = np.log2(np.sqrt(19 * 20) / np.sqrt(np.sqrt(9 * 10 * 10 * 11)))
    assert fallen[0, -1] == pytest.approx(-50 - 12 * octaves, abs=0.01)
    assert (FixedSlope().given(np.zeros(N, bool), NO_DOUBT)(levels_db, 3) == FLOOR_DB).all()


def test_a_bundle_keeps_the_table_of_levels_and_one_without_has_a_slope(tmp_path):
    pipeline = tiny_pipeline()
    assert pipeline.levels == FixedSlope()
    bare = hub.load_bundle(hub.save_bundle(pipeline, tmp_path / "bare", "a card"), device="cpu")
    assert bare.levels == FixedSlope()
    pipeline.levels = mixture(0.5, 2.0)
    folder = hub.save_bundle(pipeline, tmp_path / "tiny", "a card")
    assert (folder / "levels.safetensors").stat().st_size < 9000
    kept = hub.load_bundle(folder, device="cpu").levels
    np.testing.assert_allclose(kept.covariances, pipeline.levels.covariances, rtol=2e-3)
    np.testing.assert_allclose(kept.means, pipeline.levels.means, rtol=1e-6)


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "levels.safetensors").write_bytes(b"no table")
    with pytest.raises(BundleError, match="holds no mixture of levels"):
        read_levels(tmp_path / "levels.safetensors")
    with pytest.raises(ParameterError, match=r"must have means \(1, 58\)"):
        LevelMixture(np.ones(1), np.zeros((1, 3)), np.zeros((1, 6)))
    with pytest.raises(ParameterError, match="must be finite"):
        LevelMixture(np.ones(1), np.full((1, 2 * N), np.nan), np.zeros((1, N * (2 * N + 1))))


def test_frames_are_long_enough_for_the_lowest_band():
    assert frame_length(44_100) / 44_100 == pytest.approx(frame_length(192_000) / 192_000, rel=0.1)

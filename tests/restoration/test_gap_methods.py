"""Every method and every way of treating channels keeps what is known, and looks at nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from masktools.classical import GAP_FILLS
from masktools.core.errors import AudioError, ParameterError
from masktools.core.gaps import Gap
from masktools.core.settings import GAP_METHODS as METHODS
from masktools.demo.recordings import play_voice
from masktools.metrics import band_level_db, level_db
from masktools.restoration.recordings import Signal
from masktools.solver import SolverConfig
from tests.restoration.jobs import inpaint, inpaint_pieces
from tests.tiny import SAMPLE_RATE, noise, tone

FEW = SolverConfig(n_steps=2)
GAPS = [(0.5, 0.51), (0.8, 0.87), (1.2, 1.4)]


def where(gaps, shape, rate=SAMPLE_RATE):
    mask = np.zeros(shape, bool)
    for gap in gaps:
        start_s, end_s, channels = (*gap, None)[:3]
        rows = slice(None) if channels is None else list(channels)
        mask[rows, round(start_s * rate) : round(end_s * rate)] = True
    return mask


@pytest.mark.parametrize(
    ("method", "channels"),
    [
        *((method, "linked") for method in METHODS),
        *((method, channels) for method in ("auto", "copy") for channels in ("independent", "mid_side")),
    ],
)
def test_known_samples_stay_and_gaps_may_hold_anything(pipeline, method, channels):
    samples = noise(1.8, n_channels=2)
    mask = where(GAPS, samples.shape)
    spoilt = np.where(mask, np.float32(np.nan), samples)
    restored = inpaint(pipeline, spoilt, SAMPLE_RATE, GAPS, method=method, channels=channels, solver=FEW)
    np.testing.assert_array_equal(restored.samples[~mask], samples[~mask])
    assert np.isfinite(restored.samples).all()
    again = inpaint(pipeline, samples, SAMPLE_RATE, GAPS, method=method, channels=channels, solver=FEW)
    np.testing.assert_array_equal(restored.samples, again.samples)
    assert restored.report["method"] == method
    assert restored.report["samples_changed"] == mask.sum()


def test_by_length_there_are_three_ways(pipeline):
    gaps = inpaint(pipeline, noise(1.8), SAMPLE_RATE, GAPS, method="auto", solver=FEW).report["gaps"]
    assert gaps[0]["method"] == "janssen"
    assert gaps[1]["method"] in ("burg+model", "burg+spectral_noise")
    assert gaps[2]["method"] == "model"
    for gap in gaps:
        assert {"start_s", "end_s", "channels", "method", "level_db", "seam_db", "lag_s", "seed"} <= set(gap)
        assert gap["level_db"] < 12
        assert gap["seam_db"] < 12
        assert abs(gap["lag_s"]) <= 0.0025


@pytest.mark.parametrize("method", sorted(GAP_FILLS))
def test_classical_methods_need_no_model_and_do_what_they_do_elsewhere(method):
    samples = noise(1.8, n_channels=2)
    restored = inpaint(None, samples, SAMPLE_RATE, GAPS, method=method, seed=3)
    np.testing.assert_array_equal(restored.samples, GAP_FILLS[method](samples, SAMPLE_RATE, GAPS, 3))
    assert restored.report["model"] is None


def test_short_gaps_need_no_model_either():
    assert inpaint(None, noise(1), SAMPLE_RATE, [(0.5, 0.55)], method="auto").report["gaps"][0]["method"] == "janssen"
    with pytest.raises(ParameterError, match=r"a gap of 0\.1\d* s at 0\.5 s needs a model by method 'auto', got none"):
        inpaint(None, noise(1), SAMPLE_RATE, [(0.5, 0.6)], method="auto")


@pytest.mark.parametrize("method", ["auto", "model", "copy", "spectral_noise"])
def test_a_channel_without_the_gap_is_not_touched_and_what_it_hides_is_not_heard(pipeline, method):
    samples = noise(4, n_channels=2)
    gaps = [Gap(1.0, 1.3, (0,)), Gap(1.1, 1.5, (1,)), Gap(2.5, 2.6, (0,)), Gap(2.5, 2.6, (1,)), Gap(2.9, 2.95, (1,))]
    mask = where(gaps, samples.shape)
    restored = inpaint(pipeline, samples, SAMPLE_RATE, gaps, method=method, solver=FEW)
    np.testing.assert_array_equal(restored.samples[~mask], samples[~mask])
    assert [gap["channels"] for gap in restored.report["gaps"]] == [[0], [1], [0, 1], [1]]
    spoilt = inpaint(pipeline, np.where(mask, 9.0, samples), SAMPLE_RATE, gaps, method=method, solver=FEW)
    np.testing.assert_array_equal(restored.samples, spoilt.samples)
    for gap in gaps:
        (channel,) = gap.channels
        inside = slice(round(gap.start_s * SAMPLE_RATE), round(gap.end_s * SAMPLE_RATE))
        assert np.std(restored.samples[channel, inside]) > 1e-3


@pytest.mark.parametrize("method", ["auto", "spectral_noise"])
def test_what_has_no_side_gets_none(pipeline, method):
    samples = np.repeat(noise(2), 2, axis=0)
    restored = inpaint(pipeline, samples, SAMPLE_RATE, [(1, 1.3)], method=method, channels="mid_side", solver=FEW)
    np.testing.assert_array_equal(*restored.samples)
    linked = inpaint(pipeline, samples, SAMPLE_RATE, [(1, 1.3)], method=method, solver=FEW)
    np.testing.assert_allclose(restored.samples, linked.samples, atol=1e-5)


def test_linked_channels_keep_in_step(pipeline):
    samples = noise(3, n_channels=2)
    lags = {gap["lag_s"] for gap in inpaint(pipeline, samples, SAMPLE_RATE, [(1, 1.5)], solver=FEW).report["gaps"]}
    assert len(lags) == 1


@pytest.mark.parametrize(("texture", "method"), [("model", "model"), ("blend", "model"), ("model", "auto")])
def test_above_the_model_s_band_a_fill_is_not_dull(pipeline, texture, method):
    rate, gap = 44_100, (1.0, 1.6)
    restored = inpaint(pipeline, noise(3, rate), rate, [gap], texture=texture, method=method, solver=FEW).samples
    inside, outside = (band_level_db(restored, rate, (13_000, 20_000), span) for span in ((1.1, 1.5), (2.0, 2.9)))
    assert inside == pytest.approx(outside, abs=3)
    dark = tone(440, 3, rate)
    restored = inpaint(pipeline, dark, rate, [gap], texture=texture, method=method, solver=FEW).samples
    assert band_level_db(restored, rate, (13_000, 20_000), gap) < -60


@pytest.mark.parametrize("method", ["auto", "model", "spectral_noise", "copy"])
@pytest.mark.parametrize("gap", [(0.0, 0.1), (1.7, 2.0)])
def test_at_the_ends_of_a_recording_a_fill_fades(pipeline, method, gap):
    restored = inpaint(pipeline, noise(2), SAMPLE_RATE, [gap], method=method, solver=FEW).samples[0]
    start, stop = (round(edge * SAMPLE_RATE) for edge in gap)
    fill = restored[start:stop] if start == 0 else restored[start:stop][::-1]
    assert np.abs(fill[:5]).max() < 0.02
    assert level_db(fill[800:1800], SAMPLE_RATE) > -60


@pytest.mark.parametrize("method", [name for name in METHODS if name != "linear"])
def test_a_gap_between_silences_stays_silent(pipeline, method):
    samples = noise(3)
    samples[:, 10_000:60_000] = 0
    restored = inpaint(pipeline, samples, SAMPLE_RATE, [(1.0, 1.03), (1.5, 1.9)], method=method, solver=FEW)
    assert not restored.samples[:, 10_000:60_000].any()


def test_the_level_is_matched_as_far_as_it_may_be(pipeline):
    samples = noise(3, level=0.3)
    free, held = (
        inpaint(pipeline, samples, SAMPLE_RATE, [(1, 1.5)], match_level_db=limit, solver=FEW) for limit in (40, 0)
    )
    assert held.report["gaps"][0]["gains_db"] == [[0.0, 0.0]]
    assert abs(level_db(free.samples, SAMPLE_RATE, (1, 1.5)) - level_db(samples, SAMPLE_RATE)) < 4


def test_no_fill_goes_beyond_full_scale(pipeline):
    samples = np.sign(tone(100, 3)) * np.float32(0.9)
    gaps = [(0.2, 0.213), (1, 1.5), (2, 2.1)]
    restored = inpaint(pipeline, samples, SAMPLE_RATE, gaps, method="auto", solver=FEW)
    assert np.abs(restored.samples).max() <= 1.0
    loud = inpaint(pipeline, 2 * samples, SAMPLE_RATE, gaps, method="auto", solver=FEW)
    assert 1.7 < np.abs(loud.samples).max() <= 1.8 + 1e-6


def test_known_samples_that_are_not_finite_are_named(pipeline):
    samples = noise(3)
    samples[0, 21_000] = np.inf
    for method in ("model", "burg"):
        with pytest.raises(
            AudioError, match=r"finite outside the gaps, but at 0\.9524 s \(sample 21000\).*part of a gap"
        ):
            inpaint(pipeline, samples, SAMPLE_RATE, [(1, 1.5)], method=method, solver=FEW)
    samples[0, 21_000] = 0
    samples[0, 23_000] = np.nan
    with pytest.raises(AudioError, match="samples must be finite where leak_free is False"):
        inpaint(pipeline, samples, SAMPLE_RATE, [(1, 1.5)], leak_free=False, solver=FEW)


def ranked(pipeline, samples, gaps, n_candidates, **settings):
    """Return for each gap its fills, the best first."""
    settings |= {"n_candidates": n_candidates, "n_ranks": n_candidates}
    return list(inpaint_pieces(pipeline, Signal.of(samples, SAMPLE_RATE), gaps, **settings).ranked())


class TestCandidates:
    def test_the_one_that_fits_best_comes_first(self, pipeline):
        fills = ranked(pipeline, noise(1.8), GAPS, 3, method="auto", solver=FEW)[-1]
        assert len(fills) == 3
        for rank, fill in enumerate(fills):
            gap = fill.report
            fits = [candidate["fit_db"] for candidate in gap["candidates"]]
            assert fits == sorted(fits)
            assert gap["seed"] == gap["candidates"][rank]["seed"]
            assert gap["rank"] == rank
        assert len({candidate["seed"] for candidate in gap["candidates"]}) == 3
        best = inpaint(pipeline, noise(1.8), SAMPLE_RATE, GAPS, n_candidates=3, method="auto", solver=FEW)
        stop = fills[0].start + fills[0].samples.shape[1]
        np.testing.assert_array_equal(best.samples[:, fills[0].start : stop], fills[0].samples)
        assert not np.array_equal(fills[0].samples, fills[1].samples)

    def test_the_first_seed_is_that_of_a_single_fill(self, pipeline):
        single = inpaint(pipeline, noise(3), SAMPLE_RATE, [(1, 1.4)], solver=FEW).report["gaps"][0]["seed"]
        several = inpaint(pipeline, noise(3), SAMPLE_RATE, [(1, 1.4)], solver=FEW, n_candidates=4).report["gaps"][0]
        assert single in [candidate["seed"] for candidate in several["candidates"]]
        assert several["seed"] == several["candidates"][0]["seed"]

    def test_classical_fills_are_the_same_in_every_rank(self):
        ((first, second),) = ranked(None, noise(1), [(0.5, 0.52)], 2, method="janssen")
        np.testing.assert_array_equal(first.samples, second.samples)


class TestTheSearch:
    @staticmethod
    def song(seconds=12.0, n_channels=1):
        bar = np.concatenate(
            [tone(hertz, 0.4) * np.linspace(1, 0.1, 8820, dtype=np.float32) for hertz in (220, 330, 262, 392)], 1
        )
        return np.tile(bar, (n_channels, round(seconds / 1.6) + 1))[:, : round(seconds * SAMPLE_RATE)]

    def test_a_long_gap_in_what_repeats_is_filled_from_there_and_the_report_says_where(self, pipeline):
        song = self.song(n_channels=2)
        restored = inpaint(pipeline, song, SAMPLE_RATE, [(5.1, 6.0)], method="auto", texture="blend", solver=FEW)
        (gap,) = restored.report["gaps"]
        assert (gap["method"], gap["grain"]) == ("search", "copy")
        assert gap["confidence"] > 0.9
        assert gap["source_s"][0] == pytest.approx(5.1 + gap["lag_s"], abs=1e-4)
        assert gap["lag_s"] / 1.6 == pytest.approx(round(gap["lag_s"] / 1.6), abs=1e-3)
        assert restored.report["n_forwards"] == 0
        np.testing.assert_allclose(restored.samples, song, atol=0.05)

    @pytest.mark.parametrize("asked", [{"prompt": "rain"}, {"texture": "model"}, {"method": "model"}])
    def test_who_asks_for_the_model_gets_it(self, pipeline, asked):
        settings = {"method": "auto", "texture": "blend"} | asked
        restored = inpaint(pipeline, self.song(), SAMPLE_RATE, [(5.1, 6.0)], solver=FEW, **settings)
        assert restored.report["gaps"][0]["method"] == "model"

    def test_what_a_recording_holds_nothing_like_is_left_to_the_model_and_it_says_so(self, pipeline):
        at = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
        glide = 0.3 * np.sin(2 * np.pi * (200 * at + 150 * at**2)).astype(np.float32)[None]
        restored = inpaint(pipeline, glide, SAMPLE_RATE, [(0.6, 2.9)], method="auto", texture="blend", solver=FEW)
        (gap,) = restored.report["gaps"]
        assert gap["method"] == "model"
        assert gap["why_not_searched"] == "no other place is known"

    def test_noise_goes_on_as_noise_and_needs_no_model_for_it(self):
        def later():
            raise AssertionError("a model was loaded")

        rain, settings = noise(3), {"method": "auto", "texture": "blend", "later": later}
        filling = inpaint_pieces(None, Signal.of(rain, SAMPLE_RATE), [(0.6, 2.9)], **settings)
        (piece,) = filling
        assert (piece.report["method"], piece.report["grain"]) == ("search", "noise")
        assert level_db(piece.samples, SAMPLE_RATE) == pytest.approx(level_db(rain, SAMPLE_RATE), abs=1.0)

    def test_no_model_is_loaded_before_a_gap_is_left_to_it(self, pipeline):
        song, loaded = np.concatenate([self.song(), noise(3)], axis=1), []

        def later():
            loaded.append(1)
            return pipeline

        def filled(gaps):
            settings = {"method": "auto", "texture": "blend", "solver": FEW}
            found = inpaint_pieces(None, Signal.of(song, SAMPLE_RATE), gaps, later=later, **settings)
            return list(found), found.report()

        pieces, report = filled([(3.0, 3.5), (5.1, 6.0), (9.0, 9.02)])
        assert ([piece.report["method"] for piece in pieces], loaded) == (["search", "search", "janssen"], [])
        assert report["model"] is None
        pieces, report = filled([(5.1, 6.0), (9.0, 9.1)])
        assert (pieces[0].report["method"], loaded) == ("search", [1])
        assert report["model"] == pipeline.name

    def test_candidates_are_different_places(self, pipeline):
        (fills,) = ranked(pipeline, self.song(), [(5.1, 6.0)], 3, method="search")
        assert len({fill.report["source_s"][0] for fill in fills}) == 3
        assert [fill.report["rank"] for fill in fills] == [0, 1, 2]

    def test_what_is_damaged_elsewhere_is_no_source(self):
        song, elsewhere = self.song(), [5.3 + 1.6 * turn for turn in (-3, -2, -1, 1, 3)]
        for start_s in elsewhere:
            song[:, round(start_s * SAMPLE_RATE) :][:, : SAMPLE_RATE // 20] = 0.0

        def longest_hole(damaged):
            signal = replace(Signal.of(song, SAMPLE_RATE), damaged=damaged)
            (piece,) = inpaint_pieces(None, signal, [(5.1, 6.0)], method="search")
            edges = np.flatnonzero(np.abs(piece.samples[0]) > 1e-4)
            return np.diff(edges).max() / SAMPLE_RATE

        assert longest_hole(()) > 0.03
        assert longest_hole(tuple(Gap(start_s, start_s + 0.05) for start_s in elsewhere)) < 0.01

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_is_not_finite_far_away_is_no_source_and_no_error(self, value):
        song = self.song()
        song[0, 10 * SAMPLE_RATE] = value
        filled = inpaint(None, song, SAMPLE_RATE, [(5.1, 6.0)], method="search").samples
        assert np.isfinite(filled[:, : 9 * SAMPLE_RATE]).all()

    @pytest.mark.parametrize("texture", ["model", "blend", "recording"])
    @pytest.mark.parametrize("length_s", [0.02, 0.1, 0.5, 1.0])
    def test_channels_in_opposite_phase_stay_so(self, pipeline, texture, length_s):
        left = noise(4.0) + tone(220, 4.0)
        both, gap = np.concatenate([left, -left]), (1.5, 1.5 + length_s)
        for method in ("auto", "model"):
            filled = inpaint(pipeline, both, SAMPLE_RATE, [gap], texture=texture, method=method, solver=FEW).samples
            inside = filled[:, round(gap[0] * SAMPLE_RATE) : round(gap[1] * SAMPLE_RATE)]
            assert np.corrcoef(inside)[0, 1] < -0.9

    @pytest.mark.parametrize("texture", ["model", "blend"])
    def test_a_constant_offset_meets_no_thump(self, pipeline, texture):
        wave = 0.2 + noise(4.0, level=0.02)
        filled = inpaint(pipeline, wave, SAMPLE_RATE, [(1.5, 2.5)], texture=texture, method="auto", solver=FEW).samples
        means = filled[0, round(1.5 * SAMPLE_RATE) : round(2.5 * SAMPLE_RATE)].reshape(-1, 1050).mean(axis=1)
        np.testing.assert_allclose(means, 0.2, atol=0.03)


def test_the_model_speaks_as_loud_as_the_recording_does_where_it_is_most_alike(pipeline):
    voice, rate = play_voice()
    gap = (4.3, 5.3)
    restored = inpaint(pipeline, voice, rate, [gap], method="auto", texture="blend", solver=FEW)
    told = restored.report["gaps"][0]
    assert told["why_not_searched"] == "it sounds like speech, and no word returns"
    assert told["gains_db"] == [[0.0, 0.0]]  # nothing goes straight from one side to the other
    moments = [level_db(restored.samples, rate, (4.3 + 0.1 * n, 4.4 + 0.1 * n)) for n in range(10)]
    assert max(moments) > min(moments) + 20

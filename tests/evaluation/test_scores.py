"""Sets of recordings are compared by what embedders hear of them, and the distances have intervals over clips."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.evaluation.clips import Clip
from masktools.evaluation.scores import SetScores, Statistics, jackknife, paired_frechet, paired_kernel
from masktools.metrics import frechet_distance

RNG = np.random.default_rng(0)


class Offset:
    """Hears the mean of each tenth of a second in four ways."""

    def __init__(self, name="offset"):
        self.name, self.dim = name, 4

    def embed(self, wave, sample_rate):
        parts = wave[: len(wave) // 10 * 10].reshape(10, -1)
        return np.stack([parts.mean(1), parts.std(1), parts.max(1), parts.min(1)], axis=1)


def clips(n, kind="music", origin="real"):
    return [Clip(f"{kind}{i}", RNG.standard_normal(1000).astype(np.float32), 1000, kind, origin) for i in range(n)]


def scored(given, embedders, **methods):
    scores = SetScores(embedders)
    for place, clip in enumerate(given):
        scores.add(place, clip, SetScores.ORIGINAL, clip.wave)
        for method, change in methods.items():
            scores.add(place, clip, method, change(clip.wave))
    return {(one.group, one.method, one.metric, one.embedder): one for one in scores.figures()}


def test_a_copy_is_at_no_distance_and_a_change_at_one():
    found = scored(clips(8), [Offset()], copy=lambda w: w.copy(), louder=lambda w: 3 * w)
    assert found["music", "copy", "fad", "offset"].value == pytest.approx(0, abs=1e-9)
    louder = found["music", "louder", "fad", "offset"]
    assert louder.value > 1
    assert (louder.n, louder.statistic, louder.embedder) == (8, "set", "offset")
    assert found["music", "louder", "kad", "offset"].value > 10


def test_the_distance_is_of_all_vectors_together():
    given = clips(5)
    found = scored(given, [Offset()], louder=lambda w: 2 * w)
    sets = [np.concatenate([Offset().embed(factor * clip.wave, 1000) for clip in given]) for factor in (1, 2)]
    assert found["music", "louder", "fad", "offset"].value == pytest.approx(frechet_distance(*sets), rel=1e-5)


def test_groups_and_embedders_have_figures_of_their_own():
    given = [*clips(3), *clips(3, "speech"), *clips(2, origin="rendered"), *clips(1, "noise")]
    found = scored(given, [Offset(), Offset("other")], louder=lambda w: 2 * w)
    counts = {group: one.n for (group, _, _, embedder), one in found.items() if embedder == "other"}
    assert counts == {"music": 3, "speech": 3, "music, rendered": 2, "all, real": 7}  # one clip is no set
    assert len({embedder for *_, embedder in found}) == 2


def test_without_an_embedder_nothing_is_heard():
    assert scored(clips(3), [], louder=lambda w: 2 * w) == {}


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = RNG.normal(0, 1, 200)
    pairs = [(np.zeros((1, 1)), np.array([[value]])) for value in values]
    value, low, high = jackknife(pairs, lambda some: float(np.mean([y - x for x, y in some])), n_folds=200)
    error = values.std(ddof=1) / np.sqrt(200)
    assert value == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * error, rel=1e-3)


def test_intervals_need_four_clips_and_can_be_left_out():
    pairs = [(np.ones((2, 1)), np.ones((2, 1)))] * 3
    assert jackknife(pairs, paired_frechet) == (0.0, None, None)
    assert jackknife(pairs * 2, paired_frechet, n_folds=0) == (0.0, None, None)
    assert jackknife(pairs * 2, paired_frechet) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_resamples": 0}, "n_resamples must be at least 1, got 0"),
        ({"n_folds": 1}, "n_folds must be 0 or at least 2, got 1"),
        ({"level": 1.0}, r"level must lie in \(0, 1\), got 1"),
    ],
)
def test_statistics_out_of_range_are_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        Statistics(**given)


def test_the_kernel_distance_of_paired_sets_is_unbiased():
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        originals = [rng.normal(0, 1, (1, 2)) + 0.1 * rng.normal(0, 1, (4, 2)) for _ in range(8)]
        found.append(paired_kernel([(one, one + 0.1 * rng.normal(0, 1, one.shape)) for one in originals]))
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error + 0.1
    assert paired_kernel([(one, one + 3) for one in originals]) > 50


def test_originals_that_are_all_alike_have_no_kernel_distance():
    assert np.isnan(paired_kernel([(np.ones((2, 3)), np.zeros((2, 3)))] * 3))


class Wide:
    """Hears two ways in which clips differ, and sixty in which there is but noise of its own."""

    name, dim = "wide", 62

    def embed(self, wave, sample_rate):
        rng = np.random.default_rng(int(abs(wave[0]) * 1e6))
        own = Offset().embed(wave, sample_rate)[:, :2]
        return np.concatenate([10 * own, 0.5 * rng.standard_normal((len(own), 60))], axis=1)


def test_on_components_a_distance_is_no_longer_mostly_the_number_of_vectors():
    given = clips(8)
    found = {}
    for n in (0, 2):
        scores = SetScores([Wide()], Statistics(n_components=n))
        for place, clip in enumerate(given):
            scores.add(place, clip, SetScores.ORIGINAL, clip.wave)
            scores.add(place, clip, "same", np.concatenate([clip.wave[:1] + 1e-3, clip.wave[1:]]))
        found[n] = {one.metric: one for one in scores.figures()}["fad"].value
    assert found[2] < found[0] / 2
    assert "principal components" in SetScores([Wide()]).notes[0]
    assert SetScores([]).notes == ()
    with pytest.raises(ParameterError, match="n_components must be at least 0, got -1"):
        Statistics(n_components=-1)


def test_other_places_of_the_originals_stand_beside_the_methods():
    scores = SetScores([Offset()])
    for place, clip in enumerate(clips(6)):
        scores.add(place, clip, SetScores.ORIGINAL, clip.wave)
        scores.add_halves(place)
        scores.add(place, clip, "louder", 3 * clip.wave)
    found = {one.method: one.value for one in scores.figures() if one.metric == "fad"}
    assert 0 < found[SetScores.ELSEWHERE] < found["louder"] / 5

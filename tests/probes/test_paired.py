"""Two results on the same clips: the interval of their difference is that of the difference, not of either."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from probes.intervals import HeldOut, bootstrap_scores
from probes.paired import differences
from probes.protocol import ProtocolSettings, probe_and_test
from tests.probes.toys import folded, silent, tagged, telling, vectors_of_layers

QUICK = ProtocolSettings(n_seeds=2, max_epochs=100, n_resamples=100)


def held_out(noise: float, seed: int = 0, n_clips: int = 120) -> list[HeldOut]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(3, size=n_clips)
    scores = np.eye(3)[targets] + np.random.default_rng(7).standard_normal((n_clips, 3))
    return [HeldOut(targets, [scores + noise * rng.standard_normal((n_clips, 3))], np.arange(n_clips) // 3)]


def test_a_result_is_not_ahead_of_itself():
    for found in differences(held_out(0.3), held_out(0.3), 50).values():
        assert (found.mean, *found.interval, found.ahead) == (0, 0, 0, 0.5)


def test_the_difference_turns_its_sign_with_the_order():
    one, other = held_out(0.0), held_out(2.0)
    there, back = differences(one, other, 200), differences(other, one, 200)
    for name, found in there.items():
        assert found.mean == pytest.approx(-back[name].mean)
        assert found.interval.low == pytest.approx(-back[name].interval.high)
        assert found.ahead == pytest.approx(1 - back[name].ahead)
        assert found.mean > 0
        assert found.interval.low <= found.mean <= found.interval.high


def test_what_is_hard_for_both_drops_out():
    one, other = held_out(0.0), held_out(0.05)
    apart = differences(one, other, 300)["accuracy"].interval
    alone = bootstrap_scores(one, 300)["accuracy"]
    assert apart.high - apart.low < (alone.high - alone.low) / 2


def test_groups_are_drawn_whole():
    one, other = held_out(0.0), held_out(1.0)
    by_clip, by_group = (differences(one, other, 200, by_group=by)["roc_auc"] for by in (False, True))
    assert by_clip.mean == by_group.mean
    assert by_clip.interval != by_group.interval


@pytest.mark.parametrize("data", [tagged(200), folded()])
def test_vectors_that_tell_are_ahead_of_vectors_that_do_not(data):
    ours, theirs = (
        probe_and_test(vectors_of_layers(data, rows), data, QUICK) for rows in (telling(data), silent(data))
    )
    found = differences(ours[1], theirs[1], 100, by_group=ours[1][0].groups is not None)
    assert set(found) == set(ours[0].scores)
    for name, apart in found.items():
        assert apart.mean == pytest.approx(ours[0].scores[name].mean - theirs[0].scores[name].mean)
        assert apart.interval.low > 0
        assert apart.ahead == 1


def test_results_on_other_clips_are_not_compared():
    with pytest.raises(ParameterError, match="must have been tested on the same clips"):
        differences(held_out(0.1), held_out(0.1, seed=1))
    with pytest.raises(ParameterError, match="must have been tested on the same clips"):
        differences(held_out(0.1) * 2, held_out(0.1))
    with pytest.raises(ParameterError, match=r"level must lie in \(0, 1\), got 2"):
        differences(held_out(0.1), held_out(0.1), level=2)

"""What a setting costs is counted while it is measured, and what it loses is told from noise."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.evaluation.generation import GenerationSettings
from masktools.evaluation.inpainting import InpaintSettings
from masktools.evaluation.report import Figure
from masktools.evaluation.scores import Statistics
from masktools.evaluation.sweep import COST, Sweep, counting, over_repeats, points_of, run_sweep
from masktools.evaluation.sweep_results import draw_cost, frontier, loss_lines, named_points, priced, priced_measures
from masktools.solver import SPEEDS, SolverConfig, preset
from tests.evaluation.sounding import Ear, clips, tiny_model
from tests.solver.planned import planned_work

QUICK = Statistics(n_resamples=10, n_folds=0)
MEASURE = ("all", "", "lsd_db", None)


def figure(value, low=None, high=None, metric="lsd_db", group="all"):
    return Figure(group, "model", metric, value, low, high, 5)


def point(name, cost, value, low=None, high=None):
    return name, (figure(value, low, high), figure(cost, metric=COST, group="cost"))


def test_the_cost_is_that_of_the_plan():
    model = tiny_model()
    solver = SolverConfig(n_steps=6, cache_every=3, cache_scope="chosen")
    with counting(model.pipeline) as spending:
        model.generate(n=3, solver=solver)
        model.generate("a hum", n=2, solver=solver)
    n_slots = 5 * 8
    assert spending.n_windows == 5
    expected = 3 * planned_work(n_slots, n_slots, solver, False) + 2 * planned_work(n_slots, n_slots, solver, True)
    assert spending.forwards == pytest.approx(expected)
    model.generate(n=1, solver=solver)
    assert spending.n_windows == 5, "counted inside the block only"


def test_the_frontier_is_what_nothing_beats():
    assert frontier([(1, 3.0), (2, 2.0), (2, 2.5), (3, 2.0), (4, 1.0)], direction=-1) == [0, 1, 4]
    assert frontier([(1, 3.0), (2, 2.0), (4, 5.0)], direction=1) == [0, 2]
    assert frontier([], direction=1) == []


def test_points_are_priced_by_measures_of_quality_only():
    points = [point("a", 30, 8.0), point("b", 4, 8.5), point("c", 8, 9.0), ("d", (figure(1.0),))]
    rows = priced(points, MEASURE)
    assert [(row.name, row.cost, row.best) for row in rows] == [("a", 30, True), ("b", 4, True), ("c", 8, False)]
    with pytest.raises(ParameterError, match="the measure must be one of fad, .* got 'level_db'"):
        priced(points, ("all", "", "level_db", None))


def test_a_loss_is_told_from_noise_by_what_both_intervals_reach_towards_each_other():
    points = [point("a", 30, 8.0, 7.9, 8.1), point("b", 4, 8.12, 8.02, 8.2), point("c", 2, 9.0, 8.8, 9.2)]
    points += [point("d", 1, 7.0, 6.9, 7.1), point("e", 5, 8.15, 8.05, 8.2)]
    lines = loss_lines(points, [MEASURE], "a")
    assert [line.split("|")[-2].strip() for line in lines[2:7]] == [
        "what it is compared with",
        "within noise",
        "worse",
        "better",
        "worse",  # the two intervals meet, the difference is 0.15 +- 0.14
    ]
    assert "| b | 4.00 | 8.12 [8.02, 8.2] | +0.12 |" in lines[3]
    assert "| **d** |" in lines[5]
    assert "no intervals" in loss_lines([point("a", 3, 8.0), point("b", 2, 8.1)], [MEASURE], "a")[3]


def test_repeats_have_students_interval_and_one_is_left_as_it_is():
    once = (figure(3.0, 1.0, 5.0),)
    assert over_repeats([once]) == once
    (mean,) = over_repeats([(figure(value),) for value in (1.0, 2.0, 3.0)])
    assert mean.value == pytest.approx(2.0)
    assert mean.high - mean.value == pytest.approx(4.3027 / np.sqrt(3), rel=1e-3)
    assert over_repeats([once, ()]) == ()


def test_presets_are_an_axis_that_changes_the_models_own_settings():
    own = SolverConfig(temperature=0.5)
    points = points_of({"preset": ("exact", "draft", "fast8")}, own)
    assert [one.name for one in points] == ["preset=exact", "preset=draft", "preset=fast8"]
    assert [one.solver(own) for one in points] == [own, replace(own, **SPEEDS["draft"]), preset("fast8")]
    with pytest.raises(ParameterError, match="unknown preset 'drat': .*did you mean 'draft'"):
        points_of({"preset": ("drat",)}, own)
    with pytest.raises(ParameterError, match="repeats must be at least 1, got 0"):
        Sweep("generate", GenerationSettings(), {"n_steps": (1,)}, repeats=0)


def test_a_preset_by_itself_is_not_overruled_by_where_the_other_axes_stand():
    own = SolverConfig(temperature=0.5)
    axes = {"preset": ("fast", "draft"), "cache_every": (1, 2), "n_steps": (12,)}
    solvers = [one.solver(own) for one in points_of(axes, own)]
    assert solvers[:3] == [own, preset("fast", own), preset("draft", own)]
    assert solvers[3:] == [replace(own, cache_every=2), replace(own, n_steps=12)]
    grid = points_of({"preset": ("fast",), "cache_every": (1, 2)}, own, grid=True)
    assert [one.solver(own).cache_every for one in grid] == [1, 2]


@pytest.fixture(scope="module")
def swept():
    settings = InpaintSettings(gaps_s=(0.4,), context_s=0.4, statistics=QUICK)
    sweep = Sweep("inpaint", settings, {"preset": ("exact", "fast", "draft")}, repeats=2, references=False)
    return run_sweep({"tiny": tiny_model()}, clips(2)[:2], sweep, [Ear()])


def test_a_sweep_of_presets_says_what_each_costs(swept):
    assert [name for name, _ in named_points(swept)] == ["preset=exact", "preset=fast", "preset=draft"]
    costs = [swept.report.value("cost", name, COST) for name, _ in named_points(swept)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 2 * costs[1]
    assert any("Means over 2 seeds" in note for note in swept.report.notes)


def test_points_are_named_by_what_they_change_of_the_first(swept):
    axes = {"n_steps": (16, 4), "temperature": (1.5, 0.5)}
    points = tuple((one, ()) for one in points_of(axes, SolverConfig()))
    names = [name for name, _ in named_points(replace(swept, points=points))]
    assert names == ["n_steps=16, temperature=1.5", "n_steps=4", "temperature=0.5"]


def test_points_of_another_precision_are_not_mixed_in(tmp_path):
    sweep = Sweep("generate", GenerationSettings(n_prompts=1, statistics=QUICK), {"n_steps": (1,)}, True, False)
    model = tiny_model()
    run_sweep({"t": model}, clips(1), sweep, (), tmp_path / "p")
    model.pipeline.precision = torch.bfloat16
    with pytest.raises(ParameterError, match="holds points of another sweep"):
        run_sweep({"t": model}, clips(1), sweep, (), tmp_path / "p")


def test_a_killed_sweep_with_repeats_goes_on(swept, tmp_path):
    settings = GenerationSettings(n_prompts=2, n_unconditional=1, match_lengths=False, statistics=QUICK)
    sweep = Sweep("generate", settings, {"n_steps": (1, 2)}, grid=True, references=False, repeats=2)
    counted = []
    first = run_sweep({"t": tiny_model()}, clips(2), sweep, [Ear()], tmp_path / "p", lambda *done: counted.append(done))
    assert counted[-1] == (4, 4)
    lines = (tmp_path / "p").read_text().splitlines()
    (tmp_path / "p").write_text("\n".join(lines[:2]) + "\n")
    again = run_sweep({"t": tiny_model()}, clips(2), sweep, [Ear()], tmp_path / "p")
    assert again.report.to_json() == first.report.to_json()


def test_quality_against_cost_is_drawn_with_its_frontier(swept):
    pytest.importorskip("matplotlib")
    from PIL import Image

    measures = priced_measures(swept, [("all", "400 ms", "lsd_db", None), ("cost", "", COST, None)])
    assert measures in ([], [("all", "400 ms", "lsd_db", None)])
    group = next(one for _, figures in swept.points for one in figures if one.metric == "lsd_db")
    image = Image.open(io.BytesIO(draw_cost(swept, (group.group, group.case, "lsd_db", None))))
    assert image.format == "PNG"
    assert np.asarray(image.convert("L")).std() > 5
    with pytest.raises(ParameterError, match="a plot of cost needs at least two points that were decoded, got 1"):
        draw_cost(replace(swept, points=swept.points[:1]), (group.group, group.case, "lsd_db", None))


def test_a_reference_far_away_does_not_flatten_what_is_compared(swept):
    pytest.importorskip("matplotlib")
    group = next(one for _, figures in swept.points for one in figures if one.metric == "lsd_db")
    measure = (group.group, group.case, "lsd_db", None)
    alone = draw_cost(swept, measure)
    far = replace(group, method="unprocessed", value=group.value + 1000.0, low=None, high=None)
    near = replace(far, value=group.value)
    assert draw_cost(replace(swept, references=(far,)), measure) == alone
    assert draw_cost(replace(swept, references=(near,)), measure) != alone

"""A sweep measures every point once, however often it is killed, and draws what it found."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.evaluation.bandwidth import BandwidthSettings
from masktools.evaluation.generation import GenerationSettings
from masktools.evaluation.inpainting import InpaintSettings
from masktools.evaluation.scores import Statistics
from masktools.evaluation.sweep import Notebook, Point, Sweep, points_of, run_sweep
from masktools.solver import SolverConfig
from tests.evaluation.sounding import Ear, Repeating, clips, tiny_model

QUICK = Statistics(n_resamples=10, n_folds=0)
REAL = clips(2)
SETTINGS = GenerationSettings(n_per_prompt=2, match_lengths=False, statistics=QUICK)
AXES = {"n_steps": (2, 4), "temperature": (0.5, 1.5)}
SWEEP = Sweep("generate", SETTINGS, AXES)


class KilledError(Exception):
    """What stops a sweep in these tests."""


def test_one_axis_at_a_time_or_all_combinations():
    base = SolverConfig(n_steps=4)
    names = [point.name for point in points_of(AXES, base)]
    assert names == ["n_steps=4, temperature=1.5", "n_steps=2, temperature=1.5", "n_steps=4, temperature=0.5"]
    grid = points_of(AXES, base, grid=True)
    assert len(grid) == 4
    assert {(point.solver(base).n_steps, point.solver(base).temperature) for point in grid} == {
        (2, 0.5),
        (2, 1.5),
        (4, 0.5),
        (4, 1.5),
    }


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({}, "a sweep must have at least one axis"),
        ({"steps": (1,)}, "unknown axis 'steps'.*did you mean 'n_steps'"),
        ({"n_steps": ()}, "the axis n_steps must have different values, at least one"),
        ({"n_steps": (4, 4)}, "the axis n_steps must have different values"),
        ({"policy": ("confidence", "halten")}, "unknown policy 'halten'"),
        ({"temperature": (-1.0,)}, r"temperature must lie in \[0, inf\)"),
    ],
)
def test_axes_that_make_no_sense_are_refused_before_anything_is_computed(axes, message):
    with pytest.raises(ParameterError, match=message):
        points_of(axes, SolverConfig())


def test_every_point_is_decoded_with_its_own_settings():
    model = Repeating(REAL)
    result = run_sweep({"tiny": model}, REAL, SWEEP, [Ear()])
    solvers = [solver for _, solver in model.asked]
    assert [(s.n_steps, s.temperature) for s in solvers] == [(16, 1.5), (2, 1.5), (4, 1.5), (16, 0.5)]
    names = {figure.method for figure in result.report.figures}
    assert {"n_steps=2, temperature=1.5", "real", "ceiling", "chance"} <= names
    assert result.report.value("noises", "n_steps=2, temperature=1.5", "fad") == pytest.approx(0, abs=1e-6)
    assert result.report.settings["points"] == 4


def test_a_killed_sweep_computes_only_the_rest(tmp_path):
    path = tmp_path / "points.jsonl"
    model = Repeating(REAL)

    def kill(done, total):
        if done == 3:  # the references and two points
            raise KilledError

    with pytest.raises(KilledError):
        run_sweep({"tiny": model}, REAL, SWEEP, [Ear()], path, kill)
    assert len(path.read_text().splitlines()) == 3
    assert list(tmp_path.iterdir()) == [path]
    resumed = Repeating(REAL)
    result = run_sweep({"tiny": resumed}, REAL, SWEEP, [Ear()], path)
    assert [solver.n_steps for _, solver in resumed.asked] == [4, 16]
    whole = run_sweep({"tiny": Repeating(REAL)}, REAL, SWEEP, [Ear()])
    assert result.report.to_json() == whole.report.to_json()
    finished = Repeating(REAL)
    assert run_sweep({"tiny": finished}, REAL, SWEEP, [Ear()], path).report.to_json() == whole.report.to_json()
    assert finished.asked == []


def test_more_values_take_over_what_is_there(tmp_path):
    run_sweep({"tiny": Repeating(REAL)}, REAL, SWEEP, (), tmp_path / "p")
    more = Repeating(REAL)
    axes = {**AXES, "n_steps": (2, 4, 8)}
    run_sweep({"tiny": more}, REAL, replace(SWEEP, axes=axes), (), tmp_path / "p")
    assert [solver.n_steps for _, solver in more.asked] == [8]


def test_points_of_another_sweep_are_not_mixed_in(tmp_path):
    path = tmp_path / "points.jsonl"
    run_sweep({"tiny": Repeating(REAL)}, REAL, SWEEP, (), path)
    for other in (replace(SWEEP, settings=replace(SETTINGS, seed=1)), SWEEP):
        recordings = REAL if other is not SWEEP else clips(1)
        with pytest.raises(ParameterError, match="holds points of another sweep.*give another file"):
            run_sweep({"tiny": Repeating(REAL)}, recordings, other, (), path)
    path.write_text("[]\n")
    with pytest.raises(ParameterError, match="must be a file of finished points"):
        Notebook(path, [])


def test_bundles_are_an_axis_too():
    one, other = Repeating(REAL), Repeating([replace(c, wave=0.1 * c.wave) for c in REAL])
    sweep = Sweep("generate", SETTINGS, {"model": ("M", "C")}, references=False)
    result = run_sweep({"M": one, "C": other}, REAL, sweep, [Ear()])
    assert result.report.value("noises", "model=M", "fad") < result.report.value("noises", "model=C", "fad")
    with pytest.raises(ParameterError, match="unknown model 'D'.*choose from M, C"):
        run_sweep({"M": one, "C": other}, REAL, replace(sweep, axes={"model": ("D",)}))


@pytest.mark.parametrize(
    ("protocol", "settings", "method"),
    [
        ("inpaint", InpaintSettings(gaps_s=(0.3,), context_s=0.4, statistics=QUICK), ""),
        ("bwe", BandwidthSettings(cutoffs_hz=(4000.0,), min_bandwidth_hz=0.0, statistics=QUICK), ", model_no_lfr"),
    ],
)
def test_restoration_is_swept_with_its_baselines_once(protocol, settings, method):
    sweep = Sweep(protocol, settings, {"n_steps": (1, 2)}, grid=True)
    result = run_sweep({"tiny": tiny_model()}, REAL[:2], sweep)
    figures = [figure for figure in result.report.figures if figure.metric.startswith("lsd")]
    methods = [figure.method for figure in figures if figure.metric == figures[0].metric]
    assert {"unprocessed", "ceiling", f"n_steps=1{method}", f"n_steps=2{method}"} <= set(methods)
    assert len(methods) == len(set(methods))


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ParameterError, match="unknown protocol 'vocoder'"):
        Sweep("vocoder", SETTINGS, AXES)
    with pytest.raises(ParameterError, match="the settings of bwe must be BandwidthSettings, got GenerationSettings"):
        Sweep("bwe", SETTINGS, AXES)
    with pytest.raises(ParameterError, match="a sweep needs at least one model"):
        run_sweep({}, REAL, SWEEP)


@pytest.fixture(scope="module")
def swept():
    axes = {"n_steps": (2, 4, 8), "guidance": (1.0, 3.0), "guidance_schedule": ("linear_up", "constant")}
    return run_sweep({"tiny": Repeating(REAL)}, REAL, Sweep("generate", SETTINGS, axes, grid=True), [Ear()])


def test_a_plot_has_a_panel_for_each_axis_and_a_line_for_each_setting_of_the_others(swept, monkeypatch):
    from masktools.evaluation import sweep_results as plots

    pytest.importorskip("matplotlib")
    from PIL import Image

    measures = plots.plotted_measures(swept)
    assert ("noises", "", "fad", Ear.name) in measures
    drawn, draw = [], plots._draw

    def noted(panel, axis, found):
        drawn.append(panel)
        draw(panel, axis, found)

    monkeypatch.setattr(plots, "_draw", noted)
    picture = plots.draw_sweep(swept, ("noises", "", "fad", Ear.name))
    assert [panel.get_xlabel() for panel in drawn] == ["n steps", "guidance", "guidance schedule"]
    assert [len(panel.containers) for panel in drawn] == [4, 6, 6]
    assert [label.get_text() for label in drawn[0].get_xticklabels()] == ["2", "4", "8"]
    assert len(drawn[0].lines) > 4  # and the references
    image = Image.open(io.BytesIO(picture))
    assert image.format == "PNG"
    assert np.asarray(image.convert("L")).std() > 5


def test_a_plot_without_an_axis_is_refused(swept):
    from masktools.evaluation.sweep_results import draw_sweep

    one = replace(swept, points=swept.points[:1])
    with pytest.raises(ParameterError, match="a plot needs an axis with at least two values"):
        draw_sweep(one, ("noises", "", "fad", Ear.name))


def test_without_matplotlib_one_is_told_what_to_install(monkeypatch):
    from masktools.core import arguments

    monkeypatch.setattr(arguments, "find_spec", lambda name: None)
    with pytest.raises(ParameterError, match="plots are drawn with matplotlib: pip install"):
        arguments.check_installed(*arguments.PLOTTING)


def test_points_are_named_by_what_they_set():
    assert Point((("temperature", 1.0), ("policy", "halton"))).name == "temperature=1, policy=halton"
    assert json.dumps(Point((("n_steps", 4),)).values)

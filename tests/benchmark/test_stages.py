"""The way of a recording through the model, and whole jobs in their variants."""

import pytest

from masktools.benchmark.models import RunSettings, Variant, random_pipeline
from masktools.benchmark.timing import JOBS, measure_jobs, measure_stages, prepared
from masktools.core.errors import ParameterError
from masktools.model import Model
from masktools.solver import SolverConfig

JOBS_ONLY = ("jobs",)


def test_all_stages_together_are_all_of_the_time(pipeline, peaks):
    found = measure_stages(pipeline, peaks, RunSettings(("stages",), batches=(2,), repeats=2), SolverConfig(n_steps=3))
    stages = [one for one in found if one.name != "solver step"]
    assert [one.name for one in stages] == [
        *("read file", "resample", "mel", "encode", "transformer", "choice of tokens"),
        *("decode", "vocoder", "to memory", "resample back", "write file"),
    ]
    assert sum(one.figures["share"] for one in stages) == pytest.approx(1.0)
    assert all(len(one.samples_s) == 2 for one in found)
    arithmetic = [one.name for one in stages if "of_ceiling" in one.figures]
    assert arithmetic == ["mel", "encode", "transformer", "decode", "vocoder"]


def test_the_steps_are_those_of_the_solver(pipeline, peaks):
    found = measure_stages(pipeline, peaks, RunSettings(("stages",), repeats=1), SolverConfig(n_steps=3))
    steps = [one for one in found if one.name == "solver step"]
    (transformer,) = [one for one in found if one.name == "transformer"]
    assert [one.case["step"] for one in steps] == [1, 2, 3]
    assert [one.figures["n_passes"] for one in steps] == [1, 2, 2]  # guidance 0 needs one pass
    assert sum(one.figures["flop"] for one in steps) == transformer.figures["flop"]


def test_steps_that_recall_cost_less(pipeline, peaks):
    config = SolverConfig(n_steps=4, cache_every=2)
    exact, cheap = (
        measure_stages(pipeline, peaks, RunSettings(("stages",), repeats=1), solver)
        for solver in (SolverConfig(n_steps=4), config)
    )
    flop = [next(one for one in found if one.name == "transformer").figures["flop"] for found in (exact, cheap)]
    assert flop[1] < flop[0]


def test_every_job_is_timed_in_every_variant(peaks):
    settings = RunSettings(
        JOBS_ONLY,
        precisions=("fp32", "bf16"),
        batches=(1, 2),
        steps=(2, 1),
        threads=(None, 1),
        repeats=1,
        jobs=tuple(JOBS),
    )
    found = measure_jobs(
        lambda precision: random_pipeline("tiny", device="cpu", precision=precision),
        {None: peaks, 1: peaks},
        settings,
    )
    cases = {job: [one.case for one in found if one.name == job] for job in JOBS}
    assert {job: len(own) for job, own in cases.items()} == {"generate": 5, "inpaint": 4, "bwe": 4, "embed": 4}
    assert cases["generate"][0] | {"threads": 0} == {
        "precision": "fp32",
        "asked_precision": "fp32",
        "batch": 1,
        "steps": 2,
        "threads": 0,
    }
    for one in found:
        assert min(one.figures[name] for name in ("real_time_factor", "floor_real_time_factor", "ratio")) > 0
    assert next(one.figures["ratio"] for one in found if one.name == "embed") == 1.0
    by_steps = {one.case["steps"]: one.figures for one in found if one.name == "inpaint"}
    assert (by_steps[2]["n_passes"], by_steps[1]["n_passes"]) == (2, 1)
    assert by_steps[2]["flop"] > by_steps[1]["flop"]


def test_a_batch_is_more_audio_and_more_arithmetic(peaks):
    settings = RunSettings(JOBS_ONLY, jobs=("generate",), batches=(1, 3), steps=(1,), repeats=1)
    one, three = measure_jobs(lambda _: random_pipeline("tiny", device="cpu"), {None: peaks}, settings)
    assert three.figures["audio_s"] == pytest.approx(3 * one.figures["audio_s"])
    assert three.figures["flop"] == pytest.approx(3 * one.figures["flop"])


def test_a_grid_has_all_combinations():
    settings = RunSettings(JOBS_ONLY, precisions=("fp32", "bf16"), batches=(1, 4), steps=(8, 16))
    assert len(settings.variants("generate")) == 4
    grid = RunSettings(JOBS_ONLY, precisions=("fp32", "bf16"), batches=(1, 4), steps=(8, 16), grid=True)
    assert len(grid.variants("generate")) == 8
    assert grid.variants("generate")[0] == Variant("fp32", 1, 8)
    assert len(grid.variants("embed")) == 4  # no steps


def test_what_cannot_be_timed_is_refused(pipeline):
    with pytest.raises(ParameterError, match="unknown job 'embd'.*did you mean 'embed'"):
        RunSettings(JOBS_ONLY, jobs=("embd",))
    with pytest.raises(ParameterError, match="batches must have at least one value, got none"):
        RunSettings(JOBS_ONLY, batches=())
    with pytest.raises(ParameterError, match="unknown job 'sing'"):
        prepared("sing", Model(pipeline), Variant())

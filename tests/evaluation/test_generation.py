"""Measured by generation, recordings given back are perfect, and recordings learned by heart are found out."""

from dataclasses import replace

import numpy as np
import pytest

from masktools.core.configs import from_dict, to_dict
from masktools.core.errors import ParameterError
from masktools.evaluation.clips import Clip
from masktools.evaluation.generation import GenerationSettings, evaluate_generation
from masktools.evaluation.report import Report
from masktools.evaluation.scores import Statistics
from masktools.evaluation.sounds import fitted, groups_with, prompts_of, spread
from masktools.solver import SolverConfig
from tests.evaluation.sounding import CLASSES, SECONDS, Ear, Repeating, clips, renamed, tiny_model
from tests.tiny import SAMPLE_RATE

QUICK = Statistics(n_resamples=30, n_folds=0)
REAL, TRAINING = clips(4), clips(10, first=100)
AS_THEY_ARE = GenerationSettings(
    n_per_prompt=4, n_unconditional=6, match_lengths=False, methods=("real", "training", "model"), statistics=QUICK
)
EAR = Ear()


@pytest.fixture(scope="module")
def perfect() -> Report:
    return evaluate_generation(Repeating(REAL), REAL, AS_THEY_ARE, [EAR], training=TRAINING)


def test_a_model_that_gives_back_the_real_recordings_is_as_good_as_they_are(perfect):
    assert perfect.value("noises", "model", "fad") == pytest.approx(0, abs=1e-6)
    assert perfect.value("noises", "model", "kl") == pytest.approx(0, abs=1e-9)
    for metric in ("caption_r1", "caption_r5", "text_score"):
        ceiling = perfect.value("noises", "real", metric, embedder=EAR.name)
        assert perfect.value("noises", "model", metric, embedder=EAR.name) == pytest.approx(ceiling)
    assert perfect.value("noises", "model", "probe_top1") == perfect.value("noises", "real", "probe_top1")
    assert perfect.value("noises", "model", "inception_score") == pytest.approx(
        perfect.value("noises", "real", "inception_score")
    )


def test_other_recordings_of_the_same_kind_are_near_but_not_the_same(perfect):
    assert perfect.value("noises", "training", "fad") > 0.001
    far = evaluate_generation(Repeating([replace(one, wave=0.01 * one.wave) for one in REAL]), REAL, AS_THEY_ARE, [EAR])
    assert far.value("noises", "model", "fad") > 10 * perfect.value("noises", "training", "fad")


def test_chance_and_the_trust_in_the_probe_stand_beside(perfect):
    assert perfect.value("noises", "chance", "caption_r1", embedder=EAR.name) == pytest.approx(1 / 3)
    assert perfect.value("noises", "chance", "caption_rank", embedder=EAR.name) == 2
    assert perfect.value("noises", "chance", "probe_top1") == pytest.approx(1 / 3)
    assert perfect.value("noises", "real", "probe_top1") == 1
    assert any("3 classes, trained on 30 other recordings" in note for note in perfect.notes)


def test_every_figure_of_an_embedder_names_it_and_its_n(perfect):
    unaided = {"silence_share", "level_db", "level_error_db"}
    for figure in perfect.figures:
        assert (figure.embedder is None) == (figure.metric in unaided)
        assert figure.n == 12 or figure.method in ("training", "chance")


def test_each_sound_finds_the_clip_that_it_answers_and_is_as_loud(perfect):
    assert perfect.value("noises", "model", "clip_r5") == 1
    assert perfect.value("noises", "chance", "clip_r5") == pytest.approx(5 / 12)
    assert perfect.value("noises", "model", "fad_clips") == pytest.approx(0, abs=1e-6)
    assert perfect.value("noises", "real halves", "fad_clips") > 0.001
    assert perfect.value("noises", "model", "level_error_db") == 0


def test_a_model_that_is_too_quiet_is_found_out():
    quiet = Repeating([replace(one, wave=0.1 * one.wave) for one in REAL])
    report = evaluate_generation(quiet, REAL, AS_THEY_ARE, [EAR])
    assert report.value("noises", "model", "level_error_db") == pytest.approx(-20, abs=0.01)


def test_a_model_that_confuses_captions_is_found_out():
    taken_for = {"a hum": "a beep", "a beep": "a whistle", "a whistle": "a hum"}
    confused = Repeating(renamed(REAL, [taken_for[one.caption] for one in REAL]))
    report = evaluate_generation(confused, REAL, AS_THEY_ARE, [EAR], training=TRAINING)
    assert report.value("noises", "model", "caption_r1", embedder=EAR.name) == 0
    assert report.value("noises", "model", "probe_top1") == 0
    assert report.value("noises", "model", "clip_r5") < report.value("noises", "chance", "clip_r5") / 2
    assert report.value("noises", "real", "caption_r1", embedder=EAR.name) == 1
    assert report.value("noises", "model", "kl") > 1
    assert report.value("noises", "model", "fad") == pytest.approx(0, abs=1e-6)  # as a set they are the same


def test_what_was_learned_by_heart_is_found_out_and_what_is_new_is_not():
    settings = replace(AS_THEY_ARE, methods=("unconditional",))
    by_heart, new = (
        evaluate_generation(Repeating(source), REAL, settings, [EAR], training=TRAINING)
        for source in (TRAINING, clips(4, first=50))
    )
    for space in (EAR.name, "mel spectrogram in dB"):
        assert by_heart.value("noises", "unconditional", "nearest", embedder=space) == pytest.approx(0, abs=1e-3)
        assert by_heart.value("noises", "unconditional", "nearest_ratio", embedder=space) < 0.01
        assert by_heart.value("noises", "unconditional", "nearer_share", embedder=space) == 1
        assert 0.3 < new.value("noises", "unconditional", "nearest_ratio", embedder=space) < 3
        assert new.value("noises", "unconditional", "nearer_share", embedder=space) < 0.6
    assert new.value("noises", "copies", "nearest", embedder="mel") > 0  # the tiny tokenizer copies badly


def test_a_real_model_is_measured_from_end_to_end_and_the_same_twice():
    model, few = tiny_model(), clips(1)
    settings = GenerationSettings(n_unconditional=2, solver=SolverConfig(n_steps=2), statistics=QUICK, seed=3)
    seen = []
    first, again = (
        evaluate_generation(model, few, settings, [EAR], lambda *step: seen.append(step), training=TRAINING[:9])
        for _ in range(2)
    )
    assert first.to_json() == again.to_json()
    assert seen[-1][0] == seen[-1][1]
    assert [done / total for done, total in seen[: len(seen) // 2]] == sorted(
        done / total for done, total in seen[: len(seen) // 2]
    )
    methods = {figure.method for figure in first.figures}
    assert methods == {"real", "ceiling", "training", "model", "unconditional", "copies", "chance", "real halves"}
    assert first.settings["captions"] == 3
    assert from_dict(GenerationSettings, first.settings["settings"]) == settings
    assert Report.from_json(first.to_json()).to_markdown() == first.to_markdown()


def test_without_training_recordings_the_report_says_what_is_missing():
    report = evaluate_generation(Repeating(REAL), REAL, AS_THEY_ARE, [EAR])
    assert not {figure.metric for figure in report.figures} & {"probe_top1", "kl", "nearest_ratio"}
    assert any("No training recordings were given" in note for note in report.notes)


def test_texts_may_take_the_place_of_captions():
    model = Repeating(REAL)
    settings = replace(AS_THEY_ARE, prompts=("a whistle", "a hum"), methods=("model",), n_per_prompt=2)
    report = evaluate_generation(model, REAL, settings, [EAR])
    assert [asked for asked, _ in model.asked] == [["a whistle", "a hum"]]
    assert report.value("noises", "chance", "caption_r1", embedder=EAR.name) == 0.5


def test_silence_is_counted():
    half = [replace(one, wave=np.concatenate([one.wave, np.zeros_like(one.wave)])) for one in REAL]
    report = evaluate_generation(Repeating(half), REAL, replace(AS_THEY_ARE, methods=("model",)))
    assert report.value("noises", "model", "silence_share") == pytest.approx(0.5, abs=0.03)


def test_recordings_are_cut_or_repeated_to_the_length_of_what_is_generated():
    assert fitted(np.arange(10.0), 4).tolist() == [3, 4, 5, 6]
    assert fitted(np.arange(3.0), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    report = evaluate_generation(Repeating(REAL), REAL, replace(AS_THEY_ARE, match_lengths=True))
    assert report.settings["seconds_generated"] == pytest.approx(8 * 4096 / SAMPLE_RATE, abs=1e-3)


def test_each_caption_is_asked_once_and_kinds_get_their_share():
    some = clips(2) + [replace(one, kind="music", caption=f"{one.caption} tune") for one in clips(2)]
    prompts = prompts_of(some)
    assert [prompt.text for prompt in prompts] == [f"a {c}{t}" for t in ("", " tune") for c in CLASSES]
    assert prompts[0].clips == (0, 3)
    chosen = spread(some, [prompt.clips[0] for prompt in prompts], 4)
    assert sorted(some[place].kind for place in chosen) == ["music", "music", "noises", "noises"]
    assert chosen == spread(some, [prompt.clips[0] for prompt in prompts], 4)


def test_samples_of_no_kind_are_compared_with_all_recordings_of_an_origin():
    one, other = clips(1)[:2]
    groups = groups_with([one, replace(other, kind="music"), replace(other, kind="music", origin="rendered")])
    holds = {name for name, members in groups.items() if ("any", "real") in members}
    assert holds == {"all, real"}
    assert ("any", "rendered") in groups["music, rendered"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_per_prompt": 0}, "n_per_prompt must be at least 1, got 0"),
        ({"n_unconditional": 0}, "n_unconditional must be at least 1"),
        ({"n_bins": 1}, "n_bins must be at least 2, got 1"),
        ({"seconds": 0.1}, r"seconds must lie in \[0.25, 600\], got 0.1"),
        ({"prompts": ("rain", "rain")}, "prompts must be different texts"),
        ({"methods": ("modle",)}, "unknown method 'modle'.*did you mean 'model'"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        GenerationSettings(**changes)


def test_what_cannot_be_measured_is_refused():
    silent = [Clip("x", REAL[0].wave, SAMPLE_RATE)]
    with pytest.raises(ParameterError, match="a clip must have a caption, or prompts must be given"):
        evaluate_generation(Repeating(REAL), silent, AS_THEY_ARE)
    with pytest.raises(ParameterError, match="clips must be at the model's rate"):
        evaluate_generation(Repeating(REAL), REAL, AS_THEY_ARE, training=[replace(REAL[0], sample_rate=44_100)])
    with pytest.raises(ParameterError, match="this model reads no texts"):
        evaluate_generation(tiny_model(conditioner=False), REAL[:2], replace(AS_THEY_ARE, methods=("model",)))


def test_settings_are_what_json_has():
    settings = GenerationSettings(prompts=("rain",), solver=SolverConfig(n_steps=4), seconds=SECONDS)
    assert from_dict(GenerationSettings, to_dict(settings)) == settings


def test_where_only_some_captions_are_asked_recordings_are_counted_for_the_same_ones():
    settings = replace(AS_THEY_ARE, n_prompts=1)
    model = Repeating(REAL)
    report = evaluate_generation(model, REAL, settings, [EAR], training=TRAINING)
    ((asked, _),) = model.asked
    figures = {(one.method, one.metric): one for one in report.figures if one.embedder in (None, EAR.name)}
    assert len(asked) == 1
    assert figures["real", "text_score"].n == figures["real", "level_db"].n == 4
    assert figures["real", "level_db"].value == pytest.approx(figures["model", "level_db"].value)
    assert figures["training", "fad"].n == 12
    assert report.value("noises", "chance", "caption_r1", embedder=EAR.name) == pytest.approx(1 / 3)
    assert any("of the real recordings, right on 100% of 12" in note for note in report.notes)

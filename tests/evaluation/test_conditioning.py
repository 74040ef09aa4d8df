"""An encoder that knows its classes finds all of them; a deaf one finds what chance finds; a transformer is told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from masktools.core.configs import from_dict, to_dict
from masktools.core.errors import ParameterError
from masktools.evaluation.scores import Statistics
from masktools.evaluation.transformer import ConditioningSettings, LabelSet, evaluate_conditioning, guesses_of
from tests.evaluation.sounding import CLASSES, Ear, clips, tiny_model

QUICK = Statistics(n_resamples=20, n_folds=0)
SETTINGS = ConditioningSettings(mask_ratios=(), statistics=QUICK)
CLIPS = clips(4)


class Deaf(Ear):
    """Hears the same in everything."""

    name = "deaf"

    def embed(self, wave, sample_rate):
        return np.array([[1.0, 0.9, 0.8]])


@pytest.fixture(scope="module")
def report():
    return evaluate_conditioning(tiny_model(), CLIPS, SETTINGS, [Ear(), Deaf()])


def test_an_encoder_that_knows_its_classes_finds_all_of_them(report):
    name = Ear.name
    assert report.value("noises", "sound -> text", "r1", "own caption", name) == 1
    assert report.value("noises", "text -> sound", "map", "own caption", name) == 1
    assert report.value("noises", "zero-shot", "accuracy", "3 rarest labels", name) == 1


def test_a_deaf_one_finds_what_chance_finds(report):
    assert report.value("noises", "sound -> text", "r1", "own caption", "deaf") == pytest.approx(1 / 3)
    assert report.value("noises", "zero-shot", "accuracy", "3 rarest labels", "deaf") == pytest.approx(1 / 3)
    assert report.value("noises", "chance", "accuracy", "3 rarest labels", "deaf") == pytest.approx(1 / 3)
    assert report.value("noises", "sound -> text, chance", "r1", "own caption", "deaf") == pytest.approx(1 / 3)
    assert report.value("noises", "text -> sound, chance", "r1", "own caption", "deaf") == pytest.approx(4 / 12)


def test_a_caption_is_true_of_all_that_it_describes():
    other_words = [replace(one, caption=f"{one.caption} {number // 3}") for number, one in enumerate(CLIPS)]
    report = evaluate_conditioning(tiny_model(), other_words, SETTINGS, [Ear()])
    assert report.value("noises", "text -> sound", "map", "true captions", Ear.name) == 1
    assert report.value("noises", "text -> sound", "map", "own caption", Ear.name) < 0.9


def test_label_sets_may_be_given_and_clips_without_any_are_passed_over():
    labels = LabelSet("low and high", ("hum", "whistle"))
    report = evaluate_conditioning(tiny_model(), CLIPS, replace(SETTINGS, label_sets=(labels,)), [Ear()])
    own = [figure for figure in report.figures if figure.embedder == Ear.name and figure.method == "zero-shot"]
    (figure,) = own
    assert (figure.value, figure.n, figure.case) == (1, 8, "2 low and high")
    assert from_dict(ConditioningSettings, to_dict(replace(SETTINGS, label_sets=(labels,)))).label_sets == (labels,)


def test_the_models_own_encoder_is_always_measured(report):
    names = {figure.embedder for figure in report.figures}
    assert len(names) == 3
    assert any(name.startswith("text-audio encoder of tiny") for name in names)


def test_the_cross_entropy_is_that_of_the_masked_tokens_under_each_condition():
    model = tiny_model()
    pipeline, two = model.pipeline, CLIPS[:2]
    guesses = {(one.ratio, one.given): one.nats for one in guesses_of(pipeline, two, 0, (0.5, 1.0), n_masks=3)}
    assert {given for _, given in guesses} == {"nothing", "sound", "caption", "another caption"}
    start = (len(two[0].wave) - pipeline.window_samples) // 2  # the middle of what is too long for the window
    wave = two[0].wave[start : start + pipeline.window_samples]
    tokens = pipeline.encode(torch.from_numpy(wave[None])).transpose(1, 2).flatten(1)
    for given, condition in {
        "nothing": None,
        "caption": pipeline.condition([two[0].caption]),
        "another caption": pipeline.condition([two[1].caption]),
    }.items():
        logits = pipeline.transformer.logits(tokens, torch.ones_like(tokens, dtype=torch.bool), condition)
        wanted = torch.nn.functional.cross_entropy(logits[0], tokens[0])
        assert guesses[1.0, given] == pytest.approx(float(wanted), abs=1e-4)
    report = evaluate_conditioning(model, two, ConditioningSettings(mask_ratios=(1.0,), statistics=QUICK))
    assert report.value("noises", "nothing", "cross_entropy", "ratio 1") > 0
    assert (
        report.to_json()
        == evaluate_conditioning(model, two, ConditioningSettings(mask_ratios=(1.0,), statistics=QUICK)).to_json()
    )


def test_the_masks_do_not_depend_on_what_is_told_nor_on_the_batch():
    one, other = (
        [guess.nats for guess in guesses_of(tiny_model(batch_size=size).pipeline, CLIPS[:2], 1, (0.3, 0.7), 2)]
        for size in (1, 8)
    )
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_progress_ends_at_its_total():
    seen = []
    settings = ConditioningSettings(mask_ratios=(1.0,), statistics=QUICK)
    evaluate_conditioning(tiny_model(), CLIPS[:3], settings, (), lambda *step: seen.append(step))
    assert seen[-1] == (6, 6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LabelSet("one", ("hum",)), "a label set must have at least 2 different labels"),
        (lambda: LabelSet("x", tuple(CLASSES), ("a sound",)), "the texts of a label set must hold {}"),
        (lambda: ConditioningSettings(mask_ratios=(0.0,)), r"mask_ratios must lie in \(0, 1\]"),
        (lambda: ConditioningSettings(n_masks=0), "n_masks must be at least 1, got 0"),
        (lambda: ConditioningSettings(min_class=0), "min_class must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_a_model_that_reads_nothing_is_refused_unless_an_embedder_does():
    model = tiny_model(conditioner=False)
    with pytest.raises(ParameterError, match="the model tiny has no text-audio encoder: give an embedder"):
        evaluate_conditioning(model, CLIPS, SETTINGS)
    with pytest.raises(ParameterError, match="the model tiny has no text-audio encoder, and cannot be told"):
        guesses_of(model.pipeline, CLIPS, 0, (1.0,))
    report = evaluate_conditioning(model, CLIPS, ConditioningSettings(statistics=QUICK), [Ear()])
    assert {figure.embedder for figure in report.figures} == {Ear.name}

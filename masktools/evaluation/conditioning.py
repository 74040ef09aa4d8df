"""Conditioning: retrieval and zero-shot accuracy of the text-audio encoder, and cross-entropy given a condition."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from masktools.core.arguments import check_least
from masktools.core.errors import ParameterError
from masktools.core.runtime import threads
from masktools.evaluation.clips import Clip, class_of, common_classes
from masktools.evaluation.common import Meter, check_clips, described, make_report
from masktools.evaluation.embedders import Embedder, Scorer, scorers_of, unit_rows
from masktools.evaluation.report import Report
from masktools.evaluation.scores import Statistics, blind_scores, rank_scores
from masktools.evaluation.sounds import Results, Sound, groups_with, prompts_of
from masktools.evaluation.transformer import check_ratios, guesses_of
from masktools.model import Model
from masktools.pipeline import Progress
from masktools.training.captioned_mels import asserted_tags, tag_words

CHANCE, SOUNDS, TEXTS = "chance", "sound -> text", "text -> sound"
OWN_CAPTION, TRUE_TEXT = "own caption", "true captions"
_MEANS = frozenset({"map", "r1", "r5", "r10", "accuracy"})


@dataclass(frozen=True)
class LabelSet:
    """Labels that exclude each other, between which a text-audio encoder is to decide."""

    name: str
    labels: tuple[str, ...]
    texts: tuple[str, ...] = ("{}", "the sound of {}", "a recording of {}")  # {} is the label in words

    def __post_init__(self) -> None:
        """Check that there is something to decide."""
        if len(set(self.labels)) < 2 or len(set(self.labels)) < len(self.labels):
            raise ParameterError(f"a label set must have at least 2 different labels, got {self.labels}")
        if not self.texts or any("{}" not in text for text in self.texts):
            raise ParameterError(f"the texts of a label set must hold {{}} for the label, got {self.texts}")


@dataclass(frozen=True)
class ConditioningSettings:
    """Settings of the measurement of conditioning."""

    label_sets: tuple[LabelSet, ...] = ()  # where there is none: the rarest label of each clip
    min_class: int = 2  # clips of a label, where the label sets are not given
    mask_ratios: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)  # at which tokens are guessed; none leaves it out
    n_masks: int = 2  # random masks of each clip and ratio
    seed: int = 0
    statistics: Statistics = field(default_factory=Statistics)

    def __post_init__(self) -> None:
        """Check every range."""
        check_ratios(self.mask_ratios)
        check_least(1, min_class=self.min_class, n_masks=self.n_masks)


def evaluate_conditioning(
    model: Model,
    clips: Sequence[Clip],
    settings: ConditioningSettings = ConditioningSettings(),
    embedders: Sequence[Embedder] = (),
    progress: Progress | None = None,
) -> Report:
    """Return how well texts find sounds and sounds texts, and what a condition tells the transformer.

    By the model's own text-audio encoder, and by embedders that read texts: the class of a sound without training for
    it, mean average precision and recall both ways, beside chance. By the transformer: the cross-entropy in nats of
    masked tokens without a condition, given the sound, given its caption, and given the caption of another sound.

    Args:
        model: the model.
        clips: at the model's rate, with captions or labels.
        settings: of the measurement.
        embedders: those that read texts are measured like the model's own encoder.
        progress: called with the pieces of work done and their number.

    Raises:
        ParameterError: no clips, clips at another rate, or a model without a text-audio encoder where no embedder
            reads texts.

    Source: SpecMaskGIT (arXiv:2406.17672), section 3.3, for the condition; CLAP (arXiv:2211.06687), section 4, for
        retrieval and classification.
    """
    check_clips(model, clips)
    scorers = scorers_of(model, embedders)
    if not scorers:
        raise ParameterError(f"the model {model.name} has no text-audio encoder: give an embedder that reads texts")
    n_guesses = len(clips) if settings.mask_ratios and model.pipeline.conditioner is not None else 0
    meter = Meter(progress, len(clips) * len(scorers) + n_guesses)
    sounds = [Sound(clip.name, clip.wave, clip.kind, clip.origin, clip=place) for place, clip in enumerate(clips)]
    results = Results(groups_with(clips), settings.statistics, _MEANS)
    with threads(model.threads):
        for scorer in scorers:
            heard = []
            for clip in clips:
                heard.append(np.asarray(scorer.embed(clip.wave, clip.sample_rate), np.float64).mean(axis=0))
                meter.step()
            vectors = unit_rows(np.stack(heard))
            _retrieve(results, scorer, vectors, clips, sounds)
            for labels in settings.label_sets or _own_labels(clips, settings.min_class):
                _classify(results, scorer, vectors, clips, sounds, labels)
        if n_guesses:
            for place, sound in enumerate(sounds):
                for guess in guesses_of(
                    model.pipeline, clips, place, settings.mask_ratios, settings.n_masks, settings.seed
                ):
                    results.add(sound, guess.given, {"cross_entropy": guess.nats}, case=f"ratio {guess.ratio:g}")
                meter.step()
    about = described("conditioning", model, clips, settings, embedders)
    notes = (
        f"{OWN_CAPTION}: only a clip's own caption is right; {TRUE_TEXT}: every caption whose words are among the "
        "labels of the clip, as far as labels go",
        "cross_entropy: of masked tokens in nats; ln of the number of codes is "
        f"{np.log(model.pipeline.tokenizer.n_codes):.2f}",
    )
    return make_report("Conditioning", about, clips, results.named_rows(), results.all_figures(), notes)


def _own_labels(clips: Sequence[Clip], n_least: int) -> tuple[LabelSet, ...]:
    labels = tuple(sorted(common_classes(clips, n_least)))
    return (LabelSet("rarest labels", labels),) if len(labels) > 1 else ()


def _retrieve(
    results: Results, scorer: Scorer, vectors: np.ndarray, clips: Sequence[Clip], sounds: Sequence[Sound]
) -> None:
    """Add how well captions and sounds find each other, for both ideas of what is right."""
    prompts = prompts_of(clips)
    if not prompts:
        return
    texts = [prompt.text for prompt in prompts]
    similarity = vectors @ unit_rows(scorer.embed_text(texts)).T  # (sounds, texts)
    own = np.zeros(similarity.shape, bool)
    for number, prompt in enumerate(prompts):
        own[list(prompt.clips), number] = True
    true = own | _asserted(clips, [(prompt.text, prompt.clips) for prompt in prompts])
    for case, relevant in ((OWN_CAPTION, own), (TRUE_TEXT, true)):
        having = np.flatnonzero(relevant.any(axis=1)).tolist()
        _add(results, scorer, SOUNDS, case, [sounds[place] for place in having], similarity[having], relevant[having])
        first = [sounds[prompt.clips[0]] for prompt in prompts]
        _add(results, scorer, TEXTS, case, first, similarity.T, relevant.T)


def _asserted(clips: Sequence[Clip], prompts: Sequence[tuple[str, Sequence[int]]]) -> np.ndarray:
    """Return which text is true of which clip by its labels: bool, (clips, texts)."""
    table = np.zeros((len(clips), len(prompts)), bool)
    for number, (text, places) in enumerate(prompts):
        for tags in {asserted_tags(text, clips[place].labels) for place in places}:
            if tags:
                table[:, number] |= [tags <= set(clip.labels) for clip in clips]
    return table


def _add(
    results: Results,
    scorer: Scorer,
    method: str,
    case: str,
    sounds: Sequence[Sound],
    similarity: np.ndarray,
    relevant: np.ndarray,
) -> None:
    """Add the scores of queries, each counted in the group of its sound, and what blind guessing would reach."""
    for name, scores in ((method, rank_scores(similarity, relevant)), (f"{method}, {CHANCE}", blind_scores(relevant))):
        for metric, values in zip(("map", "r1", "r5", "r10"), scores, strict=True):
            for sound, value in zip(sounds, values, strict=True):
                results.add(sound, name, {metric: value}, scorer.name, case)


def _classify(
    results: Results,
    scorer: Scorer,
    vectors: np.ndarray,
    clips: Sequence[Clip],
    sounds: Sequence[Sound],
    labels: LabelSet,
) -> None:
    """Add the share of sounds whose nearest label is theirs; those with none of the labels are passed over.

    Where a sound has several, the rarest of them is its own.
    """
    counts = {label: sum(label in clip.labels for clip in clips) for label in labels.labels}
    own = [class_of(clip.labels, counts) for clip in clips]
    places = [place for place, label in enumerate(own) if label is not None]
    if not places:
        return
    written = [[text.format(tag_words(label)) for text in labels.texts] for label in labels.labels]
    targets = unit_rows(np.stack([unit_rows(scorer.embed_text(texts)).mean(axis=0) for texts in written]))
    nearest = (vectors[places] @ targets.T).argmax(axis=1)
    case = f"{len(labels.labels)} {labels.name}"
    for place, number in zip(places, nearest, strict=True):
        right = float(labels.labels[number] == own[place])
        results.add(sounds[place], "zero-shot", {"accuracy": right}, scorer.name, case)
        results.add(sounds[place], CHANCE, {"accuracy": 1 / len(labels.labels)}, scorer.name, case)

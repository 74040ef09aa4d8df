"""The transformer's predictions of masked tokens, the effect of conditions, and the match of texts and sounds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.core.arguments import check_least
from masktools.core.errors import ParameterError
from masktools.core.gaps import Gap
from masktools.core.runtime import threads
from masktools.core.shapes import flatten
from masktools.evaluation.clips import Clip, Clips, class_of, common_classes
from masktools.evaluation.common import Meter, check_clips, described, make_report
from masktools.evaluation.embedders import Embedder, Scorer, scorers_of, unit_rows
from masktools.evaluation.report import Report, Row
from masktools.evaluation.scores import Statistics, blind_scores, rank_scores
from masktools.evaluation.sounds import Results, Sound, groups_with, prompts_of
from masktools.mel.spectrogram import gap_mask
from masktools.model import Model
from masktools.pipeline import Pipeline, Progress
from masktools.solver import derive_seed
from masktools.training.captioned_mels import asserted_tags, tag_words

SMOOTHING = 0.1
"""Label smoothing of the transformer's training."""

NOTHING, SOUND, CAPTION, OTHER = "nothing", "sound", "caption", "another caption"


class Guess(NamedTuple):
    """One prediction error of a clip."""

    ratio: float  # share of masked tokens
    given: str  # condition: nothing, the sound, its caption, or the caption of another clip
    nats: float  # cross-entropy of the masked tokens


@torch.inference_mode()
def guesses_of(
    pipeline: Pipeline, clips: Sequence[Clip], place: int, ratios: Sequence[float], n_masks: int = 1, seed: int = 0
) -> list[Guess]:
    """Return the cross-entropy in nats of masked tokens of a clip, for each ratio and each condition.

    The masks are the same for all conditions. Of a clip longer than the model's window, the middle is taken.

    Args:
        pipeline: the model, with a text-audio encoder.
        clips: clips at its rate; their captions are the other captions.
        place: index of the clip; without a caption, only the sound is used as condition.
        ratios: shares of tokens that are masked, in (0, 1].
        n_masks: random masks of each clip and ratio.
        seed: random seed of the masks.

    Raises:
        ParameterError: the model has no text-audio encoder.

    Source: MaskGIT (arXiv:2202.04200), section 3.1: the loss on masked tokens, here without label smoothing.
    """
    conditioner = pipeline.conditioner
    if conditioner is None:
        raise ParameterError(f"the model {pipeline.name} has no text-audio encoder, and cannot be told anything")
    clip = clips[place]
    wave = middle_of(pipeline, clip)
    told: dict[str, Tensor | None] = {NOTHING: None, SOUND: conditioner.embed_audio(wave, clip.sample_rate)}
    if clip.caption:
        told[CAPTION] = conditioner.embed_text([clip.caption])
        others = sorted({one.caption for one in clips if one.caption} - {clip.caption})
        if others:
            rng = np.random.default_rng(derive_seed(seed, place))
            told[OTHER] = conditioner.embed_text([others[int(rng.integers(len(others)))]])
    tokens = flatten(pipeline.encode(wave))
    masks = [
        random_masks(tokens.shape[1], ratio, n_masks, derive_seed(seed, place, round(1e6 * ratio))) for ratio in ratios
    ]
    guesses = []
    for given, condition in told.items():
        asked = torch.cat(masks).to(tokens.device)
        many = tokens.expand(len(asked), -1)
        nats = guess_scores(pipeline, many, many, asked, condition).nats
        for ratio, part in zip(ratios, nats.split([len(rows) for rows in masks]), strict=True):
            guesses.append(Guess(ratio, given, float(part.mean())))
    return guesses


def check_ratios(mask_ratios: Sequence[float]) -> None:
    """Raise where shares of masked tokens are invalid.

    Raises:
        ParameterError: one lies outside (0, 1].
    """
    if any(not 0 < ratio <= 1 for ratio in mask_ratios):
        raise ParameterError(f"mask_ratios must lie in (0, 1], got {mask_ratios}")


def middle_of(pipeline: Pipeline, clip: Clip) -> Tensor:
    """Return a clip (1, t), or its middle where it is longer than the model's window."""
    start = max(0, len(clip.wave) - pipeline.window_samples) // 2
    return torch.from_numpy(clip.wave[start : start + pipeline.window_samples].copy())[None]


def random_masks(n_tokens: int, ratio: float, n_masks: int, seed: int) -> Tensor:
    """Return random masks (n_masks, n_tokens) of one ratio, at least one token each; of full masks, one."""
    rng = np.random.default_rng(seed)
    n_masked = max(1, min(n_tokens, int(np.ceil(n_tokens * ratio))))
    rows = 1 if n_masked == n_tokens else n_masks
    ranks = rng.random((rows, n_tokens)).argsort(axis=1).argsort(axis=1)
    return torch.from_numpy(ranks < n_masked)


class GuessScores(NamedTuple):
    """Prediction scores of m masks, each (m,), the mean over a mask's tokens."""

    nats: Tensor  # cross-entropy
    smoothed: Tensor  # cross-entropy with smoothed labels, as in training
    first: Tensor  # share of tokens whose true code is the most likely


@torch.inference_mode()
def guess_scores(
    pipeline: Pipeline, known: Tensor, targets: Tensor, masks: Tensor, condition: Tensor | None = None
) -> GuessScores:
    """Return the prediction scores of the transformer for masked tokens.

    Args:
        pipeline: the model.
        known: flat tokens (m, n) as input, where they are not masked.
        targets: flat tokens (m, n), the true ones.
        masks: (m, n) bool.
        condition: (1, d), the same for all; None for none.
    """
    given = None if condition is None else condition.to(known.device).expand(len(masks), -1)
    found: list[Tensor] = []
    for start in range(0, len(masks), pipeline.batch_size):
        part = slice(start, start + pipeline.batch_size)
        with pipeline.autocast():
            logits = pipeline.transformer.logits(known[part], masks[part], None if given is None else given[part])
        classes, right = logits.float().transpose(1, 2), targets[part]
        each = torch.stack(
            [
                F.cross_entropy(classes, right, reduction="none"),
                F.cross_entropy(classes, right, reduction="none", label_smoothing=SMOOTHING),
                (classes.argmax(dim=1) == right).float(),
            ]
        )
        found.append((each * masks[part]).sum(dim=2) / masks[part].sum(dim=1))
    return GuessScores(*torch.cat(found, dim=1).cpu())


_METHOD = "transformer"
_METRICS = ("smoothed_cross_entropy", "cross_entropy", "first_right")


@dataclass(frozen=True)
class TransformerSettings:
    """Settings of the measurement of a transformer."""

    mask_ratios: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)  # of tokens that are masked at random
    gaps_s: tuple[float, ...] = (0.372, 1.0, 1.858)  # lengths of gaps in the middle, of which all tokens are masked
    n_masks: int = 4  # random masks of each clip and ratio
    seed: int = 0
    statistics: Statistics = field(default_factory=Statistics)

    def __post_init__(self) -> None:
        """Check every range."""
        check_ratios(self.mask_ratios)
        if any(not 0.001 <= gap <= 60 for gap in self.gaps_s):
            raise ParameterError(f"gaps_s must be lengths in [0.001, 60] s, got {self.gaps_s}")
        if not self.mask_ratios and not self.gaps_s:
            raise ParameterError("there must be mask_ratios or gaps_s, got neither")
        check_least(1, n_masks=self.n_masks)


def evaluate_transformer(
    model: Model,
    clips: Sequence[Clip],
    settings: TransformerSettings = TransformerSettings(),
    embedders: Sequence[Embedder] = (),
    progress: Progress | None = None,
) -> Report:
    """Return cross-entropy and accuracy of the prediction of masked tokens.

    Tokens around a gap are computed without its content, as in gap filling; those beside random masks from the
    whole, as in training. Of a clip longer than the model's window, the middle is taken. There is no condition.

    Args:
        model: the model.
        clips: clips at the model's rate; those too short for the longest gap are left out.
        settings: settings of the measurement.
        embedders: not used.
        progress: called with the clips done and their number.

    Raises:
        ParameterError: no clips, none that is long enough, or clips at another rate.

    Source: MaskGIT (arXiv:2202.04200), section 3.1: the loss on masked tokens.
    """
    check_clips(model, clips)
    column_s = model.pipeline.grid.column_s
    wanted_s = max(settings.gaps_s, default=0.0) + 4 * column_s
    clips = Clips.keeping(
        clips,
        "short",
        lambda clip: f"{clip.duration_s:.3g} s of {wanted_s:.3g} s" if clip.duration_s < wanted_s else None,
        f"of {wanted_s:.3g} s",
    )
    meter = Meter(progress, len(clips))
    rows: list[Row] = []
    with threads(model.threads):
        for place, clip in enumerate(clips):
            for case, scores in _cases(model.pipeline, clip, settings, place).items():
                means = (float(values.mean()) for values in (scores.smoothed, scores.nats, scores.first))
                rows += Row.each(clip, _METHOD, dict(zip(_METRICS, means, strict=True)), case)
            meter.step()
    about = described("transformer", model, clips, settings, [])
    notes = (
        f"Cross-entropies are in nats, smoothed ones of labels smoothed by {SMOOTHING:g} as in training; ln of the "
        f"number of codes is {np.log(model.pipeline.tokenizer.n_codes):.2f}",
        "first_right: share of masked tokens of which the right code is the likeliest",
    )
    figures = settings.statistics.summary(rows, _METRICS)
    return make_report("Guessing of masked tokens", about, clips, rows, figures, notes)


class _Masked(NamedTuple):
    """Masks of a clip, the input tokens, and the true tokens: each (m, n)."""

    known: Tensor
    masks: Tensor
    targets: Tensor


@torch.inference_mode()
def _cases(pipeline: Pipeline, clip: Clip, settings: TransformerSettings, place: int) -> dict[str, GuessScores]:
    wave = middle_of(pipeline, clip)
    mel = pipeline.to_mel(wave)
    tokens = flatten(pipeline.tokenise(mel))
    masked: dict[str, _Masked] = {}
    for ratio in settings.mask_ratios:
        seed = derive_seed(settings.seed, place, round(1e6 * ratio))
        masks = random_masks(tokens.shape[1], ratio, settings.n_masks, seed).to(tokens.device)
        many = tokens.expand(len(masks), -1)
        masked[f"ratio {ratio:g}"] = _Masked(many, masks, many)
    for gap_s in settings.gaps_s:
        first_s = (wave.shape[1] / clip.sample_rate - gap_s) / 2
        mask = gap_mask(pipeline.grid, pipeline.grid.n_columns(wave.shape[1]), [Gap(first_s, first_s + gap_s)])
        erased = mask[None].to(mel.device)
        known = flatten(pipeline.tokenise(pipeline.erase(mel, erased)))
        masked[f"gap {1000 * gap_s:.0f} ms"] = _Masked(known, flatten(erased), tokens)
    return {case: guess_scores(pipeline, one.known, one.targets, one.masks) for case, one in masked.items()}


CHANCE, SOUNDS, TEXTS = "chance", "sound -> text", "text -> sound"
OWN_CAPTION, TRUE_TEXT = "own caption", "true captions"
_MEANS = frozenset({"map", "r1", "r5", "r10", "accuracy"})


@dataclass(frozen=True)
class LabelSet:
    """Labels that exclude each other, for zero-shot classification by a text-audio encoder."""

    name: str
    labels: tuple[str, ...]
    texts: tuple[str, ...] = ("{}", "the sound of {}", "a recording of {}")  # {} is the label in words

    def __post_init__(self) -> None:
        """Check that there are at least two labels."""
        if len(set(self.labels)) < 2 or len(set(self.labels)) < len(self.labels):
            raise ParameterError(f"a label set must have at least 2 different labels, got {self.labels}")
        if not self.texts or any("{}" not in text for text in self.texts):
            raise ParameterError(f"the texts of a label set must hold {{}} for the label, got {self.texts}")


@dataclass(frozen=True)
class ConditioningSettings:
    """Settings of the measurement of conditioning."""

    label_sets: tuple[LabelSet, ...] = ()  # default: the rarest label of each clip
    min_class: int = 2  # least clips of a label, if the label sets are not given
    mask_ratios: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)  # for the prediction of tokens; none leaves it out
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
    """Return the retrieval scores of texts and sounds, and the effect of conditions on the transformer.

    By the model's own text-audio encoder, and by embedders of texts: zero-shot classification,
    mean average precision and recall both ways, compared with chance. By the transformer: the cross-entropy in nats of
    masked tokens without a condition, given the sound, given its caption, and given the caption of another sound.

    Args:
        model: the model.
        clips: clips at the model's rate, with captions or labels.
        settings: settings of the measurement.
        embedders: those that embed texts are measured like the model's own encoder.
        progress: called with the pieces of work done and their number.

    Raises:
        ParameterError: no clips, clips at another rate, or a model without a text-audio encoder where no embedder
            embeds texts.

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
    """Add the retrieval scores of captions and sounds, for both definitions of relevance."""
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
    """Return the truth of each text for each clip by its labels: bool, (clips, texts)."""
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
    """Add the scores of queries, each counted in the group of its sound, and those of chance."""
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
    """Add the share of sounds whose nearest label is theirs; those with none of the labels are skipped.

    If a sound has several, the rarest of them counts.
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

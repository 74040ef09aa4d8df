"""Generation: sounds generated from captions, and without, compared with the recordings of the captions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from masktools.core.arguments import check_least
from masktools.core.errors import ParameterError
from masktools.core.runtime import threads
from masktools.evaluation.clips import Clip
from masktools.evaluation.common import Meter, check_clips, chosen_methods, described, make_report
from masktools.evaluation.embedders import Embedder, scorers_of
from masktools.evaluation.generation_scores import (
    COPIES,
    HALVES,
    SetVectors,
    clip_scores,
    label_scores,
    nearness_scores,
    set_scores,
    text_scores,
)
from masktools.evaluation.report import Report
from masktools.evaluation.scores import Statistics
from masktools.evaluation.sounds import Maker, Prompt, Results, Sound, fitted, groups_with, prompts_of, spread
from masktools.metrics import level_db
from masktools.model import Model
from masktools.pipeline import Progress
from masktools.solver import Plan

REAL, CEILING, TRAINING, MODEL, UNPROMPTED = "real", "ceiling", "training", "model", "unconditional"
GENERATION_METHODS = (REAL, CEILING, TRAINING, MODEL, UNPROMPTED)
"""The sets by name: the recordings, the recordings after the model's tokenizer and vocoder, other recordings (possibly
from training), sounds generated from captions, and sounds generated without."""

_MEANS = frozenset({"text_score", "caption_r1", "caption_r5", "clip_r5", "probe_top1", "kl", "silence_share"})
_SILENT_DB, _FRAME = -60.0, 2048


@dataclass(frozen=True)
class GenerationSettings:
    """Settings of the measurement of generation."""

    n_per_prompt: int = 1
    n_candidates: int = 1  # sounds of which the one nearest to the prompt is kept
    n_prompts: int | None = None  # captions, spread over the groups; all of them if None. The values
    # of recordings are then counted for the same captions only; distances between sets are from all recordings
    prompts: tuple[str, ...] = ()  # texts instead of the captions
    n_unconditional: int = 32
    seconds: float | None = None  # length of generated sounds; the model's window if None
    match_lengths: bool = True  # recordings are cropped, or looped, to the length of generated sounds
    n_components: int = 24  # principal components of the real clips' means for fad_clips; 0: all
    n_bins: int = 50  # most bins of the NDB; a fifth of the recordings if they are few
    methods: tuple[str, ...] = ()  # all by default
    seed: int = 0
    solver: Plan | None = None  # the model's own by default
    statistics: Statistics = field(default_factory=Statistics)

    def __post_init__(self) -> None:
        """Check every range."""
        check_least(1, n_per_prompt=self.n_per_prompt, n_candidates=self.n_candidates)
        check_least(1, n_prompts=self.n_prompts, n_unconditional=self.n_unconditional)
        check_least(0, n_components=self.n_components)
        check_least(2, n_bins=self.n_bins)
        if self.seconds is not None and not 0.25 <= self.seconds <= 600:
            raise ParameterError(f"seconds must lie in [0.25, 600], got {self.seconds:g}")
        if any(not text.strip() for text in self.prompts) or len(set(self.prompts)) < len(self.prompts):
            raise ParameterError("prompts must be different texts, none of them empty")
        chosen_methods(self.methods, GENERATION_METHODS)


def evaluate_generation(
    model: Model,
    clips: Sequence[Clip],
    settings: GenerationSettings = GenerationSettings(),
    embedders: Sequence[Embedder] = (),
    progress: Progress | None = None,
    *,
    training: Sequence[Clip] = (),
) -> Report:
    """Return the distance of generated sounds from real recordings, their fit to the captions, and their novelty.

    By embedders: Frechet and kernel distances of the sets, significantly different bins (NDB), the inception
    score, the divergence of classes (KL), and how often a probe, trained on other real recordings, finds the class of
    the caption's clip. By the model's own text-audio encoder, and by embedders of texts: the similarity of
    caption and sound, and the rank of the caption among all. Recordings and chance are measured likewise. Unconditional
    samples are compared with the training recordings, for memorisation.

    Args:
        model: the model.
        clips: clips at the model's rate; their captions are the prompts.
        settings: settings of the measurement.
        embedders: embedders for the distances between sets.
        progress: called with the pieces of work done and their number.
        training: recordings that the model was trained on, or others, but none of ``clips``; the probe is trained on
            them. Without any, the measures that need them are left out.

    Raises:
        ParameterError: no clips, clips at another rate, no caption, or a model without text conditions.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.2, for the distances; AudioGen (arXiv:2209.15352), section 4.2,
        for the divergence of classes; CLAP score as in AudioLDM (arXiv:2301.12503), with the named encoder.
    """
    check_clips(model, clips, bands=False)
    if training:
        check_clips(model, training, bands=False)
    methods = chosen_methods(settings.methods, GENERATION_METHODS)
    scorers = scorers_of(model, embedders)
    prompts = prompts_of(clips, settings.prompts)
    if MODEL in methods and not prompts:
        raise ParameterError("a clip must have a caption, or prompts must be given: none has")
    notes = [
        f"caption_r1, caption_r5: the caption is the nearest, or among the nearest five, of {len(prompts)} different "
        "ones; text_score: cosine of caption and sound"
    ]
    n_pieces = _n_pieces(clips, prompts, training, methods, settings, len(embedders), len(scorers))
    meter = Meter(progress, n_pieces)
    with threads(model.threads):
        maker = Maker(model, settings.seconds, settings.solver, settings.seed, meter, settings.n_candidates)
        sets = _sets(maker, clips, prompts, training, methods, settings)
        results = Results(groups_with(clips), settings.statistics, _MEANS)
        for method in methods:
            for sound in sets.get(method, ()):
                level = level_db(sound.wave, model.sample_rate)
                results.add(sound, method, {"silence_share": _silence_share(sound.wave), "level_db": level})
                if method != REAL and sound.clip is not None:
                    true = level_db(sets[REAL][sound.clip].wave, model.sample_rate)
                    results.add(sound, method, {"level_error_db": level - true})
        wanted = {method: sets[method] for method in methods if method in sets}
        for scorer in scorers if prompts else ():
            text_scores(results, scorer, wanted, [prompt.text for prompt in prompts], model.sample_rate)
            meter.step(sum(map(len, sets.values())))
        everything = [SetVectors.of(embedder, sets, training, model.sample_rate, meter) for embedder in embedders]
        for heard in everything:
            set_scores(results, heard, sets, settings.n_bins, settings.seed)
            clip_scores(results, heard, sets, settings.n_components, settings.seed)
            notes += label_scores(results, heard, sets, clips, training, settings.seed)
        if training and UNPROMPTED in methods:
            notes += nearness_scores(results, maker, sets[UNPROMPTED], clips, training, everything)
    if embedders:
        notes.append(
            f"fad_clips: Frechet distance of the clips' means on {settings.n_components or 'all'} principal components "
            f"of the real ones, {HALVES} for comparison; clip_r5: the clip that the caption is of is among the nearest "
            "five real ones"
        )
    if not training:
        notes.append("No training recordings were given: no probe, and nothing on what was learned by heart")
    reported = [figure for figure in results.all_figures() if figure.method in (*methods, "chance", HALVES, COPIES)]
    about = described("generate", model, clips, settings, embedders) | {
        "captions": len(prompts),
        "training_clips": len(training),
        "seconds_generated": round(maker.n_samples / model.sample_rate, 3),
    }
    rows = [row for row in results.named_rows() if row.method in (*methods, COPIES)]
    return make_report("Generation", about, clips, rows, reported, notes)


def _n_pieces(
    clips: Sequence[Clip],
    prompts: Sequence[Prompt],
    training: Sequence[Clip],
    methods: Sequence[str],
    settings: GenerationSettings,
    n_embedders: int,
    n_scorers: int,
) -> int:
    """Return the number of recordings to make and to embed."""
    n_made = min(settings.n_prompts or len(prompts), len(prompts)) * settings.n_per_prompt if MODEL in methods else 0
    n_free = settings.n_unconditional if UNPROMPTED in methods else 0
    n_ceiling = len(clips) if CEILING in methods else 0
    n_training = min(len(training), len(clips)) if TRAINING in methods else 0
    n_sounds = len(clips) + n_ceiling + n_training + n_made + n_free
    n_heard = n_sounds * (n_scorers * bool(prompts) + n_embedders) + len(training) * n_embedders
    n_near = min(n_free, len(training)) + len(training) if training else 0
    return n_ceiling + n_made + n_free + n_heard + n_near


def _sets(
    maker: Maker,
    clips: Sequence[Clip],
    prompts: Sequence[Prompt],
    training: Sequence[Clip],
    methods: Sequence[str],
    settings: GenerationSettings,
) -> dict[str, list[Sound]]:
    """Return the recordings of each set; the real ones are always included."""
    number_of = {place: number for number, prompt in enumerate(prompts) for place in prompt.clips}
    chosen = _chosen(prompts, clips, settings)

    def sound_of(clip: Clip, *about: Any) -> Sound:
        wave = fitted(clip.wave, maker.n_samples) if settings.match_lengths else clip.wave
        return Sound(clip.name, wave, clip.kind, clip.origin, *about)

    everyone = len(chosen) == len(prompts)
    numbers = [number_of.get(place) for place in range(len(clips))]
    sets = {
        REAL: [
            sound_of(clip, number, place, everyone or number in chosen)
            for place, (clip, number) in enumerate(zip(clips, numbers, strict=True))
        ]
    }
    if CEILING in methods:
        sets[CEILING] = maker.of_recordings(sets[REAL])
    if TRAINING in methods and training:
        others = spread(training, range(len(training)), len(clips), settings.seed)
        sets[TRAINING] = [sound_of(training[place]) for place in others]
    if MODEL in methods:
        sets[MODEL] = maker.of_prompts(prompts, chosen, settings.n_per_prompt, clips)
    if UNPROMPTED in methods:
        sets[UNPROMPTED] = maker.of_nothing(settings.n_unconditional)
    return sets


def _chosen(prompts: Sequence[Prompt], clips: Sequence[Clip], settings: GenerationSettings) -> list[int]:
    """Return the indices of the prompts to use: of captions, equally many from each group."""
    first = [prompt.clips[0] for prompt in prompts if prompt.clips]
    if len(first) < len(prompts):  # texts without a clip have no group
        return list(range(len(prompts)))[: settings.n_prompts]
    used = set(spread(clips, first, settings.n_prompts, settings.seed))
    return [number for number, prompt in enumerate(prompts) if prompt.clips[0] in used]


def _silence_share(wave: np.ndarray) -> float:
    """Return the share of frames below -60 dB of full scale."""
    starts = range(0, max(1, len(wave) - _FRAME + 1), _FRAME // 2)
    limit = 10 ** (_SILENT_DB / 10)
    return float(np.mean([2 * np.mean(np.square(wave[s : s + _FRAME], dtype=np.float64)) < limit for s in starts]))

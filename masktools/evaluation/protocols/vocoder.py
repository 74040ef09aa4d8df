"""The vocoder on true mel spectrograms, beside Griffin-Lim, which needs no training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil

import torch
from torch import Tensor

from masktools.errors import ParameterError
from masktools.evaluation.clips import Clip
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.protocols.common import Meter, batches, check_clips, described, make_report, stacked
from masktools.evaluation.report import Report, Row
from masktools.evaluation.scores import SetScores, Statistics
from masktools.metrics import lsd_db, stft_distance
from masktools.model import Model
from masktools.pipeline import Progress
from masktools.runtime import threads
from masktools.vocoder import GriffinLim, GriffinLimConfig

__all__ = ["VocoderSettings", "evaluate_vocoder"]

_NOTES = (
    "stft_distance is over several resolutions of the spectrum; mel_l1 is of the mel spectrogram of what was rendered, "
    "which spans [-1, 1]",
)


@dataclass(frozen=True)
class VocoderSettings:
    """Settings of the measurement of a vocoder."""

    griffin_lim: tuple[int, ...] = (32, 64)  # iterations of each baseline
    statistics: Statistics = field(default_factory=Statistics)

    def __post_init__(self) -> None:
        """Check every range."""
        if any(n < 1 for n in self.griffin_lim) or len(set(self.griffin_lim)) < len(self.griffin_lim):
            raise ParameterError(f"griffin_lim must be different numbers of at least 1, got {self.griffin_lim}")


def evaluate_vocoder(
    model: Model,
    clips: Sequence[Clip],
    settings: VocoderSettings = VocoderSettings(),
    embedders: Sequence[Embedder] = (),
    progress: Progress | None = None,
) -> Report:
    """Return how close vocoders come to a recording whose mel spectrogram they are given.

    Args:
        model: whose vocoder.
        clips: at the model's rate.
        settings: of the measurement.
        embedders: what the distances between sets are computed with.
        progress: called with the clips and methods done and their number.

    Raises:
        ParameterError: no clips, or clips at another rate.
    """
    check_clips(model, clips)
    pipeline = model.pipeline
    methods: dict[str, Callable[[Tensor], Tensor]] = {"vocoder": pipeline.render}
    for n_iterations in settings.griffin_lim:
        baseline = GriffinLim(GriffinLimConfig(n_iterations=n_iterations), pipeline.mel).to(pipeline.device)
        methods[f"griffin_lim_{n_iterations}"] = baseline.eval()
    meter = Meter(progress, len(clips) * len(methods))
    rows: list[Row] = []
    scores = SetScores(embedders, settings.statistics)
    span_db = pipeline.mel.db_max - pipeline.mel.db_min
    with threads(model.threads), torch.inference_mode():
        for places in batches(clips, pipeline.batch_size):
            waves = stacked(clips, places)
            n_samples, n_frames = waves.shape[1], ceil(waves.shape[1] / pipeline.mel.hop_length)
            mel = pipeline.to_mel(torch.from_numpy(waves))
            whole = pipeline.to_mel(torch.from_numpy(waves), pipeline.lowest_rendered)
            for place in places:
                scores.add(place, clips[place], SetScores.ORIGINAL, clips[place].wave)
            for method, render in methods.items():
                rendered = render(whole if method == "vocoder" else mel)[:, :n_samples]
                errors = (pipeline.to_mel(rendered) - mel)[..., :n_frames].abs().mean(dim=(1, 2))
                for place, wave, l1 in zip(places, rendered.cpu().numpy(), errors.tolist(), strict=True):
                    clip, rate = clips[place], clips[place].sample_rate
                    rows += [
                        Row.of(clip, method, "stft_distance", stft_distance(clip.wave, wave).total),
                        Row.of(clip, method, "mel_l1", l1),
                        Row.of(clip, method, "mel_l1_db", l1 * span_db / 2),
                        Row.of(clip, method, "lsd_db", lsd_db(clip.wave, wave, rate)),
                    ]
                    scores.add(place, clip, method, wave)
                meter.step(len(places))
    figures = (*settings.statistics.summary(rows), *scores.figures())
    about = described("vocoder", model, clips, settings, embedders)
    return make_report("Vocoders on true mel spectrograms", about, clips, rows, figures, (*_NOTES, *scores.notes))

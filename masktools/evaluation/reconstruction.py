"""Reconstruction by tokenizer and vocoder, and by the vocoder alone, compared with Griffin-Lim."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil

import torch
from torch import Tensor

from masktools.core.errors import ParameterError
from masktools.core.runtime import threads
from masktools.evaluation.clips import Clip
from masktools.evaluation.common import Meter, batches, check_clips, described, make_report, stacked
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.report import Figure, Report, Row, groups_of
from masktools.evaluation.scores import SetScores, Statistics
from masktools.metrics import lsd_db, stft_distance
from masktools.model import Model
from masktools.networks.tokenizer.local import codebook_usage
from masktools.networks.vocoder import GriffinLim, GriffinLimConfig
from masktools.pipeline import Progress

VOCODER, TOKENIZER = "vocoder on true mel", "tokenizer + vocoder"
_TOKENIZER_NOTES = (
    "mel_l1 is in the tokenizer's unit, where the mel spectrogram spans [-1, 1]; roughness is the mean slope of the "
    "reconstruction over the original's, 1 where nothing is blurred",
)


@dataclass(frozen=True)
class TokenizerSettings:
    """Settings of the measurement of a tokenizer."""

    statistics: Statistics = field(default_factory=Statistics)


def evaluate_tokenizer(
    model: Model,
    clips: Sequence[Clip],
    settings: TokenizerSettings = TokenizerSettings(),
    embedders: Sequence[Embedder] = (),
    progress: Progress | None = None,
) -> Report:
    """Return the reconstruction quality of tokens: error of the mel spectrogram, codes in use, and audio measures.

    Args:
        model: model with the tokenizer and vocoder.
        clips: clips at the model's rate.
        settings: settings of the measurement.
        embedders: embedders for the distances between sets.
        progress: called with the clips done and their number.

    Raises:
        ParameterError: no clips, or clips at another rate.

    Source: SpecMaskGIT (arXiv:2406.17672), table 3.
    """
    check_clips(model, clips)
    pipeline, meter = model.pipeline, Meter(progress, len(clips))
    rows: list[Row] = []
    scores = SetScores(embedders, settings.statistics)
    codes: dict[int, Tensor] = {}
    span_db = pipeline.mel.db_max - pipeline.mel.db_min
    with threads(model.threads):
        for places in batches(clips):
            waves = stacked(clips, places)
            n_samples, n_frames = waves.shape[1], ceil(waves.shape[1] / pipeline.mel.hop_length)
            mel = pipeline.to_mel(torch.from_numpy(waves))
            whole = pipeline.to_mel(torch.from_numpy(waves), pipeline.lowest_rendered)
            tokens = pipeline.tokenise(mel)
            again = pipeline.to_mel_from(tokens)
            rendered = {
                VOCODER: pipeline.render(whole)[:, :n_samples].cpu().numpy(),
                TOKENIZER: pipeline.render(again)[:, :n_samples].cpu().numpy(),
            }
            for number, place in enumerate(places):
                clip = clips[place]
                true, found = (spectrogram[number, :, :n_frames] for spectrogram in (mel, again))
                l1 = float((found - true).abs().mean())
                rows += [
                    Row.of(clip, TOKENIZER, "mel_l1", l1),
                    Row.of(clip, TOKENIZER, "mel_l1_db", l1 * span_db / 2),
                    Row.of(clip, TOKENIZER, "roughness", _roughness(true, found)),
                ]
                codes[place] = tokens[number].cpu()
                scores.add(place, clip, SetScores.ORIGINAL, clip.wave)
                for method, waves_of in rendered.items():
                    wave = waves_of[number]
                    rows.append(Row.of(clip, method, "lsd_db", lsd_db(clip.wave, wave, clip.sample_rate)))
                    scores.add(place, clip, method, wave)
                meter.step()
    figures = (
        *settings.statistics.summary(rows),
        *_code_figures(clips, codes, pipeline.tokenizer.n_codes),
        *scores.figures(),
    )
    about = described("tokenizer", model, clips, settings, embedders)
    return make_report(
        "Reconstruction by tokenizer and vocoder", about, clips, rows, figures, (*_TOKENIZER_NOTES, *scores.notes)
    )


def _roughness(true: Tensor, found: Tensor) -> float:
    """Return the mean slope of a mel spectrogram (f, m) over that of the true one, in time and frequency."""
    slopes = [sum(float(mel.diff(dim=dim).abs().mean()) for dim in (0, 1)) for mel in (found, true)]
    return slopes[0] / slopes[1] if slopes[1] > 0 else float("nan")


def _code_figures(clips: Sequence[Clip], tokens: dict[int, Tensor], n_codes: int) -> list[Figure]:
    """Return the number of codes in each group of clips, and the perplexity."""
    figures = []
    for group, places in groups_of([(clip.kind, clip.origin) for clip in clips]).items():
        of_group = torch.cat([tokens[place].flatten() for place in places])
        usage = codebook_usage(of_group, n_codes)
        found = {"tokens": float(len(of_group)), "codes_used": float(usage.n_used), "perplexity": usage.perplexity}
        figures += [
            Figure(group, TOKENIZER, metric, value, None, None, len(places), statistic="set")
            for metric, value in found.items()
        ]
    return figures


_VOCODER_NOTES = (
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
    """Return the distances of vocoders' outputs from recordings, given their mel spectrograms.

    Args:
        model: model with the vocoder.
        clips: clips at the model's rate.
        settings: settings of the measurement.
        embedders: embedders for the distances between sets.
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
    return make_report(
        "Vocoders on true mel spectrograms", about, clips, rows, figures, (*_VOCODER_NOTES, *scores.notes)
    )

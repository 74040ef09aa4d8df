"""Accuracy of a precision against fp32: tokens under the same seeds, and the audio decoded from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from statistics import mean, stdev

import numpy as np
import torch
from torch import Tensor

from masktools.benchmark.measurements import Measurement, Value
from masktools.benchmark.models import random_condition
from masktools.benchmark.roofline import precision_name
from masktools.core.arguments import settle
from masktools.core.configs import ranged
from masktools.core.errors import ParameterError
from masktools.core.shapes import Condition, Mask, Mel, Tokens, flatten
from masktools.pipeline import Pipeline, Progress, watched
from masktools.solver import SolverConfig, derive_seed, item_seeds
from masktools.solver.choice import sample

_RATIOS = (0.25, 0.5, 0.75, 1.0)  # shares of masked tokens in single predictions


@dataclass(frozen=True)
class AccuracySettings:
    """Settings of the comparison with fp32."""

    precisions: tuple[str, ...] = ("bf16", "int8")
    n_seeds: int = ranged(2, "[1, inf]")  # seeds for each clip
    generate: SolverConfig = field(default_factory=SolverConfig)  # solver for generation
    inpaint: SolverConfig = field(default_factory=SolverConfig)  # solver for gap filling
    gap_cols: int = ranged(10, "[1, inf]")  # length of the gap in the middle of a clip
    seed: int = 0

    __post_init__ = settle


def measure_accuracy(
    load: Callable[[str], Pipeline],
    clips: Sequence[np.ndarray],
    settings: AccuracySettings,
    progress: Progress | None = None,
) -> tuple[Measurement, ...]:
    """Return the deviation of each precision from fp32 in predictions, generation and inpainting.

    ``predict`` is one prediction of tokens of the clips under random masks. ``generate`` and ``inpaint`` are whole
    decodings: a single token that is drawn differently changes those after it, so that the distance to compare with is
    that between two seeds of fp32, given beside it. ``inpaint`` also has the difference of the distances of its
    fills and those of fp32 from the recording, with the standard error over the clips.

    Args:
        load: function from a precision to the model.
        clips: (t,) at the model's rate; longer ones are cropped to its window, shorter ones padded with silence.
        settings: seeds, solvers and gap of the comparison.
        progress: called with (precisions done, precisions in total).

    Raises:
        ParameterError: no clips.
    """
    if not clips:
        raise ParameterError("accuracy must be measured with at least one clip, got none")
    base = load("fp32")
    waves = torch.from_numpy(np.stack([_fitted(clip, base.window_samples) for clip in clips]))
    exact = _Decodings(base, waves, settings)
    others = exact.with_seed(settings.seed + 1)
    found: list[Measurement] = []
    wanted = [name for name in dict.fromkeys(settings.precisions) if name != "fp32"]
    for name in watched(wanted, progress):
        pipeline = load(name)
        case: dict[str, Value] = {"precision": precision_name(pipeline), "asked_precision": name, "clips": len(clips)}
        ours = _Decodings(pipeline, waves, settings)
        found.append(Measurement("accuracy", "predict", case, _predicted(ours, exact)))
        for job in ("generate", "inpaint"):
            figures = _compared(job, ours, exact, others)
            found.append(Measurement("accuracy", job, {**case, "seeds": settings.n_seeds}, figures))
    return tuple(found)


def _fitted(clip: np.ndarray, n_samples: int) -> np.ndarray:
    cut = np.asarray(clip, np.float32)[:n_samples]
    return np.pad(cut, (0, n_samples - len(cut)))


def _same(ours: Tensor, theirs: Tensor) -> float:
    return float((ours == theirs).float().mean())


def _predicted(ours: "_Decodings", exact: "_Decodings") -> dict[str, float]:
    """Return the agreement of single predictions at masked positions.

    By the chain rule the divergence of whole decodings is that of one draw times the number of tokens drawn; the root
    of
    half of it bounds the advantage over chance in telling which of the two made a result (Pinsker's inequality).
    """
    found = []
    for mask in exact.random_masks():
        mine, theirs = ours.log_probs(mask), exact.log_probs(mask)
        luck = torch.rand(len(mine), generator=torch.Generator().manual_seed(exact.settings.seed), dtype=torch.float64)
        found.append(
            (
                _same(mine.argmax(dim=-1), theirs.argmax(dim=-1)),
                _same(sample(mine, luck), sample(theirs, luck)),
                max(0.0, float((theirs.exp() * (theirs - mine)).sum(dim=-1).mean())),
            )
        )
    agreement, draws, divergence = (mean(values) for values in zip(*found, strict=True))
    return {"choice_agreement": agreement, "draw_agreement": draws, "divergence_nats": divergence}


def _compared(job: str, ours: "_Decodings", exact: "_Decodings", others: "_Decodings") -> dict[str, float]:
    mask = exact.mask_of(job)
    tokens, wanted, other = ours.tokens(job), exact.tokens(job), others.tokens(job)
    made, mine = exact.sound(wanted), ours.sound(tokens)
    figures = {
        "token_agreement": _same(tokens[mask], wanted[mask]),
        "mel_db": exact.distance(mine, made, mask),
        "decoded_mel_db": exact.distance(ours.sound(wanted), made, mask),
        "other_seed_agreement": _same(other[mask], wanted[mask]),
        "other_seed_mel_db": exact.distance(exact.sound(other), made, mask),
    }
    return figures if job == "generate" else figures | _further(exact, mine, made, mask)


def _further(exact: "_Decodings", mine: Mel, made: Mel, mask: Mask) -> dict[str, float]:
    """Return the distance of a fill from the recording, and by how much it exceeds that of fp32's fill."""
    truth = exact.recordings()
    n_seeds = exact.n_seeds
    distances = []
    for start in range(0, len(truth), n_seeds):
        one = slice(start, start + n_seeds)
        distances.append([exact.distance(sound[one], truth[one], mask[one]) for sound in (mine, made)])
    further = [own - theirs for own, theirs in distances]
    error = stdev(further) / sqrt(len(further)) if len(further) > 1 else 0.0
    return {
        "recording_mel_db": mean(own for own, _ in distances),
        "further_db": mean(further),
        "further_error_db": error,
    }


class _Decodings:
    """Decodings of the clips by one model, each computed once."""

    def __init__(self, pipeline: Pipeline, waves: Tensor, settings: AccuracySettings) -> None:
        self.pipeline, self.settings, self.waves = pipeline, settings, waves
        self.n_clips, self.n_seeds = len(waves), settings.n_seeds
        self.known = self._repeated(pipeline.tokenise(self._mel(waves)))
        self._kept: dict[str, Tokens] = {}

    def with_seed(self, seed: int) -> "_Decodings":
        """Return the same with another seed."""
        return _Decodings(self.pipeline, self.waves, replace(self.settings, seed=seed))

    def _mel(self, waves: Tensor) -> Mel:
        return self.pipeline.to_mel(waves)[..., : self.pipeline.window_cols * self.pipeline.grid.patch_frames]

    def _repeated(self, clips: Tensor) -> Tensor:
        return clips.repeat_interleave(self.n_seeds, dim=0)

    def mask_of(self, job: str) -> Mask:
        """Return the mask of a job, on the CPU."""
        mask = torch.ones(self.known.shape, dtype=torch.bool)
        if job == "inpaint":
            n_cols = mask.shape[-1]
            width = min(self.settings.gap_cols, n_cols // 2)
            start = (n_cols - width) // 2
            mask[:] = False
            mask[..., start : start + width] = True
        return mask

    def tokens(self, job: str) -> Tokens:
        """Return the decoded tokens, on the CPU."""
        if job not in self._kept:
            pipeline, settings = self.pipeline, self.settings
            seeds = item_seeds(settings.seed, self.n_clips * self.n_seeds)
            mask = self.mask_of(job)
            known = self.known
            if job == "inpaint":
                erased = pipeline.erase(self._mel(self.waves), mask[:: self.n_seeds])
                known = self._repeated(pipeline.tokenise(erased))
            condition = self._condition() if job == "generate" else None
            solver = settings.inpaint if job == "inpaint" else settings.generate
            self._kept[job] = pipeline.fill(known, mask, seeds, solver, condition).tokens.cpu()
        return self._kept[job]

    def _condition(self) -> Condition:
        pipeline = self.pipeline
        if isinstance(pipeline.conditioner, torch.nn.Module):
            heard = pipeline.conditioner.embed_audio(self.waves.to(pipeline.device), pipeline.sample_rate)
            return self._repeated(heard)
        return self._repeated(random_condition(pipeline, self.n_clips, self.settings.seed)).to(pipeline.device)

    def random_masks(self) -> list[Mask]:
        """Return masks (clips, rows, columns) of several ratios, on the CPU; the same for every precision."""
        shape = (self.n_clips, *self.known.shape[1:])
        generator = torch.Generator().manual_seed(derive_seed(self.settings.seed, 0) % 2**63)
        noise = torch.rand(shape, generator=generator)
        return [noise <= ratio for ratio in _RATIOS]

    @torch.inference_mode()
    def log_probs(self, mask: Mask) -> Tensor:
        """Return the log probabilities (m, k) at the masked positions of the clips, in double precision, on the CPU."""
        known = self.known[:: self.n_seeds]
        predict = self.pipeline.predictor()
        device = self.pipeline.device
        items = torch.arange(self.n_clips, device=device)
        logits = predict(flatten(known), flatten(mask.to(device)), items, False)
        return logits[flatten(mask.to(device))].double().log_softmax(dim=-1).cpu()

    def recordings(self) -> Mel:
        """Return the mel spectrograms of the clips, each repeated for every seed, on the CPU."""
        return self._repeated(self._mel(self.waves).float().cpu())

    def sound(self, tokens: Tokens) -> Mel:
        """Return the mel spectrogram of the audio rendered from tokens, on the CPU."""
        rendered = self.pipeline.decode(tokens.to(self.pipeline.device))
        return self._mel(rendered).float().cpu()

    def distance(self, ours: Mel, theirs: Mel, mask: Mask) -> float:
        """Return the mean absolute difference in dB over the cells of masked tokens."""
        span_db = (self.pipeline.mel.db_max - self.pipeline.mel.db_min) / 2
        cells = self.pipeline.cells(mask)
        return span_db * float((ours - theirs).abs()[cells].mean())

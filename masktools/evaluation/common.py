"""Shared parts of the protocols: batches of clips, progress, settings for the report, and a pipeline of true tokens."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from masktools import __version__
from masktools.core.arguments import checked_name
from masktools.core.configs import to_dict, to_plain
from masktools.core.errors import ParameterError
from masktools.core.shapes import Condition, Mask, Tokens
from masktools.evaluation.clips import Clip, left_out_of
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.report import Figure, Report, Row, groups_of
from masktools.model import Model
from masktools.networks.packing import weights_digest
from masktools.pipeline import Pipeline, Progress, Walk
from masktools.solver import Plan, SolverConfig, SolveResult, derive_seed

BATCH = 16
"""Clips in a batch; fixed, since the random numbers of a clip depend on it."""


class Meter:
    """Counts the finished pieces of a job and reports progress."""

    def __init__(self, progress: Progress | None, n_pieces: int) -> None:
        self.progress, self.n_pieces, self.n_done = progress, max(1, n_pieces), 0

    def step(self, n: int = 1) -> None:
        """Count finished pieces."""
        self.n_done = min(self.n_pieces, self.n_done + n)
        if self.progress is not None:
            self.progress(self.n_done, self.n_pieces)

    def within(self, n: int) -> Progress | None:
        """Return the callback for a task that makes up the next n pieces, to be ended by ``step``."""
        progress, before, total = self.progress, self.n_done, self.n_pieces
        if progress is None:
            return None
        shares = 100  # parts of a piece
        return lambda done, of: progress(before * shares + n * shares * done // max(1, of), total * shares)


def check_some(clips: Sequence[Clip]) -> None:
    """Raise where a list of clips is empty.

    Raises:
        ParameterError: no clips.
    """
    if not clips:
        raise ParameterError("there must be at least one clip to measure, got none")


def check_clips(model: Model, clips: Sequence[Clip], bands: bool = True) -> None:
    """Raise where clips are not at the model's rate: distances at different rates are not comparable.

    Args:
        model: model to measure.
        clips: clips to measure it on.
        bands: whether token rows must be frequency bands.

    Raises:
        ParameterError: no clips, clips at another rate, or a model without bands where they are needed.
    """
    if bands and not model.pipeline.shape.has_bands:
        raise ParameterError(
            f"this protocol measures models whose rows of tokens are bands of frequency, {model.name!r} has token "
            "streams: measure it by the protocol generate"
        )
    check_some(clips)
    for clip in clips:
        if clip.sample_rate != model.sample_rate:
            raise ParameterError(
                f"clips must be at the model's rate of {model.sample_rate} Hz, got {clip.sample_rate} Hz: "
                f"read them with sample_rate={model.sample_rate}"
            )


def chosen_methods(wanted: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the requested methods, in the order in which they are defined; all by default.

    Raises:
        ParameterError: an unknown method.
    """
    for method in wanted:
        checked_name("method", method, known)
    return tuple(method for method in known if not wanted or method in wanted)


def batches(clips: Sequence[Any], size: int = BATCH) -> Iterator[list[int]]:
    """Yield indices of clips, or sounds, in batches of one length, the longest ones first."""
    lengths: dict[int, list[int]] = {}
    for place, clip in enumerate(clips):
        lengths.setdefault(len(clip.wave), []).append(place)
    for length in sorted(lengths, reverse=True):
        places = lengths[length]
        for start in range(0, len(places), size):
            yield places[start : start + size]


def small_seeds(seed: int, n: int) -> list[int]:
    """Return n seeds below 2**32, as numpy's and other generators need, derived from one."""
    return [derive_seed(seed, number) >> 31 for number in range(n)]


def stacked(clips: Sequence[Any], places: Sequence[int]) -> np.ndarray:
    """Return clips, or sounds, of one length stacked, (b, t) float32."""
    return np.stack([clips[place].wave for place in places])


def described(
    protocol: str, model: Model, clips: Sequence[Clip], settings: Any, embedders: Sequence[Embedder]
) -> dict[str, Any]:
    """Return all settings in JSON types.

    Args:
        protocol: name of the protocol.
        model: model that is measured.
        clips: clips that it is measured on.
        settings: settings of the protocol, a dataclass.
        embedders: embedders for the distances between sets.
    """
    pipeline = model.pipeline
    counts = {name: len(places) for name, places in groups_of([(clip.kind, clip.origin) for clip in clips]).items()}
    lengths = sorted(clip.duration_s for clip in clips)
    return {
        "protocol": protocol,
        "masktools": __version__,
        "model": model.name,
        "clips": [f"{name}: {n}" for name, n in counts.items()],
        "clip_seconds": f"{lengths[0]:.4g} to {lengths[-1]:.4g}, {sum(lengths):.4g} in all",
        "embedders": [embedder.name for embedder in embedders],
        "settings": to_dict(settings),
        "weights": part_digests(pipeline),
        "mel": to_dict(pipeline.mel),
        "decoding": {job: to_plain(plan) for job, plan in pipeline.decoding.items()},
        "computer": {
            "device": str(pipeline.device),
            "precision": str(pipeline.precision).removeprefix("torch."),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    }


def part_digests(pipeline: Walk) -> dict[str, str]:
    """Return the beginning of the SHA-256 of each part's weights: equal for equal weights, however they are stored."""
    return {
        name: weights_digest(part.state_dict())[:16] if isinstance(part, nn.Module) else type(part).__name__
        for name, part in pipeline.parts.items()
        if part is not None
    }


def make_report(
    title: str,
    settings: dict[str, Any],
    clips: Sequence[Clip],
    rows: Sequence[Row],
    figures: Sequence[Figure],
    notes: Sequence[str] = (),
) -> Report:
    """Return the report of a protocol, with the recordings that were left out."""
    return Report(title, settings, tuple(figures), tuple(rows), left_out_of(clips), tuple(notes))


class TrueTokens(Pipeline):
    """A pipeline that fills masks with the true tokens: its results are the ceiling of tokenizer and vocoder.

    All the rest, such as levels and seams, is as in the original pipeline.
    """

    def __init__(self, pipeline: Pipeline, answers: Iterable[Tensor] | None = None) -> None:
        """Take over the parts of a pipeline.

        Args:
            pipeline: original pipeline.
            answers: true tokens (b, r, w), one for each call of ``fill``, in order; None if the input of ``fill``
                holds them under the mask.
        """
        super().__init__(
            pipeline.mel,
            **pipeline.parts,
            name=pipeline.name,
            decoding=pipeline.decoding,
            device=pipeline.device,
            precision=pipeline.precision,
            batch_size=pipeline.batch_size,
        )
        self._answers = None if answers is None else iter(answers)

    def fill(
        self,
        tokens: Tokens,
        mask: Mask,
        seeds: Sequence[int],
        solver: Plan = SolverConfig(),
        condition: Condition | None = None,
        overlap_cols: int | None = None,
        progress: Progress | None = None,
    ) -> SolveResult:
        """Return the true tokens."""
        return SolveResult(tokens if self._answers is None else next(self._answers), ())


def clean_tokens(pipeline: Walk, waves: np.ndarray) -> Tensor:
    """Return the tokens (b, r, w) of waves (b, t) at the pipeline's rate."""
    return pipeline.encode(torch.from_numpy(waves))


def decode_masked(
    pipeline: Pipeline,
    waves: np.ndarray,
    mask: Tensor,
    seeds: Sequence[int],
    solver: SolverConfig,
    leak_free: bool,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return waves (b, t) at the pipeline's rate as decoded from tokens, with masked tokens predicted.

    Known audio is not put back, as in the paper.

    Args:
        pipeline: the model.
        waves: (b, t), with the audio under the mask.
        mask: (r, w), True for tokens to be predicted.
        seeds: one seed per wave.
        solver: settings of the decoding.
        leak_free: whether the masked part is erased before tokens are computed; in the paper it is not.
        progress: called after every prediction.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3.
    """
    mel = pipeline.to_mel(torch.from_numpy(waves))
    masks = mask.expand(len(waves), -1, -1).to(mel.device)
    tokens = pipeline.tokenise(pipeline.erase(mel, masks) if leak_free else mel)
    result = pipeline.fill(tokens, masks, seeds, solver, progress=progress)
    return pipeline.decode(result.tokens, waves.shape[1]).cpu().numpy()

"""How far a fast model agrees with the exact one: the same recordings, the same masks, the same seeds.

A single prediction differs by rounding; a decoding draws tokens from many of them, one upon the other, so that a tiny
difference may tip one draw and with it those after it. Both are measured, and beside them what another seed does.

By the chain rule the divergence of whole decodings is that of one draw times the tokens drawn. Its half is the square
of a bound on how much more often than by chance anyone could tell the two models apart from one result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from masktools.errors import ParameterError
from masktools.mel import mel_to_db
from masktools.pipeline.walk import Pipeline
from masktools.shapes import Mask, Tokens, Wave, flatten
from masktools.solver import SolverConfig
from masktools.solver.sampling import sample

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """How far two models agree on masked slots of recordings; distances are means of |dB| over mel cells."""

    n_slots: int  # masked, of all clips
    divergence_nats: float  # Kullback-Leibler, of the fast predictions from the exact ones
    top_share: float  # of slots with the same likeliest code
    draw_share: float  # of slots for which the same random number draws the same token from one prediction
    token_share: float  # of slots with the same token after a whole decoding with the same seeds
    chance_share: float  # the same between two decodings of the exact model with different seeds
    exact_db: float  # from what the exact model filled in to the recording
    fast_db: float  # from what the fast model filled in to the recording
    seed_db: float  # from what the exact model filled in with other seeds to the recording
    decoder_db: float  # between the two mel spectrograms of the same tokens
    wave_db: float  # between the waves of the same mel spectrogram: their difference below the wave, RMS

    @property
    def told_apart(self) -> float:
        """Most by which a guess which model filled in 100 tokens can be better than chance; 0 is not at all, 1 surely.

        Source: Pinsker's inequality.
        """
        return min(1.0, (100.0 * self.divergence_nats / 2.0) ** 0.5)


@torch.inference_mode()
def agreement(
    exact: Pipeline, fast: Pipeline, waves: Wave, seeds: Sequence[int], solver: SolverConfig = SolverConfig()
) -> Agreement:
    """Return how far a model agrees with itself in another precision.

    Half of the slots of each recording are masked, as its seed has it.

    Args:
        exact: the model as it is compared with, in fp32.
        fast: the same model, as it is to be used.
        waves: at the models' rate, a window at most, one length.
        seeds: one for each wave.
        solver: settings of the decoding.

    Raises:
        ParameterError: seeds that are not as many as waves, a wave longer than a window, or models of other grids.
    """
    if exact.grid != fast.grid or exact.tokenizer.n_codes != fast.tokenizer.n_codes:
        raise ParameterError("both models must have the same grid of tokens: compare a model with itself")
    if len(seeds) != len(waves):
        raise ParameterError(f"seeds must be one for each wave, {len(waves)} in all, got {len(seeds)}")
    mel = exact.to_mel(waves)
    tokens = exact.tokenise(mel)
    if tokens.shape[-1] > exact.window_cols:
        raise ParameterError(f"waves must have at most {exact.window_samples} samples, got {waves.shape[-1]}")
    mask = _half(tokens, seeds)
    ours, theirs = (_log_probs(model, tokens, mask) for model in (exact, fast))
    others = [seed + 1 for seed in seeds]
    filled, quick, seeded = (
        model.fill(tokens, mask, own, solver).tokens.to(tokens.device)
        for model, own in ((exact, seeds), (fast, seeds), (exact, others))
    )
    pictures = [exact.to_mel_from(each) for each in (filled, quick, seeded)]
    decoded, wave = fast.to_mel_from(filled).to(mel.device), exact.render(pictures[0])
    error = fast.render(pictures[0].to(fast.device)).to(wave.device) - wave
    cells = exact.cells(mask)
    luck = torch.rand(len(ours), generator=torch.Generator().manual_seed(seeds[0]), dtype=torch.float64).to(ours.device)

    def distance_db(left: Tensor, right: Tensor, where: Tensor) -> float:
        return float((mel_to_db(left, exact.mel) - mel_to_db(right, exact.mel)).abs()[where].mean())

    def same(left: Tensor, right: Tensor) -> float:
        return float((left == right)[mask].double().mean())

    return Agreement(
        n_slots=int(mask.sum()),
        divergence_nats=max(0.0, float((ours.exp() * (ours - theirs)).sum(dim=-1).mean())),
        top_share=float((ours.argmax(dim=-1) == theirs.argmax(dim=-1)).double().mean()),
        draw_share=float((sample(ours, luck) == sample(theirs, luck)).double().mean()),
        token_share=same(filled, quick),
        chance_share=same(filled, seeded),
        exact_db=distance_db(pictures[0], mel, cells),
        fast_db=distance_db(pictures[1], mel, cells),
        seed_db=distance_db(pictures[2], mel, cells),
        decoder_db=distance_db(decoded, pictures[0], torch.ones_like(cells)),
        wave_db=_level_db(error) - _level_db(wave),
    )


def _half(tokens: Tokens, seeds: Sequence[int]) -> Mask:
    """Return half of the slots, drawn for each clip by its seed."""
    shape = tokens.shape[1:]
    ranks = [torch.rand(shape, generator=torch.Generator().manual_seed(seed)).flatten() for seed in seeds]
    masks = [rank.argsort().argsort() < len(rank) // 2 for rank in ranks]
    return torch.stack([mask.view(shape) for mask in masks]).to(tokens.device)


def _log_probs(model: Pipeline, tokens: Tokens, mask: Mask) -> Tensor:
    """Return the log probabilities of the masked slots, (m, k), in double precision."""
    slots, flat = flatten(mask).to(model.device), flatten(tokens).to(model.device)
    items = torch.arange(len(flat), device=model.device)
    logits = model.predictor()(flat.masked_fill(slots, 0), slots, items, False)
    return logits[slots].double().log_softmax(dim=-1).to(tokens.device)


def _level_db(wave: Tensor) -> float:
    return 10.0 * float(wave.double().square().mean().clamp_min(1e-20).log10())

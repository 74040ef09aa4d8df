"""What is measured of the masked transformer while it trains: fixed masks, by ratio, of gaps and of top rows."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from masktools.shapes import flatten
from masktools.training.data import Batch
from masktools.training.draws import ClipDraws, Purpose
from masktools.training.losses import masked_cross_entropy
from masktools.training.masking import gap_masks, random_masks, row_masks
from masktools.training.part import PartTraining

__all__ = ["Scores", "TransformerValidation"]

_RATIOS = (("25", 0.25), ("50", 0.5), ("75", 0.75), ("full", 1.0))
_SEED = 1  # of the masks of validation, the same in every run
_BATCH_STRIDE = 1 << 20  # more than clips in a batch


class Scores(NamedTuple):
    """How well the masked tokens of a batch are predicted."""

    loss: Tensor  # cross-entropy, the mean over masked tokens
    accuracy: Tensor  # share of them that is predicted right
    n_masked: int


class TransformerValidation(PartTraining):
    """Cross-entropy and accuracy on fixed masks of validation clips, and how much a condition helps.

    Every figure is the mean over masked tokens, not over batches. ``valid_25`` to ``valid_full`` are cross-entropies
    without condition at that share of masked tokens, ``valid_accuracy_25`` and so on the shares that are predicted
    right; ``valid_condition_gain`` is what the condition takes off the cross-entropy where everything is masked.
    ``valid_codes_used`` and ``valid_codes_perplexity`` are of the clips' own tokens: what there is to learn.
    """

    net: Any
    clip_tokens: Any
    given_tokens: Any

    def scores(
        self, given: Tensor, tokens: Tensor, masks: Tensor, condition: Tensor | None, use: Tensor | None
    ) -> Scores:
        """Return how well the masked ones of some tokens (b, r, w) are predicted from those that are given."""
        wanted, mask = flatten(tokens), flatten(masks)
        logits = self.net(flatten(given), mask, condition, use)
        loss = masked_cross_entropy(logits, wanted, mask, self.hparams["label_smoothing"])
        right = logits.detach()[mask].argmax(1) == wanted[mask]
        return Scores(loss, right.float().mean(), len(right))

    def on_validation_epoch_start(self) -> None:
        """Start counting codes."""
        self._code_counts = torch.zeros(self.net.config.n_codes, dtype=torch.float64)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the figures of a batch."""
        tokens = self.clip_tokens(batch)
        n_clips, n_rows, n_cols = tokens.shape
        self._code_counts += torch.bincount(tokens.flatten(), minlength=len(self._code_counts)).cpu()
        index = batch.get("index")
        draws = ClipDraws(_SEED, range(batch_idx * _BATCH_STRIDE, batch_idx * _BATCH_STRIDE + n_clips))
        if index is not None:
            draws = ClipDraws(_SEED, index)
        full = torch.zeros(())
        for name, ratio in _RATIOS:
            noise = draws.uniform(Purpose.SLOTS, n_rows * n_cols)
            flat = random_masks(torch.full((n_clips,), ratio, dtype=torch.float64), noise)
            masks = flat.unflatten(1, (n_cols, n_rows)).transpose(1, 2)
            full = self._measure(name, batch, tokens, masks, bar=name != "75")
        if "condition" in batch:
            conditioned = self._measure("full_conditioned", batch, tokens, torch.ones_like(tokens) > 0, use=True)
            self._log("valid_condition_gain", full - conditioned, tokens.numel(), bar=False)
        gaps = gap_masks(draws.uniform(Purpose.GAP, 2), n_rows, n_cols)
        self._measure("gap", batch, tokens, gaps, erase=True)
        if n_rows > 1:
            self._measure("rows", batch, tokens, row_masks(draws.uniform(Purpose.ROWS), n_rows, n_cols), erase=True)

    def _measure(
        self,
        name: str,
        batch: Batch,
        tokens: Tensor,
        masks: Tensor,
        use: bool = False,
        erase: bool = False,
        bar: bool = True,
    ) -> Tensor:
        """Log cross-entropy and accuracy at some masks, and return the former."""
        masks = masks.to(tokens.device)
        erased = torch.full((len(tokens),), erase, device=tokens.device)
        condition = batch["condition"].float() if use else None
        scores = self.scores(self.given_tokens(batch, tokens, masks, erased), tokens, masks, condition, None)
        self._log(f"valid_{name}", scores.loss, scores.n_masked, bar)
        self._log(f"valid_accuracy_{name}", scores.accuracy, scores.n_masked, bar=False)
        return scores.loss

    def _log(self, name: str, value: Tensor, n_tokens: int, bar: bool) -> None:
        self.log(name, value, prog_bar=bar, batch_size=n_tokens, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Log how many codes the clips use, and how evenly."""
        counts = self.trainer.strategy.reduce(self._code_counts.to(self.device), reduce_op="sum")
        share = counts / counts.sum().clamp_min(1)
        perplexity = torch.special.entr(share).sum().exp()
        self.log_dict(
            {"valid_codes_used": (counts > 0).sum().float(), "valid_codes_perplexity": perplexity.float()},
            sync_dist=True,
        )

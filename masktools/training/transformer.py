"""Training of the masked transformer, and its validation: fixed masks, by ratio, of gaps and of top rows.

Random masks follow the paper. Gaps in time and missing top rows, where a recipe asks for them, are trained under
the conditions of use if clips come as mel spectrograms: their cells are erased before the clip is tokenised,
so that the known tokens are those of damaged audio, while the targets are those of the clean clip.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from masktools.core.configs import from_dict
from masktools.core.errors import MasktoolsError, ParameterError
from masktools.core.shapes import flatten
from masktools.mel import MelConfig
from masktools.networks.conditioning import Conditioner
from masktools.networks.tokenizer import LocalTokenizer, SpecVqgan, token_fingerprint
from masktools.networks.transformer import MaskedTransformer, TransformerConfig
from masktools.networks.transformer.model import deepened, embeddings_from_codes
from masktools.pipeline.bundles import stored_part
from masktools.training.checkpoints import load_conditioner, load_tokenizer, network_state
from masktools.training.losses import masked_cross_entropy
from masktools.training.masking import (
    ClipDraws,
    MaskingConfig,
    Purpose,
    draw_masks,
    gap_masks,
    random_masks,
    ratios,
    row_masks,
    step_draws,
)
from masktools.training.part import PartTraining, decaying_matrices
from masktools.training.streams import Batch

_RATIOS = (("25", 0.25), ("50", 0.5), ("75", 0.75), ("full", 1.0))
_SEED = 1  # of the masks of validation, the same in every run
_BATCH_STRIDE = 1 << 20  # more than the clips in a batch


class Scores(NamedTuple):
    """Loss and accuracy on the masked tokens of a batch."""

    loss: Tensor  # mean cross-entropy over masked tokens
    accuracy: Tensor  # share of them that is predicted correctly
    n_masked: int


class TransformerValidation(PartTraining):
    """Validation by cross-entropy and accuracy on fixed masks of validation clips, and by the effect of conditions.

    Every figure is the mean over masked tokens, not over batches. ``valid_25`` to ``valid_full`` are cross-entropies
    without condition at that share of masked tokens, ``valid_accuracy_25`` and so on the accuracies;
    ``valid_condition_gain`` is the reduction of the cross-entropy by the condition with all tokens masked.
    ``valid_codes_used`` and ``valid_codes_perplexity`` are of the clips' own tokens.
    """

    net: Any
    clip_tokens: Any
    given_tokens: Any

    def scores(
        self, given: Tensor, tokens: Tensor, masks: Tensor, condition: Tensor | None, use: Tensor | None
    ) -> Scores:
        """Return the scores of the masked ones of some tokens (b, r, w), predicted from the given ones."""
        wanted, mask = flatten(tokens), flatten(masks)
        logits = self.net(flatten(given), mask, condition, use)
        loss = masked_cross_entropy(logits, wanted, mask, self.hparams["label_smoothing"])
        right = logits.detach()[mask].argmax(1) == wanted[mask]
        return Scores(loss, right.float().mean(), len(right))

    def on_validation_epoch_start(self) -> None:
        """Reset the count of codes."""
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
        """Log cross-entropy and accuracy for some masks, and return the former."""
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
        """Log the number of codes in use, and their perplexity."""
        counts = self.trainer.strategy.reduce(self._code_counts.to(self.device), reduce_op="sum")
        share = counts / counts.sum().clamp_min(1)
        perplexity = torch.special.entr(share).sum().exp()
        self.log_dict(
            {"valid_codes_used": (counts > 0).sum().float(), "valid_codes_perplexity": perplexity.float()},
            sync_dist=True,
        )


_SILENCE = -1.0
_CHECKED_EVERY = 50  # steps: reading the loss waits for the device


class TransformerTraining(TransformerValidation):
    """Training with the cross-entropy of masked tokens, condition dropped for some clips; AdamW, warm-up and cosine.

    Batches hold ``tokens`` (b, r, w), or ``mel`` (b, f, m) that the frozen tokenizer turns into tokens; optionally
    ``condition`` (b, d); ``caption`` if a share of conditions comes from texts; ``full_band``
    (b,) if top rows are masked; and ``index`` (b,), the number of each clip among all of the run, which
    determines its masks. Without it, the ranks are assumed to divide the clips of a step in turn.

    The loss of a step is the mean over all masked tokens of all its batches on all ranks. With a ``base``, the
    transformer of that bundle is trained further, with its tokenizer and its conditioner. A ``start_checkpoint``, also
    a bundle, may have fewer blocks: see ``deepened``.

    Source: SpecMaskGIT (arXiv:2406.17672), sections 3.2 and 4.1; MAGE (arXiv:2211.09117) for the optimiser.
    """

    part, kind = "transformer", "masked"
    net: MaskedTransformer

    def __init__(
        self,
        tokenizer_checkpoint: str | None = None,
        conditioner: str | None = None,
        transformer: TransformerConfig = TransformerConfig(),
        mel: MelConfig = MelConfig(),
        masking: MaskingConfig = MaskingConfig(),
        n_steps: int = 500_000,
        n_warmup: int = 16_000,
        learning_rate: float = 4.375e-4,
        weight_decay: float = 0.05,
        label_smoothing: float = 0.1,
        condition_drop: float = 0.1,
        text_share: float = 0.0,
        short_share: float = 0.0,
        start_checkpoint: str | None = None,
        start_from_codes: bool = False,
        seed: int = 0,
        compile: bool = False,
        base: str | None = None,
    ) -> None:
        if base is not None:  # a bundle to train further
            told, _ = stored_part(base, self.part)
            transformer, mel = from_dict(TransformerConfig, told["config"]), from_dict(MelConfig, told["mel"])
            tokenizer_checkpoint, conditioner, start_checkpoint = base, base, base
        super().__init__(mel)
        self.save_hyperparameters(ignore=["transformer", "mel", "masking"])
        if text_share > 0 and conditioner is None:
            raise ParameterError(f"text_share needs a conditioner that reads captions, got {text_share:g} and none")
        self.masking = masking
        self.net = MaskedTransformer(transformer)
        if start_checkpoint:
            self._start_from(start_checkpoint)
        self._frozen = (
            load_tokenizer(tokenizer_checkpoint) if tokenizer_checkpoint else None,
            load_conditioner(conditioner) if conditioner else None,
        )
        if start_from_codes and not start_checkpoint:
            self._place_embeddings(seed)
        self._learned: str | None = None
        self._sums = torch.zeros(3)  # loss, masked tokens and correct ones since the last optimiser step

    def _start_from(self, checkpoint: str) -> None:
        state = deepened(network_state(checkpoint, part=self.part), self.net.config.depth)
        try:
            self.net.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise ParameterError(f"start_checkpoint must be of the recipe's transformer: {reason}") from error

    @torch.no_grad()
    def _place_embeddings(self, seed: int) -> None:
        if self.tokenizer is None:
            raise ParameterError("start_from_codes needs the codebook of a tokenizer: give tokenizer_checkpoint")
        embedding = self.net.token_embedding.weight
        embedding.copy_(embeddings_from_codes(self.tokenizer.codebook.weight, embedding.shape[1], seed))

    @property
    def tokenizer(self) -> LocalTokenizer | SpecVqgan | None:
        """The frozen tokenizer, None if clips come as tokens."""
        return self._frozen[0]

    @property
    def conditioner(self) -> Conditioner | None:
        """The frozen conditioner, None if conditions come with the clips."""
        return self._frozen[1]

    def on_fit_start(self) -> None:
        """Move the frozen parts to the device, and compile if asked to.

        Raises:
            ParameterError: clips that come as tokens of another tokenizer than the given one.
        """
        own = None if self.tokenizer is None else token_fingerprint(self.tokenizer.state_dict())
        given = getattr(getattr(self.trainer, "datamodule", None), "token_fingerprint", None)
        if own is not None and given not in (None, own):
            raise ParameterError(
                f"the clips are tokens of another tokenizer ({given}) than tokenizer_checkpoint ({own})"
            )
        self._learned = own or given
        super().on_fit_start()

    @property
    def learned_tokens(self) -> str | None:
        """Fingerprint of the tokenizer of the clips."""
        return self._learned

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW, without decay on vectors."""
        return self.adamw(decaying_matrices(self.net.parameters(), self.hparams["weight_decay"]), (0.9, 0.95))

    def clip_tokens(self, batch: Batch, n_cols: int | None = None) -> Tensor:
        """Return the tokens (b, r, w) of a batch, of its first ``n_cols`` columns, by default all that fit.

        Raises:
            ParameterError: tokens of another grid or codebook, or mels without a tokenizer.
        """
        width = n_cols or self.net.config.n_cols
        if "tokens" in batch:
            tokens = batch["tokens"].long()[:, :, :width]
            self._check(tokens)
            return tokens
        return self._encode(batch["mel"], width)

    @torch.no_grad()
    def _encode(self, mel: Tensor, n_cols: int, erased: Tensor | None = None) -> Tensor:
        tokenizer = self.tokenizer
        if tokenizer is None:
            raise ParameterError("clips that come as mel spectrograms need a tokenizer: give tokenizer_checkpoint")
        patch = tokenizer.patch
        cells = mel.float()[:, :, : patch * n_cols]
        if erased is not None:
            cells = cells.masked_fill(erased.repeat_interleave(patch, 1).repeat_interleave(patch, 2), _SILENCE)
        return tokenizer.encode(cells)

    def _check(self, tokens: Tensor) -> None:
        config = self.net.config
        if tokens.shape[1] != config.n_rows:
            raise ParameterError(f"tokens must have {config.n_rows} rows, got {tokens.shape[1]}")
        if not self.trainer.global_step and int(tokens.max()) >= config.n_codes:  # once: it waits for the device
            raise ParameterError(f"tokens must be below n_codes {config.n_codes}, got {int(tokens.max())}")

    def given_tokens(self, batch: Batch, tokens: Tensor, masks: Tensor, erased: Tensor) -> Tensor:
        """Return the network's input tokens: those of erased clips are computed again from the damaged mel."""
        if "mel" not in batch or not erased.any():
            return tokens
        given = tokens.clone()
        given[erased] = self._encode(batch["mel"][erased], tokens.shape[2], masks[erased])
        return given

    def _conditions(self, batch: Batch, draws: ClipDraws) -> tuple[Tensor, Tensor]:
        """Return the conditions (b, d), of audio or for a share of captions, and which clips (b,) keep theirs."""
        if "condition" not in batch:
            nothing = torch.zeros(len(draws), self.net.config.condition_dim, device=self.device)
            return nothing, torch.zeros(len(draws), dtype=torch.bool, device=self.device)
        conditions = batch["condition"].float()
        if self.conditioner is not None and self.hparams["text_share"]:
            of_text = self.conditioner.embed_text(list(batch["caption"])).to(conditions)
            by_text = (draws.uniform(Purpose.TEXT) < self.hparams["text_share"]).to(self.device)
            conditions = torch.where(by_text, of_text, conditions)
        return conditions, (draws.uniform(Purpose.DROP)[:, 0] >= self.hparams["condition_drop"]).to(self.device)

    def _draws(self, batch: Batch, n_clips: int) -> ClipDraws:
        index = batch.get("index")
        if index is None:
            world = self.trainer.world_size
            first = self.trainer.fit_loop.total_batch_idx * n_clips * world + self.global_rank
            index = range(first, first + n_clips * world, world)
        return ClipDraws(self.hparams["seed"], index)

    def _n_cols(self, batch: Batch, of_step: ClipDraws) -> int:
        """Return the number of columns at this step: all, or for a share of steps fewer."""
        patch = 16 if self.tokenizer is None else self.tokenizer.patch
        given = batch["tokens"].shape[2] if "tokens" in batch else batch["mel"].shape[2] // patch
        longest = min(self.net.config.n_cols, given)
        choice, length = of_step.uniform(Purpose.LENGTH, 2)[0].tolist()
        return 1 + int(length * longest) if choice < self.hparams["short_share"] else longest

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, the sum over its masked tokens; ``on_before_optimizer_step`` makes it a mean."""
        config = self.net.config
        of_step = step_draws(self.hparams["seed"], self.trainer.global_step)
        tokens = self.clip_tokens(batch, self._n_cols(batch, of_step))
        draws = self._draws(batch, len(tokens))
        ratio = None
        if self.masking.per_batch:
            ratio = ratios(of_step.uniform(Purpose.RATIO)[:, 0].expand(len(tokens)), self.masking)
        masks, erased = draw_masks(draws, config.n_rows, tokens.shape[2], self.masking, batch.get("full_band"), ratio)
        masks, erased = masks.to(self.device), erased.to(self.device)
        condition, use = self._conditions(batch, draws)
        scores = self.scores(self.given_tokens(batch, tokens, masks, erased), tokens, masks, condition, use)
        n_masked = scores.loss.new_tensor(scores.n_masked)
        total = scores.loss * n_masked
        seen = torch.stack([total.detach(), n_masked, scores.accuracy * n_masked])
        self._sums = self._sums.to(seen) + seen
        # Lightning divides by the number of accumulated batches; on_before_optimizer_step expects the sum.
        return total * (self.trainer.accumulate_grad_batches / config.n_tokens)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Scale the gradients to those of the mean over all masked tokens of the step, on all ranks.

        Raises:
            MasktoolsError: the loss is not a finite number.
        """
        total, count, right = self.trainer.strategy.reduce(self._sums, reduce_op="sum")
        self._sums = torch.zeros_like(self._sums)
        # Ranks were averaged, and the loss was divided by the tokens of a clip to keep it small.
        factor = self.trainer.world_size * self.net.config.n_tokens / count
        for parameter in self.net.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        step = self.trainer.global_step
        if step % _CHECKED_EVERY == 0 and not total.isfinite():
            raise MasktoolsError(
                f"the loss must be finite, got {float(total)} at step {step}: go on from an earlier checkpoint with a "
                "lower learning_rate, or with --trainer.precision 32"
            )
        self.log("loss", total / count, prog_bar=True)
        self.log("accuracy", right / count)
        self.log("learning_rate", optimizer.param_groups[0]["lr"])

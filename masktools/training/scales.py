"""Training of the tokenizer over scales, of its decoder against a discriminator, and of the scale-wise transformer."""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.core.configs import to_dict
from masktools.core.errors import MasktoolsError, ParameterError
from masktools.mel import MelConfig
from masktools.networks.conditioning import NoteWords
from masktools.networks.scales import (
    ScaleTokenizer,
    ScaleTokenizerConfig,
    ScaleTransformer,
    ScaleTransformerConfig,
    scale_usage,
)
from masktools.networks.tokenizer import token_fingerprint
from masktools.networks.tokenizer.local import Codebook
from masktools.training.checkpoints import load_part
from masktools.training.losses import slope_loss
from masktools.training.part import DECODER_OPTIMISER, OptimiserConfig, PartTraining, PatchAdversarialTraining
from masktools.training.streams import Batch
from masktools.training.tokenizer import GathersLatents, WaitingLatents


def load_scale_tokenizer(source: str) -> ScaleTokenizer:
    """Load the frozen tokenizer over scales of a training checkpoint.

    Raises:
        CheckpointError: there is none, it holds something else, or its weights are of other scales than its settings.
    """
    return load_part(source, "tokenizer", {"scales": (ScaleTokenizerConfig, ScaleTokenizer)})


class _ScaleTokenizerValidation(PartTraining):
    """Validation: errors of the reconstruction, from all scales and from fewer; codebook usage of each scale."""

    net: ScaleTokenizer

    def on_validation_epoch_start(self) -> None:
        """Drop the tokens of the last validation."""
        self._seen: list[list[Tensor]] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the errors of a batch, in the unit of the spectrogram."""
        mel = batch["mel"].float()
        tokens = self.net.encode(mel)
        self._seen.append(tokens)
        estimates = [estimate.float() for estimate in self.net.refinements(tokens, mel.shape[2])]
        found = {f"valid_l1_{number}": F.l1_loss(estimate, mel) for number, estimate in enumerate(estimates, start=1)}
        found |= {"valid_l1": F.l1_loss(estimates[-1], mel), "valid_mse": F.mse_loss(estimates[-1], mel)}
        self.log_dict(found, sync_dist=True, batch_size=len(mel))

    def on_validation_epoch_end(self) -> None:
        """Log the codebook usage of each scale, as exp of the entropy."""
        grids = [torch.cat([tokens[scale].flatten() for tokens in self._seen]) for scale in range(len(self._seen[0]))]
        usage = scale_usage(grids, self.net.n_codes)
        self.log_dict({f"valid_perplexity_{number}": own.perplexity for number, own in enumerate(usage, start=1)})


class ScaleTokenizerTraining(_ScaleTokenizerValidation, GathersLatents):
    """Training with L1, slopes and the quantiser's loss; k-means initialisation after steps without quantiser.

    Batches hold ``mel`` (b, f, m). It trains in one process: codebooks follow the vectors of that process alone.

    Args:
        tokenizer: settings of the tokenizer.
        mel: settings of the mel front end.
        n_steps: optimiser steps of the learning-rate schedule.
        learning_rate: peak learning rate, after the warm-up.
        n_warmup: steps of linear warm-up.
        n_unquantised: steps without quantiser, before the codebooks are initialised by k-means.
        n_placing_clips: clips whose latents are used for that.
        slope_weight: weight of the L1 distance between differences of neighbouring cells.
        codes_weight: weight of the quantiser's loss.
        drop_share: share of clips that keep fewer scales (scale dropout).
        n_least: least number of scales that a clip keeps.
        restart_every: steps between two restarts of dead entries.
        restart_share: share of an even hit count below which an entry is dead.

    Raises:
        ParameterError: a share or a number out of its range.
    """

    part, kind = "tokenizer", "scales"

    def __init__(
        self,
        tokenizer: ScaleTokenizerConfig = ScaleTokenizerConfig(),
        mel: MelConfig = MelConfig(),
        n_steps: int = 3000,
        learning_rate: float = 5e-4,
        n_warmup: int = 100,
        n_unquantised: int = 200,
        n_placing_clips: int = 512,
        slope_weight: float = 0.5,
        codes_weight: float = 1.0,
        drop_share: float = 0.1,
        n_least: int = 1,
        restart_every: int = 50,
        restart_share: float = 0.1,
    ) -> None:
        super().__init__(mel)
        self.save_hyperparameters(ignore=["tokenizer", "mel"])
        if restart_every < 1 or not 0 <= restart_share < 1:
            raise ParameterError(
                f"restart_every must be at least 1 and restart_share in [0, 1), "
                f"got {restart_every} and {restart_share:g}"
            )
        if not 0 <= drop_share <= 1 or not 1 <= n_least <= len(tokenizer.pyramid):
            raise ParameterError(
                f"drop_share must lie in [0, 1] and n_least in [1, {len(tokenizer.pyramid)}], "
                f"got {drop_share:g} and {n_least}"
            )
        if tokenizer.n_mels != mel.n_mels:
            raise ParameterError(
                f"the tokenizer must have the {mel.n_mels} bins of the front end, got {tokenizer.n_mels}"
            )
        self.net = ScaleTokenizer(tokenizer)
        for book in self.net.quantiser.codebooks:
            cast(Codebook, book).restart_share = restart_share
        self._waiting = WaitingLatents(n_placing_clips)

    @property
    def waiting(self) -> Sequence[WaitingLatents]:
        """Latents that are kept for the initialisation of the codebooks."""
        return (self._waiting,)

    def on_fit_start(self) -> None:
        """Raise where there is more than one process.

        Raises:
            ParameterError: there are more.
        """
        if self.trainer.world_size > 1:
            raise ParameterError(f"a tokenizer over scales trains in one process, got {self.trainer.world_size}")

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW with warm-up and cosine."""
        return self.adamw(betas=(0.9, 0.99), final=0.1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        own, step, mel = self.hparams, self.global_step, batch["mel"].float()
        latents = self.net.to_latents(mel).float()
        codes = latents.new_zeros(())
        if step < own["n_unquantised"]:
            vectors = latents
            self._waiting.add(latents)
            if step == own["n_unquantised"] - 1:
                self.net.quantiser.place(self._waiting.taken(), batch_size=len(latents))
        else:
            quantised = self.net.quantiser(latents, self._kept(len(mel)))
            vectors, codes = quantised.vectors, quantised.loss
            if step % own["restart_every"] == 0 and step < 0.8 * own["n_steps"]:
                self.log("restarted", float(self.net.quantiser.restart(latents)))
        estimate = self.net.from_latents(vectors, mel.shape[2]).float()
        error = F.l1_loss(estimate, mel)
        self.log_dict({"l1": error, "codes": codes}, prog_bar=True)
        return error + own["slope_weight"] * slope_loss(estimate, mel) + own["codes_weight"] * codes

    def _kept(self, n_clips: int) -> Tensor | None:
        """Return the number of scales that each clip keeps: all, or fewer for a share of clips."""
        own, n_scales = self.hparams, len(self.net.pyramid)
        if not own["drop_share"]:
            return None
        drawn = torch.randint(own["n_least"], n_scales + 1, (n_clips,))
        return torch.where(torch.rand(n_clips) < own["drop_share"], drawn, n_scales)


class ScaleDecoderTraining(_ScaleTokenizerValidation, PatchAdversarialTraining):
    """Training of the decoder alone, with a patch discriminator; tokens, and transformers of them, stay valid.

    Args:
        checkpoint: checkpoint of the tokenizer.
        mel: settings of the mel front end.
        n_steps: updates of the decoder.
        learning_rate: peak learning rate of both.
        n_warmup: steps of linear warm-up.
        n_discriminator_only: steps in which only the discriminator is trained.
        adversarial_weight: weight of the adversarial loss.
        feature_weight: weight of the feature distance.
        discriminator_width: channels of the discriminator.
        optimiser: settings of both optimisers.
    """

    part, kind = "tokenizer", "scales"

    def __init__(
        self,
        checkpoint: str,
        mel: MelConfig = MelConfig(),
        n_steps: int = 2000,
        learning_rate: float = 2e-4,
        n_warmup: int = 100,
        n_discriminator_only: int = 200,
        adversarial_weight: float = 0.05,
        feature_weight: float = 0.1,
        discriminator_width: int = 32,
        optimiser: OptimiserConfig = DECODER_OPTIMISER,
    ) -> None:
        super().__init__(mel, optimiser, load_scale_tokenizer(checkpoint), discriminator_width)
        self.save_hyperparameters(ignore=["mel", "optimiser"])

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the discriminator and then the decoder."""
        mel = batch["mel"].float()
        with torch.no_grad():
            vectors = self.net.quantiser.decode(self.net.encode(mel))
        self.decoder_step(mel, self.net.from_latents(vectors, mel.shape[2]).float(), batch_idx)


class ScaleTransformerTraining(PartTraining):
    """Training with the cross-entropy of all scales at once, given the true coarser scales; AdamW, warm-up and cosine.

    Batches hold ``mel`` (b, f, m), and optionally ``condition`` (b, d).

    Args:
        tokenizer_checkpoint: checkpoint of the frozen tokenizer.
        transformer: settings of the transformer; the scales and sizes of codes must be the tokenizer's.
        mel: settings of the mel front end.
        n_steps: optimiser steps of the learning-rate schedule.
        n_warmup: steps of linear warm-up.
        learning_rate: peak learning rate, after the warm-up.
        weight_decay: weight decay of matrices.
        condition_drop: share of clips trained without condition.
        even_scales: whether each scale has the same weight in the loss; otherwise each token has.
        noise_share: share of tokens that are replaced by random ones in the input of finer scales, so that the model
            learns to cope with its own mistakes.
        refine_share: share of steps that also train refinement of one scale, some of whose tokens are known.
        coarse_steps: number of first steps that train only the coarsest scales, which determine most of a sound at a
            fraction of the cost, since their tokens are few.
        coarse_scales: number of those scales.

    Raises:
        ParameterError: parts that do not fit each other.

    Source: VAR (arXiv:2404.02905), section 4.
    """

    part, kind = "transformer", "scales"
    net: ScaleTransformer

    def __init__(
        self,
        tokenizer_checkpoint: str,
        transformer: ScaleTransformerConfig = ScaleTransformerConfig(),
        mel: MelConfig = MelConfig(),
        n_steps: int = 6000,
        n_warmup: int = 200,
        learning_rate: float = 5e-4,
        weight_decay: float = 0.05,
        condition_drop: float = 0.1,
        even_scales: bool = False,
        noise_share: float = 0.0,
        refine_share: float = 0.0,
        coarse_steps: int = 0,
        coarse_scales: int = 2,
    ) -> None:
        super().__init__(mel)
        self.save_hyperparameters(ignore=["transformer", "mel"])
        self._frozen = (load_scale_tokenizer(tokenizer_checkpoint),)
        theirs = self.tokenizer.config
        for what, own, other in (
            ("scales", str(transformer.pyramid), str(theirs.pyramid)),
            ("n_codes", transformer.n_codes, theirs.n_codes),
            ("code_dim", transformer.code_dim, theirs.code_dim),
        ):
            if own != other:
                raise ParameterError(f"{what} of the transformer must be those of the tokenizer, got {own} and {other}")
        if coarse_steps < 0 or not 1 <= coarse_scales <= len(transformer.pyramid):
            raise ParameterError(
                f"coarse_steps must be at least 0 and coarse_scales in [1, {len(transformer.pyramid)}], "
                f"got {coarse_steps} and {coarse_scales}"
            )
        if refine_share > 0 and not transformer.refines:
            raise ParameterError("refine_share needs a transformer that refines: set transformer.refines")
        self.net = ScaleTransformer(transformer)

    @property
    def tokenizer(self) -> ScaleTokenizer:
        """The frozen tokenizer."""
        return self._frozen[0]

    def on_fit_start(self) -> None:
        """Move the frozen tokenizer to the device, and check the conditions.

        Raises:
            ParameterError: conditions of another size than the transformer's.
        """
        super().on_fit_start()
        words, own = self._words(), self.net.config.condition_dim
        if words is not None and words.dim != own:
            raise ParameterError(
                f"condition_dim must be {words.dim}, the size of the conditions of these notes, got {own}"
            )

    @property
    def learned_tokens(self) -> str:
        """Fingerprint of the tokenizer."""
        return token_fingerprint(self.tokenizer.state_dict())

    def _words(self) -> NoteWords | None:
        """Return the note conditioner of the data, if the data are notes."""
        notes = getattr(getattr(self.trainer, "datamodule", None), "notes", None)
        return None if notes is None else notes.words

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the note conditioner, too."""
        super().on_save_checkpoint(checkpoint)
        words = self._words()
        if words is not None:
            checkpoint["masktools"]["conditioner"] = {"kind": "notes", "config": to_dict(words.config)}

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW, without decay on vectors and embeddings."""
        own, decayed, others = self.hparams, [], []
        for name, parameter in self.net.named_parameters():
            is_matrix = parameter.ndim > 1 and not name.startswith(("positions", "levels", "known"))
            (decayed if is_matrix else others).append(parameter)
        groups = [{"params": decayed, "weight_decay": own["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
        return self.adamw(groups, (0.9, 0.95), final=0.05)

    @torch.no_grad()
    def _tokens(self, batch: Batch) -> list[Tensor]:
        return self.tokenizer.encode(batch["mel"].float())

    def losses(
        self, tokens: list[Tensor], inputs: list[Tensor], condition: Tensor | None, use: Tensor | None
    ) -> Tensor:
        """Return the cross-entropy (b, n) of every token, in nats."""
        logits = self.net(inputs, condition, use, n_items=len(tokens[0]))
        wanted = self.net.pyramid.pack(tokens)
        return F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Raises:
            MasktoolsError: the loss is not finite.
        """
        own, tokens = self.hparams, self._tokens(batch)
        if self.global_step < own["coarse_steps"]:
            tokens = tokens[: own["coarse_scales"]]
        condition = batch.get("condition")
        n_clips = len(tokens[0])
        use = torch.rand(n_clips, device=self.device) >= own["condition_drop"]
        shown = [self._noisy(grid) for grid in tokens] if own["noise_share"] else tokens
        with torch.no_grad():
            inputs = self.tokenizer.quantiser.inputs(shown)[: len(tokens) - 1]
        condition = None if condition is None else condition.float()
        found = self.losses(tokens, inputs, condition, None if condition is None else use)
        loss = self._mean(found, len(tokens))
        if torch.rand(()) < own["refine_share"]:
            loss = loss + self._refined(tokens, inputs, condition, None if condition is None else use)
        if self.global_step % 50 == 0 and not loss.isfinite():
            raise MasktoolsError(f"the loss must be finite, got {float(loss)}: use a lower learning_rate")
        self.log("loss", found.mean(), prog_bar=True)
        return loss

    def _mean(self, found: Tensor, n_scales: int) -> Tensor:
        if not self.hparams["even_scales"]:
            return found.mean()
        places = [self.net.pyramid.place(scale) for scale in range(n_scales)]
        return torch.stack([found[:, place].mean() for place in places]).mean()

    def _noisy(self, grid: Tensor) -> Tensor:
        replaced = torch.rand(grid.shape, device=grid.device) < self.hparams["noise_share"]
        return torch.where(replaced, torch.randint_like(grid, self.net.config.n_codes), grid)

    def _refined(
        self, tokens: list[Tensor], inputs: list[Tensor], condition: Tensor | None, use: Tensor | None
    ) -> Tensor:
        """Return the cross-entropy of the masked tokens of one scale, given its other tokens."""
        scale = int(torch.randint(len(tokens), ()))
        place = self.net.pyramid.place(scale)
        flat = self.net.pyramid.pack(tokens)[:, place]
        share = torch.rand(len(flat), 1, device=flat.device).mul(torch.pi / 2).cos()
        mask = torch.rand(flat.shape, device=flat.device) < share
        mask[:, 0] |= ~mask.any(dim=1)
        logits = self.net(inputs[:scale], condition, use, (flat, mask), n_items=len(flat))[:, place]
        return F.cross_entropy(logits[mask], flat[mask])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the cross-entropy of each scale with conditions, and its reduction by them."""
        tokens = self._tokens(batch)
        inputs = self.tokenizer.quantiser.inputs(tokens)
        condition = batch.get("condition")
        without = self.losses(tokens, inputs, None, None)
        found = without if condition is None else self.losses(tokens, inputs, condition.float(), None)
        figures = {"valid_loss": found.mean(), "valid_condition_gain": (without - found).mean()}
        for scale in range(len(tokens)):
            figures[f"valid_loss_{scale + 1}"] = found[:, self.net.pyramid.place(scale)].mean()
        self.log_dict(figures, sync_dist=True, batch_size=len(found))

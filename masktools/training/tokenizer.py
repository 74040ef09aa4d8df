"""Training of tokenizers: in two stages, the decoder last, or in one, as SpecVQGAN; upkeep of their codebooks.

The second stage freezes the encoder and the codebook, so that cached tokens, and a transformer
trained on them, stay valid. The paper's tokenizer is trained in one stage: ``SpecVqganTraining``.

Source: SpecVQGAN (arXiv:2110.08791), section 3.1, and VQGAN (arXiv:2012.09841), Eqs. 5 to 7, for the losses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import check_least, settle
from masktools.core.configs import ranged
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig
from masktools.networks.tokenizer import TOKENIZERS, LocalTokenizerConfig, SpecVqganConfig
from masktools.networks.tokenizer.local import Codebook, Quantised, codebook_usage
from masktools.training import checkpoints, losses, streams
from masktools.training.losses import (
    PatchGan,
    PatchGanConfig,
    codebook_loss,
    discriminator_hinge,
    generator_hinge,
    slope_loss,
)
from masktools.training.part import (
    DECODER_OPTIMISER,
    AdversarialTraining,
    OptimiserConfig,
    PartTraining,
    PatchAdversarialTraining,
    config_of,
)
from masktools.training.streams import Batch

_EVERY = 50  # steps between two checks of the codebook
_WAITING = "masktools_latents"  # key in a checkpoint
_N_REMEMBERED = 16  # batches whose tokens count for the codebook usage


class WaitingLatents:
    """The last latents of steps without quantiser, for the initialisation of a codebook: n or a few more, (n, ...)."""

    def __init__(self, n_wanted: int) -> None:
        self.n_wanted = n_wanted
        self._held: list[Tensor] = []

    def add(self, latents: Tensor) -> None:
        """Add those of a step, and drop the oldest that are no longer needed."""
        self._held = [*(part.to(latents.device) for part in self._held), latents.detach()]
        while sum(map(len, self._held[1:])) >= self.n_wanted:
            self._held.pop(0)

    def taken(self) -> Tensor:
        """Return and remove all latents."""
        held, self._held = self._held, []
        return torch.cat(held)

    def state(self) -> Tensor | None:
        """Return all latents, None if there are none."""
        return torch.cat(self._held) if self._held else None

    def resume(self, waiting: Tensor | None) -> None:
        """Restore the latents of ``state``."""
        self._held = [] if waiting is None else [waiting]


class GathersLatents(PartTraining):
    """A part in training whose checkpoints hold the latents for the initialisation of its codebooks."""

    @property
    def waiting(self) -> Sequence[WaitingLatents]:
        """The waiting latents of each codebook."""
        raise NotImplementedError

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the waiting latents, too."""
        super().on_save_checkpoint(checkpoint)
        states = [latents.state() for latents in self.waiting]
        checkpoint[_WAITING] = states[0] if len(states) == 1 else states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the waiting latents."""
        held = checkpoint.get(_WAITING)
        for number, latents in enumerate(self.waiting):
            latents.resume(held[number] if isinstance(held, list) else held)


class CodebookCare:
    """Quantises in training, and keeps the codebook in use.

    For ``n_unquantised`` steps there is no quantiser; the latents of the last of them initialise the codebook. An
    ``ema``
    codebook restarts its dead entries until ``n_restarting`` steps, and is the same in all processes of a run.

    Args:
        codebook: codebook to keep in use.
        n_unquantised: number of steps; 0 keeps the random initialisation.
        n_placing_vectors: latents for the k-means initialisation, 10 or more for each entry.
        n_restarting: steps in which dead entries are restarted.
        legacy: whether a ``gradient`` codebook has its commitment weight on the term of SpecVQGAN's code.
    """

    def __init__(
        self, codebook: Codebook, n_unquantised: int, n_placing_vectors: int, n_restarting: int, legacy: bool = False
    ) -> None:
        check_least(0, n_unquantised=n_unquantised, n_restarting=n_restarting)
        if n_unquantised and n_placing_vectors < codebook.n_codes:
            raise ParameterError(
                f"n_placing_vectors must be at least the {codebook.n_codes} codes, got {n_placing_vectors}"
            )
        self.codebook, self.legacy = codebook, legacy
        self.n_unquantised, self.n_restarting = n_unquantised, n_restarting
        self.n_restarted = 0  # at the last check
        self.waiting = WaitingLatents(n_placing_vectors)
        self._seen: list[Tensor] = []

    def quantise(self, latents: Tensor, step: int, trainer: pl.Trainer) -> Quantised | None:
        """Return the result of quantising latents (b, d, r, w), None as long as there is no quantiser."""
        if step < self.n_unquantised:
            self._gather(latents, step, trainer)
            return None
        shared = trainer.world_size > 1 and self.codebook.kind == "ema"
        before = self._moving_averages() if shared else None
        quantised = self.codebook(latents)
        if self.codebook.kind == "gradient":
            entries = self.codebook.lookup(quantised.tokens)
            loss = codebook_loss(latents, entries, self.codebook.commitment, self.legacy)
            quantised = quantised._replace(loss=loss)
        else:
            if before is not None:
                self._follow_all(before, trainer)
            if step % _EVERY == 0 and step < self.n_restarting:
                self.n_restarted = self.codebook.restart(_of_all(latents, trainer))
                self._follow_first(trainer)
        self._seen = [*self._seen[1 - _N_REMEMBERED :], quantised.tokens.flatten()]
        return quantised

    def figures(self, step: int) -> dict[str, float]:
        """Return the codebook usage of the last batches, at every check; empty in between."""
        if step % _EVERY or not self._seen:
            return {}
        usage = codebook_usage(torch.cat(self._seen), self.codebook.n_codes)
        found = {"used": float(usage.n_used), "perplexity": usage.perplexity}
        return found | ({"restarted": float(self.n_restarted)} if self.codebook.kind == "ema" else {})

    def _gather(self, latents: Tensor, step: int, trainer: pl.Trainer) -> None:
        """Keep the latents of the last steps without quantiser, and initialise the codebook at the last one."""
        self.waiting.add(latents.movedim(1, -1).flatten(0, -2))
        if step == self.n_unquantised - 1:
            gathered = _of_all(self.waiting.taken(), trainer)
            if len(gathered) < self.codebook.n_codes:
                raise ParameterError(
                    f"the codebook needs {self.codebook.n_codes} latents to be placed, got {len(gathered)}: "
                    "take larger batches, or more steps without quantiser (n_unquantised)"
                )
            self.codebook.place(gathered)
            self._follow_first(trainer)

    def _moving_averages(self) -> tuple[Tensor, Tensor]:
        """Return the sums of vectors and the hits of an ``ema`` codebook; its entries are their quotient."""
        book = self.codebook
        return book.weight.detach() * book.hits[:, None], book.hits.clone()

    @torch.no_grad()
    def _follow_all(self, before: tuple[Tensor, Tensor], trainer: pl.Trainer) -> None:
        """Combine the moving averages of all processes as if one had seen all vectors: averages are linear in them."""
        book, counted_twice = self.codebook, (trainer.world_size - 1) * self.codebook.decay
        sums, hits = (
            trainer.strategy.reduce(now, reduce_op="sum") - counted_twice * then
            for now, then in zip(self._moving_averages(), before, strict=True)
        )
        book.weight.copy_(sums / hits.clamp_min(1e-5)[:, None])
        book.hits.copy_(hits)

    @torch.no_grad()
    def _follow_first(self, trainer: pl.Trainer) -> None:
        """Copy the entries of the first process to the others, which drew their own."""
        if trainer.world_size == 1:
            return
        own = (self.codebook.weight, *self.codebook.buffers())
        for tensor in own:
            first = tensor.clone() if trainer.is_global_zero else torch.zeros_like(tensor)
            tensor.copy_(trainer.strategy.reduce(first, reduce_op="sum"))


def _of_all(tensor: Tensor, trainer: pl.Trainer) -> Tensor:
    """Return a tensor of all processes, concatenated along its first axis."""
    return tensor if trainer.world_size == 1 else trainer.strategy.all_gather(tensor.detach()).flatten(0, 1)


class Reconstruction(NamedTuple):
    """A mel spectrogram after encoder, quantiser and decoder."""

    mel: Tensor  # (b, f, m), without the clipping of evaluation
    codes: Tensor  # the codebook's loss, 0 without quantiser


class TokenizerValidation(PartTraining):
    """Validation of a tokenizer: error and roughness of the reconstruction, and codebook usage."""

    net: Any

    def mel_of(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the mel spectrograms of a batch, or of its waves, in fp32, cropped to whole columns."""
        mel = super().mel_of(batch)
        return mel[..., : mel.shape[-1] // self.net.patch * self.net.patch]

    def on_validation_epoch_start(self) -> None:
        """Drop the tokens of the last validation."""
        self._valid_tokens: list[Tensor] = []

    def validation_step(self, batch: streams.Batch, batch_idx: int) -> None:
        """Log the error of a batch, and its roughness: the mean slope of the reconstruction over the original's."""
        mel = self.mel_of(batch)
        tokens = self.net.encode(mel)
        estimate = self.net.decode(tokens).float()
        self._valid_tokens.append(tokens.flatten())
        steep, true = (sum(m.diff(dim=a).abs().mean() for a in (1, 2)) for m in (estimate, mel))
        figures = {"valid_l1": F.l1_loss(estimate, mel), "valid_roughness": steep / true}
        self.log_dict(figures, prog_bar=True, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Log the codebook usage on the validation clips."""
        tokens: Any = self.all_gather(torch.cat(self._valid_tokens))
        usage = codebook_usage(tokens, self.net.n_codes)
        figures = {"valid_used": float(usage.n_used), "valid_perplexity": usage.perplexity}
        self.log_dict(figures, prog_bar=True, rank_zero_only=True)


class WholeTokenizerTraining(TokenizerValidation, GathersLatents):
    """Joint training of encoder, codebook and decoder."""

    part = "tokenizer"
    compiled = ("net.encoder", "net.decoder")
    care: CodebookCare

    def make(self, kind: str, settings: Any) -> None:
        """Make the tokenizer of a kind, with the settings of ``config_of``."""
        self.kind = kind
        config = config_of(TOKENIZERS, kind, settings, self.part)
        self.net = TOKENIZERS[kind][1](config)

    @property
    def waiting(self) -> Sequence[WaitingLatents]:
        """Latents that are kept for the initialisation of the codebook."""
        return (self.care.waiting,)

    def reconstruct(self, mel: Tensor, step: int) -> Reconstruction:
        """Return the reconstruction of mel spectrograms (b, f, m) at a step of the training."""
        latents = self.net.to_latents(mel).float()
        quantised = self.care.quantise(latents, step, self.trainer)
        vectors = latents if quantised is None else quantised.vectors
        codes = latents.new_zeros(()) if quantised is None else quantised.loss
        return Reconstruction(self.net.from_latents(vectors).float(), codes)


class TokenizerTraining(WholeTokenizerTraining):
    """Stage A: L1 in the unit of the mel, slopes, commitment; k-means initialisation after steps without quantiser.

    Args:
        tokenizer: settings of the network, or those that differ from the defaults of its kind.
        mel: settings of the mel front end.
        n_steps: optimiser steps of the learning-rate schedule.
        learning_rate: peak learning rate, after the warm-up.
        n_warmup: steps of linear warm-up.
        n_unquantised: steps without quantiser, before the codebook is initialised by k-means.
        n_placing_vectors: latents for the k-means initialisation of the codebook.
        slope_weight: weight of the L1 distance between differences of neighbouring cells.
        level_weight: weight of the distance of third-octave levels.
        kind: ``local`` or ``specvqgan``.
        compile: whether to compile encoder and decoder.
    """

    def __init__(
        self,
        tokenizer: dict[str, Any] | LocalTokenizerConfig | SpecVqganConfig | None = None,
        mel: MelConfig = MelConfig(),
        n_steps: int = 20_000,
        learning_rate: float = 3e-4,
        n_warmup: int = 500,
        n_unquantised: int = 300,
        n_placing_vectors: int = 20_480,
        slope_weight: float = 0.5,
        level_weight: float = 0.0,
        kind: str = "local",
        compile: bool = False,
    ) -> None:
        super().__init__(mel)
        self.save_hyperparameters(ignore=["tokenizer", "mel"])
        self.make(kind, tokenizer)
        self.levels = losses.ThirdOctaveLevels(mel)
        self.care = CodebookCare(self.net.codebook, n_unquantised, n_placing_vectors, round(0.8 * n_steps))

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW with warm-up and cosine."""
        return self.adamw(betas=(0.9, 0.99), final=0.1)

    def training_step(self, batch: streams.Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch of waves (b, t)."""
        mel, step = self.mel_of(batch), self.global_step
        estimate, commitment = self.reconstruct(mel, step)
        error = F.l1_loss(estimate, mel)
        loss = error + self.hparams["slope_weight"] * losses.slope_loss(estimate, mel) + commitment
        figures = {"l1": error, "commitment": commitment}
        if self.hparams["level_weight"] > 0:
            figures["levels"] = losses.level_loss(estimate, mel, self.levels)
            loss = loss + self.hparams["level_weight"] * figures["levels"]
        self.log_dict({**figures, **self.care.figures(step)}, prog_bar=True)
        return loss


class DecoderTraining(TokenizerValidation, PatchAdversarialTraining):
    """Stage B of a tokenizer, or of a codec over mel spectrograms: its decoder alone.

    It is trained by reconstruction, and by a hinge loss with a patch discriminator that starts first.
    """

    compiled = ("net.decoder",)
    n_ramp = 500

    def __init__(
        self,
        checkpoint: str,
        mel: MelConfig = MelConfig(),
        n_steps: int = 10_000,
        learning_rate: float = 2e-4,
        n_warmup: int = 100,
        n_discriminator_only: int = 500,
        adversarial_weight: float = 0.05,
        feature_weight: float = 0.1,
        discriminator_width: int = 32,
        level_weight: float = 0.0,
        optimiser: OptimiserConfig = DECODER_OPTIMISER,
        compile: bool = False,
    ) -> None:
        super().__init__(mel, optimiser, checkpoints.load_mel_coder(checkpoint), discriminator_width)
        self.save_hyperparameters(ignore=["mel", "optimiser"])
        self.part = checkpoints.token_part(checkpoint)
        self.kind = checkpoints.part_description(checkpoint, self.part)["kind"]
        self._given = {f"net.{name}": value.clone() for name, value in self.net.state_dict().items()}
        self.levels = losses.ThirdOctaveLevels(mel)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store frozen weights unchanged: their average differs in the last bits, which might change a token."""
        super().on_save_checkpoint(checkpoint)
        learned = {f"net.{name}" for name, parameter in self.net.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] |= {name: value for name, value in self._given.items() if name not in learned}

    def training_step(self, batch: streams.Batch, batch_idx: int) -> None:
        """Take one step of generator and discriminator on a batch of waves (b, t)."""
        mel, weight = self.mel_of(batch), self.hparams["level_weight"]
        with torch.no_grad():
            vectors = self.net.vectors(self.net.encode(mel))
        estimate = self.net.from_latents(vectors).float()
        further = weight * losses.level_loss(estimate, mel, self.levels) if weight > 0 else 0.0
        self.decoder_step(mel, estimate, batch_idx, further)


_PATCHGAN = PatchGanConfig()
_OPTIMISER = OptimiserConfig(betas=(0.5, 0.9), weight_decay=0.0, schedule="exponential", decay=1.0, clip_norm=None)


@dataclass(frozen=True)
class AdversarialSchedule:
    """The adversarial loss of the patch discriminator; the defaults are those of SpecVQGAN's VGGSound configuration.

    The discriminator is trained from ``discriminator_start`` on and its loss is used from ``start`` on, rising over
    ``n_ramp`` iterations. An ``adaptive`` weight gives the adversarial loss the gradient norm of the reconstruction at
    the last layer of the decoder, times ``weight``, scaled up at most ``max_adaptive`` times.
    """

    start: int = ranged(30_001, "[0, inf]")  # iterations
    discriminator_start: int | None = None  # iterations; None: with the adversarial loss, as published
    n_ramp: int = ranged(0, "[0, inf]")  # iterations
    weight: float = ranged(0.8, "[0, inf]")
    adaptive: bool = False
    max_adaptive: float = ranged(1e4, "(0, inf]")

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        if self.discriminator_start is not None and not 0 <= self.discriminator_start <= self.start:
            raise ParameterError(
                f"discriminator_start must lie in [0, start = {self.start}], got {self.discriminator_start}"
            )

    def discriminator_learns(self, step: int) -> bool:
        """Tell whether the discriminator is trained at an iteration."""
        return step >= (self.start if self.discriminator_start is None else self.discriminator_start)

    def weight_at(self, step: int) -> float:
        """Return the weight of the adversarial loss at an iteration."""
        if step < self.start:
            return 0.0
        return self.weight * (min(1.0, (step - self.start + 1) / self.n_ramp) if self.n_ramp else 1.0)


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, layer: Tensor, highest: float = 1e4) -> Tensor:
    """Return the factor on the adversarial loss that equals the gradient norms of both losses at a layer's weight.

    Source: VQGAN (arXiv:2012.09841), Eq. 7.
    """
    pulls = [torch.autograd.grad(loss, layer, retain_graph=True)[0].norm() for loss in (reconstruction, adversarial)]
    return (pulls[0] / (pulls[1] + 1e-4)).clamp(0.0, highest).detach()


class SpecVqganTraining(WholeTokenizerTraining, AdversarialTraining):
    """L1, codebook loss and, later, a hinge loss with a patch discriminator; joint training of all parts.

    Args:
        tokenizer: settings of the network, or those that differ from the defaults of its kind.
        mel: settings of the mel front end.
        n_steps: iterations; ``max_steps`` of the recipe is twice as many.
        learning_rate: learning rate of generator and discriminator; as published, 4.5e-6 per clip of the batch over all
            devices.
        n_warmup: iterations of linear warm-up.
        discriminator: settings of the discriminator.
        adversarial: schedule and weight of the adversarial loss.
        optimiser: settings of both optimisers.
        codebook_weight: weight of the codebook's loss.
        legacy_codebook: whether the commitment weight is on the codebook's term, for a ``gradient`` codebook.
        slope_weight: weight of the L1 distance between differences of neighbouring cells; 0 as published.
        n_unquantised: iterations before the codebook is initialised by k-means; 0 keeps the random initialisation, as
            published.
        n_placing_vectors: latents for the k-means initialisation of the codebook.
        kind: ``specvqgan`` or ``local``.
        compile: whether to compile encoder and decoder.
    """

    def __init__(
        self,
        tokenizer: dict[str, Any] | LocalTokenizerConfig | SpecVqganConfig | None = None,
        mel: MelConfig = MelConfig(),
        n_steps: int = 1_500_000,
        learning_rate: float = 1.44e-4,
        n_warmup: int = 0,
        discriminator: PatchGanConfig = _PATCHGAN,
        adversarial: AdversarialSchedule = AdversarialSchedule(),
        optimiser: OptimiserConfig = _OPTIMISER,
        codebook_weight: float = 1.0,
        legacy_codebook: bool = False,
        slope_weight: float = 0.0,
        n_unquantised: int = 0,
        n_placing_vectors: int = 20_480,
        kind: str = "specvqgan",
        compile: bool = False,
    ) -> None:
        super().__init__(mel, optimiser)
        self.save_hyperparameters(ignore=["tokenizer", "mel", "discriminator", "adversarial", "optimiser"])
        self.adversarial = adversarial
        self.make(kind, tokenizer)
        self.discriminator = PatchGan(discriminator)
        n_restarting = round(0.8 * n_steps)
        self.care = CodebookCare(self.net.codebook, n_unquantised, n_placing_vectors, n_restarting, legacy_codebook)

    @property
    def last_layer(self) -> Tensor:
        """The weight of the decoder's last convolution."""
        return [layer for layer in self.net.decoder.modules() if isinstance(layer, nn.Conv2d)][-1].weight

    def _discriminator_loss(self, mel: Tensor, estimate: Tensor) -> Tensor | None:
        if not self.adversarial.discriminator_learns(self.n_iterations):
            return None
        real, _ = self.discriminator(mel)
        generated, _ = self.discriminator(estimate.detach())
        return 0.5 * discriminator_hinge(real, generated)

    def _adversarial_loss(self, reconstruction: Tensor, estimate: Tensor) -> Tensor | None:
        """Return the weighted adversarial loss; None before it starts."""
        weight = self.adversarial.weight_at(self.n_iterations)
        if weight == 0:
            return None
        with self.frozen_discriminator():
            output, _ = self.discriminator(estimate)
        adversarial = generator_hinge(output)
        if self.adversarial.adaptive:
            factor = adaptive_weight(reconstruction, adversarial, self.last_layer, self.adversarial.max_adaptive)
            self.log("adaptive", factor)
            weight = weight * factor
        return weight * adversarial

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Take one step of generator and discriminator on a batch of waves (b, t)."""
        own, mel, step = self.hparams, self.mel_of(batch), self.n_iterations
        estimate, codes = self.reconstruct(mel, step)
        discriminator_loss = self._discriminator_loss(mel, estimate)
        self.discriminator_step(discriminator_loss, batch_idx)

        error = F.l1_loss(estimate, mel)
        reconstruction = error + own["slope_weight"] * slope_loss(estimate, mel) if own["slope_weight"] else error
        adversarial = self._adversarial_loss(reconstruction, estimate)
        loss = reconstruction + own["codebook_weight"] * codes + (0.0 if adversarial is None else adversarial)
        self.generator_step(loss, batch_idx)
        figures = {
            "loss": loss,
            "l1": error,
            "codebook": codes,
            "discriminator": discriminator_loss,
            "adversarial": adversarial,
        }
        told = {name: value for name, value in figures.items() if value is not None}
        self.log_dict({**told, **self.care.figures(step)}, prog_bar=True)

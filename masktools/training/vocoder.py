"""Training of vocoders, with or without weight normalisation.

A checkpoint holds both: the plain weights, for a bundle, and the two factors of each, with which the
training goes on.

Source: HiFi-GAN (arXiv:2010.05646), section 2.4; BigVGAN (arXiv:2206.04658), section 3; BigVSAN (arXiv:2309.02836),
section 3; Vocos (arXiv:2306.00814), section 3.3.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from masktools.core.arguments import check_within, checked_name
from masktools.mel import MelConfig, MelFrontEnd
from masktools.networks.vocoder import VOCODERS, BigvganConfig, HifiganConfig, LightVocoderConfig
from masktools.training.checkpoints import load_tokenizer, network_state
from masktools.training.losses import DiscriminatorsConfig, WaveDiscriminator, normalise_directions, stft_loss
from masktools.training.part import ADVERSARIAL_LOSSES, AdversarialTraining, OptimiserConfig, config_of
from masktools.training.streams import Batch

_FACTORS = ".parametrizations.weight.original"
_NET, _RAW = "net.", "raw_"


def normalise_weights(network: nn.Module) -> None:
    """Apply weight normalisation to the convolutions over time of a network."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            weight_norm(layer)


def add_plain_weights(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state dict with plain weights under ``net.``, and their factors under ``raw_net.``.

    A network without weight normalisation is not changed.
    """
    own = {name: value for name, value in state.items() if name.startswith(_NET)}
    if not any(_FACTORS in name for name in own):
        return state
    others = {name: value for name, value in state.items() if name not in own}
    raw = {_RAW + name: value for name, value in own.items()}
    return others | raw | _plain(own)


def remove_plain_weights(state: dict[str, Any]) -> dict[str, Any]:
    """Return the network's own state dict, the inverse of ``add_plain_weights``."""
    raw = {name[len(_RAW) :]: value for name, value in state.items() if name.startswith(_RAW + _NET)}
    if not raw:
        return state
    return {name: value for name, value in state.items() if not name.startswith((_NET, _RAW + _NET))} | raw


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    plain = {}
    for name, value in state.items():
        if name.endswith(f"{_FACTORS}0"):
            layer = name.removesuffix(f"{_FACTORS}0")
            directions = state[f"{layer}{_FACTORS}1"]
            lengths = torch.linalg.vector_norm(directions.flatten(1), dim=1).view_as(value)
            plain[f"{layer}.weight"] = directions * (value / lengths)
        elif _FACTORS not in name:
            plain[name] = value
    return plain


TRAINABLE = {kind: VOCODERS[kind] for kind in ("light", "hifigan", "bigvgan")}
MEL_SCALES = ("unit", "log")
_OPTIMISER = OptimiserConfig(betas=(0.8, 0.9), final=0.04)


@dataclass(frozen=True)
class AdversarialConfig:
    """Settings of the adversarial loss of a vocoder; the defaults are those of the light vocoder.

    HiFi-GAN has the discriminators ``hifigan`` with the losses ``least_squares``, BigVGAN with ``bigvgan`` by
    ``least_squares``, BigVSAN with ``bigvgan`` by ``san``. Its mel spectrograms are compared on a ``unit`` scale, that
    of the vocoder's input, or as published on a ``log`` scale, of the full band and without clipping.
    """

    discriminators: str = "light"
    rules: str = "hinge"
    scale_width: int | None = None  # of the discriminators of scales; None: as published
    mel_scale: str = "unit"

    def __post_init__(self) -> None:
        """Check every range."""
        checked_name("adversarial loss", self.rules, ADVERSARIAL_LOSSES)
        checked_name("mel scale", self.mel_scale, MEL_SCALES)
        DiscriminatorsConfig(self.discriminators, scale_width=self.scale_width)


class VocoderTraining(AdversarialTraining):
    """Spectral losses for ``n_spectral`` iterations, then also the adversarial loss; on random crops of real audio.

    With a tokenizer, a share of the clips is rendered from the mel reconstructed by the tokenizer, with the real
    wave as target, as in use.

    Args:
        vocoder: settings of the network, or those that differ from the defaults of its kind.
        mel: settings of the mel front end.
        n_steps: iterations; ``max_steps`` of the recipe is twice as many.
        n_spectral: iterations without discriminators.
        learning_rate: peak learning rate of generator and discriminator.
        n_warmup: iterations of linear warm-up.
        mel_weight: weight of the L1 distance of mel spectrograms.
        stft_weight: weight of the multi-resolution STFT loss.
        adversarial_weight: weight of the adversarial loss.
        feature_weight: weight of the feature-matching loss.
        periods: periods of the multi-period discriminator, in samples.
        period_widths: channels of its layers; None for those of the kind of discriminators.
        resolution_width: channels of the multi-resolution discriminator; None for those of the kind of discriminators.
        tokenizer_checkpoint: a trained tokenizer.
        reconstructed_share: share of clips whose mel is reconstructed by the tokenizer, in [0, 1].
        start_checkpoint: a trained vocoder to start from.
        kind: ``light``, ``hifigan`` or ``bigvgan``.
        adversarial: settings of discriminators and losses.
        optimiser: settings of both optimisers.
        normalised: whether the vocoder is trained with weight normalisation, which is not stored.
        compile: whether to compile the vocoder; its discriminators would not gain.
    """

    part, kind = "vocoder", "light"
    discriminator: WaveDiscriminator

    def __init__(
        self,
        vocoder: dict[str, Any] | LightVocoderConfig | HifiganConfig | BigvganConfig | None = None,
        mel: MelConfig = MelConfig(),
        n_steps: int = 100_000,
        n_spectral: int = 4_000,
        learning_rate: float = 5e-4,
        n_warmup: int = 200,
        mel_weight: float = 15.0,
        stft_weight: float = 1.0,
        adversarial_weight: float = 1.0,
        feature_weight: float = 2.0,
        periods: tuple[int, ...] = (2, 3, 5, 7, 11),
        period_widths: tuple[int, ...] | None = None,
        resolution_width: int | None = None,
        tokenizer_checkpoint: str | None = None,
        reconstructed_share: float = 0.5,
        start_checkpoint: str | None = None,
        kind: str = "light",
        adversarial: AdversarialConfig = AdversarialConfig(),
        optimiser: OptimiserConfig = _OPTIMISER,
        normalised: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__(mel, optimiser)
        check_within("[0, 1]", reconstructed_share=reconstructed_share)
        self.save_hyperparameters(ignore=["vocoder", "mel", "adversarial", "optimiser"])
        self.kind, self.rules, self.mel_scale = kind, ADVERSARIAL_LOSSES[adversarial.rules], adversarial.mel_scale
        self.net: Any = TRAINABLE[kind][1](config_of(TRAINABLE, kind, vocoder, self.part), mel)
        if start_checkpoint:
            self.net.load_state_dict(network_state(start_checkpoint, part=self.part))
        if normalised:
            normalise_weights(self.net)
        self.discriminator = WaveDiscriminator(
            DiscriminatorsConfig(
                adversarial.discriminators,
                periods,
                period_widths,
                adversarial.scale_width,
                resolution_width,
                self.rules.sliced,
            )
        )
        self.full_band = MelFrontEnd(replace(mel, f_max=mel.sample_rate / 2))
        self._frozen = (load_tokenizer(tokenizer_checkpoint),) if tokenizer_checkpoint else ()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the plain weights, for a bundle, beside normalised ones."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["state_dict"] = add_plain_weights(checkpoint["state_dict"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the normalised ones."""
        checkpoint["state_dict"] = remove_plain_weights(checkpoint["state_dict"])

    @torch.no_grad()
    def _given(self, mel: Tensor) -> Tensor:
        """Return the vocoder's input: the mel, for a share of clips as reconstructed by the tokenizer."""
        if not self._frozen:
            return mel
        chosen = torch.rand(len(mel), 1, 1, device=mel.device) < self.hparams["reconstructed_share"]
        return torch.where(chosen, self._frozen[0].decode(self._frozen[0].encode(mel)), mel)

    def _discriminator_loss(self, wave: Tensor, estimate: Tensor) -> Tensor:
        split = self.rules.sliced
        real, generated = self.discriminator(wave, split), self.discriminator(estimate.detach(), split)
        return self.rules.discriminators(real.logits, generated.logits)

    def _adversarial_loss(self, wave: Tensor, estimate: Tensor) -> Tensor:
        with self.frozen_discriminator():
            with torch.no_grad():
                real = self.discriminator(wave)
            generated = self.discriminator(estimate)
        adversarial = self.rules.generator(generated.logits)
        distance = self.rules.features(real, generated)
        self.log_dict({"adversarial": adversarial, "features": distance})
        return self.hparams["adversarial_weight"] * adversarial + self.hparams["feature_weight"] * distance

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Take one step of generator and discriminator on a batch of waves (b, t)."""
        own, wave = self.hparams, batch["wave"].float()
        estimate = self.net(self._given(self.mel_of(batch))).float()
        adversarial = self.n_iterations >= own["n_spectral"]
        discriminator_loss = self._discriminator_loss(wave, estimate) if adversarial else None
        self.discriminator_step(discriminator_loss, batch_idx)
        if self.rules.sliced:
            normalise_directions(self.discriminator)

        with torch.autocast(wave.device.type, enabled=False):
            transform = self.front_end if self.mel_scale == "unit" else self.full_band.log_mel
            mel_error = F.l1_loss(transform(estimate), transform(wave))
            loss = own["mel_weight"] * mel_error
            if own["stft_weight"]:
                loss = loss + own["stft_weight"] * stft_loss(estimate, wave)
        if adversarial:
            loss = loss + self._adversarial_loss(wave, estimate)
        self.generator_step(loss, batch_idx)
        figures = {"loss": loss, "mel": mel_error}
        self.log_dict(
            figures if discriminator_loss is None else figures | {"discriminator": discriminator_loss}, prog_bar=True
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the errors of a batch: of mel spectrograms on both scales, and of STFTs."""
        wave, mel = batch["wave"].float(), self.mel_of(batch)
        estimate = self.net(mel).float()
        with torch.autocast(wave.device.type, enabled=False):
            errors = {
                "valid_mel": F.l1_loss(self.front_end(estimate), mel),
                "valid_log_mel": F.l1_loss(self.full_band.log_mel(estimate), self.full_band.log_mel(wave)),
                "valid_stft": stft_loss(estimate, wave),
            }
        self.log_dict(errors, prog_bar=True, sync_dist=True)

"""Vocoders: mel spectrogram -> wave, all with the framing of HiFi-GAN."""

from masktools.networks.vocoder.hifigan import Bigvgan, BigvganConfig, Hifigan, HifiganConfig
from masktools.networks.vocoder.light import GriffinLim, GriffinLimConfig, LightVocoder, LightVocoderConfig

__all__ = [
    "VOCODERS", "Bigvgan", "BigvganConfig", "GriffinLim", "GriffinLimConfig", "Hifigan", "HifiganConfig",
    "LightVocoder", "LightVocoderConfig",
]  # fmt: skip

VOCODERS = {
    "light": (LightVocoderConfig, LightVocoder),
    "hifigan": (HifiganConfig, Hifigan),
    "bigvgan": (BigvganConfig, Bigvgan),
    "griffin_lim": (GriffinLimConfig, GriffinLim),
}

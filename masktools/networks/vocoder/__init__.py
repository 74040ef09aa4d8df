"""Vocoders: mel spectrogram -> wave, all with the framing of HiFi-GAN."""

from masktools.networks.vocoder.bigvgan import Bigvgan, BigvganConfig
from masktools.networks.vocoder.griffin_lim import GriffinLim, GriffinLimConfig
from masktools.networks.vocoder.hifigan import Hifigan, HifiganConfig
from masktools.networks.vocoder.light import LightVocoder, LightVocoderConfig

__all__ = [
    "VOCODERS",
    "Bigvgan",
    "BigvganConfig",
    "GriffinLim",
    "GriffinLimConfig",
    "Hifigan",
    "HifiganConfig",
    "LightVocoder",
    "LightVocoderConfig",
]

VOCODERS = {
    "light": (LightVocoderConfig, LightVocoder),
    "hifigan": (HifiganConfig, Hifigan),
    "bigvgan": (BigvganConfig, Bigvgan),
    "griffin_lim": (GriffinLimConfig, GriffinLim),
}

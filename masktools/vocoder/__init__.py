"""Vocoders: mel spectrogram -> wave, all with the framing of HiFi-GAN."""

from masktools.vocoder.bigvgan import Bigvgan, BigvganConfig
from masktools.vocoder.griffin_lim import GriffinLim, GriffinLimConfig
from masktools.vocoder.hifigan import Hifigan, HifiganConfig
from masktools.vocoder.light import LightVocoder, LightVocoderConfig

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

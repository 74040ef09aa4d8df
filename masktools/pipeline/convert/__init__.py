"""Importers of foreign checkpoints: SpecVQGAN, HiFi-GAN, BigVGAN, MAGNeT and ViT files -> modules of masktools.

Files are read as tensors only: a pickle that runs code is refused. Weight normalisation
is folded. Every name and every shape must fit; those that do not are listed.
"""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from masktools.core.errors import unknown_name
from masktools.mel import MelConfig
from masktools.pipeline.convert.magnet import MagnetParts, magnet_from
from masktools.pipeline.convert.mel_models import SPECVQGAN_MEL, bigvgan_from, hifigan_from, specvqgan_from, vit_from

__all__ = ["CONVERTERS", "SPECVQGAN_MEL", "MagnetParts", "convert_checkpoint", "magnet_from"]

CONVERTERS: dict[str, Callable[[Path, Path | None, MelConfig | None], nn.Module]] = {
    "specvqgan": specvqgan_from,
    "hifigan": hifigan_from,
    "bigvgan": bigvgan_from,
    "vit": vit_from,
}


def convert_checkpoint(
    kind: str, path: str | Path, config_path: str | Path | None = None, mel_config: MelConfig | None = None
) -> nn.Module:
    """Return the module for a foreign checkpoint, in evaluation mode and single precision.

    Args:
        kind: ``specvqgan``, ``hifigan``, ``bigvgan`` or ``vit``.
        path: a .safetensors file, or a torch file with any other suffix.
        config_path: the config.json of a vocoder; by default the one beside the checkpoint.
        mel_config: mel settings that the module must have; by default a vocoder keeps its own.

    Raises:
        CheckpointError: a file is missing, unsafe, damaged, or does not fit.
        MelMismatchError: the mel settings are not those of ``mel_config`` or of the weights.
        ParameterError: ``kind`` is unknown, or ``specvqgan`` or ``vit`` is given a config.json.
    """
    if kind not in CONVERTERS:
        raise unknown_name("kind of checkpoint", kind, CONVERTERS)
    return CONVERTERS[kind](Path(path), None if config_path is None else Path(config_path), mel_config).eval()

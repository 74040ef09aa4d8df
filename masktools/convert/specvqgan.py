"""SpecVQGAN's checkpoints: Lightning files, stripped or not, whose sizes are read from the weights."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from masktools.convert.weights import fill, read_weights
from masktools.errors import CheckpointError, ParameterError
from masktools.mel import MelConfig
from masktools.tokenizer import SpecVqgan, SpecVqganConfig

__all__ = ["SPECVQGAN_MEL", "specvqgan_from"]

# Differs: upstream's frames are centred, ours are HiFi-GAN's; all else of its front end is said here.
SPECVQGAN_MEL = MelConfig(f_min=125.0, f_max=7600.0)

_TRAINING_ONLY = ("loss.", "discriminator.")


def specvqgan_from(path: Path, config_path: Path | None, mel_config: MelConfig | None) -> SpecVqgan:
    """Return the tokenizer of a SpecVQGAN checkpoint; its losses and discriminator are left behind.

    Raises:
        CheckpointError: if the file is not a whole SpecVQGAN of five levels.
        ParameterError: if a config file is given.
    """
    if config_path is not None:
        raise ParameterError(f"a specvqgan checkpoint must come without a config file, got {config_path}")
    named = read_weights(path, "state_dict").items()
    weights = {name: value for name, value in named if not name.startswith(_TRAINING_ONLY)}
    try:
        config = _config_of(weights, (mel_config or SPECVQGAN_MEL).n_mels)
    except KeyError as error:
        raise CheckpointError(f"{path} must be a SpecVQGAN, but it has no {error.args[0]}") from error
    except (ValueError, IndexError) as error:
        raise CheckpointError(f"{path} must be a SpecVQGAN of five levels: {error}") from error
    module = SpecVqgan(config)
    fill(module, weights, path)
    return module


def _config_of(weights: Mapping[str, Tensor], n_mels: int) -> SpecVqganConfig:
    """Return the settings that the shapes tell; the groups of the norms are always upstream's 32."""
    channels = weights["encoder.conv_in.weight"].shape[0]
    n_codes, code_dim = weights["quantize.embedding.weight"].shape
    levels = range(_count(weights, "encoder.down."))
    widths = [weights[f"encoder.down.{level}.block.0.conv2.weight"].shape[0] for level in levels]
    return SpecVqganConfig(
        n_mels=n_mels,
        n_codes=n_codes,
        code_dim=code_dim,
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        n_blocks=_count(weights, "encoder.down.0.block."),
        latent_channels=weights["encoder.conv_out.weight"].shape[0],
        attention_levels=tuple(level for level in levels if _count(weights, f"encoder.down.{level}.attn.")),
        codebook="gradient",
    )


def _count(weights: Mapping[str, Tensor], prefix: str) -> int:
    """Return how many parts follow a prefix, counted by their numbers."""
    return len({name.removeprefix(prefix).split(".")[0] for name in weights if name.startswith(prefix)})

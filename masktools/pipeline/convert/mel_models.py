"""Checkpoints of SpecVQGAN, HiFi-GAN, BigVGAN and vision transformers; sizes from weights or settings files."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from masktools.core.configs import parse_json
from masktools.core.errors import CheckpointError, MelMismatchError, ParameterError
from masktools.mel import MelConfig, differing_fields
from masktools.networks.tokenizer import SpecVqgan, SpecVqganConfig
from masktools.networks.transformer import MaskedTransformer, TransformerConfig
from masktools.networks.vocoder import Bigvgan, BigvganConfig, Hifigan, HifiganConfig
from masktools.networks.weights import fill, fold_weight_norm, read_weights, restricted_load

_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.]+)\}")
_MISSING = "???"  # placeholder for a missing value in a configuration
_MAX_DEPTH = 8  # depth of references to references


def read_exported(path: Path) -> dict[str, Any]:
    """Read an exported file: weights, settings as a text, and their kind; no code is run.

    Raises:
        CheckpointError: it is missing, damaged, or holds Python objects.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} must be an exported checkpoint, but there is no such file")
    content = restricted_load(path, remedy="Take the exported file that is published, or export it anew")
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} must hold named entries, got {type(content).__name__}")
    return dict(content)


def count_parts(names: Iterable[str], prefix: str) -> int:
    """Return the number of numbered modules with a prefix."""
    return len({name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)})


def yaml_settings(text: Any, path: Path) -> "ForeignSettings":
    """Parse the settings in a YAML text of an exported file.

    Raises:
        CheckpointError: invalid YAML, or the package pyyaml is missing.
    """
    if not isinstance(text, str):
        raise CheckpointError(f"{path} must have its settings as a text in 'xp.cfg', got {type(text).__name__}")
    try:
        import yaml
    except ImportError as error:
        raise CheckpointError("settings of audiocraft need pyyaml: pip install 'masktools[streams]'") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CheckpointError(f"{path} must have its settings as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must have named settings in 'xp.cfg', got {type(content).__name__}")
    return ForeignSettings(content, path)


def json_settings(path: Path) -> "ForeignSettings":
    """Read the settings in a config.json.

    Raises:
        CheckpointError: there is none, or it is no JSON.
    """
    if not path.is_file():
        raise CheckpointError(f"the config.json of the checkpoint must be given, but there is no file {path}")
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} must be JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return ForeignSettings(content, path)


class ForeignSettings:
    """Settings of another project, read with their types checked."""

    def __init__(self, content: dict[str, Any], path: Path) -> None:
        self._content, self.path = content, path

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value at a key such as ``rvq.n_q``, or the default.

        Raises:
            CheckpointError: it refers to a missing value.
        """
        value: Any = self._content
        for name in key.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return default
            value = value[name]
        value = self._followed(value, key)
        return default if value is None or value == _MISSING else value

    def _followed(self, value: Any, key: str) -> Any:
        for _ in range(_MAX_DEPTH):
            found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if found is None:
                return value
            value = self._content
            for name in found[1].split("."):
                if not isinstance(value, Mapping) or name not in value:
                    raise CheckpointError(f"{self.path}: {key} refers to {found[1]}, which there is not")
                value = value[name]
        raise CheckpointError(f"{self.path}: {key} refers to itself")

    def read(self, key: str, kind: type, default: Any = None) -> Any:
        """Return a value of a given type; an integer is accepted as a float.

        Raises:
            CheckpointError: it is missing, or of another type.
        """
        value = self.get(key, default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            got = "none" if value is None else repr(value)
            raise CheckpointError(f"{self.path} must have {key!r} of type {kind.__name__}, got {got}")
        return value

    def whole_numbers(self, key: str, default: list[int] | None = None) -> tuple[int, ...]:
        """Return a list of integers.

        Raises:
            CheckpointError: it is missing, or of another type.
        """
        return self._whole(key, self.get(key, default))

    def lists(self, key: str) -> tuple[tuple[int, ...], ...]:
        """Return a list of lists of integers.

        Raises:
            CheckpointError: it is missing, or of another type.
        """
        return tuple(self._whole(key, inner) for inner in self.read(key, list))

    def _whole(self, key: str, values: Any) -> tuple[int, ...]:
        if not isinstance(values, list) or not values or not all(type(value) is int for value in values):
            raise CheckpointError(f"{self.path} must have whole numbers in {key!r}, got {values!r}")
        return tuple(values)

    def refuse(self, key: str, *accepted: Any) -> None:
        """Raise where a setting has a value that the network does not support.

        Raises:
            CheckpointError: it is given.
        """
        value = self.get(key)
        if value is not None and value not in accepted:
            wanted = " or ".join(map(repr, accepted))
            raise CheckpointError(f"{self.path}: {key} must be {wanted} for a network of this kind, got {value!r}")

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Report a parameter out of its range as an error of this file."""
        try:
            yield
        except ParameterError as error:
            raise CheckpointError(f"{self.path} describes what cannot be built: {error}") from error


# Differs: upstream's frames are centred, ours are framed as in HiFi-GAN; the rest of its front end is set here.
SPECVQGAN_MEL = MelConfig(f_min=125.0, f_max=7600.0)

_TRAINING_ONLY = ("loss.", "discriminator.")


def specvqgan_from(path: Path, config_path: Path | None, mel_config: MelConfig | None) -> SpecVqgan:
    """Build the tokenizer of a SpecVQGAN checkpoint; its losses and discriminator are dropped.

    Raises:
        CheckpointError: the file is not a whole SpecVQGAN of five levels.
        ParameterError: a config file is given.
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
    """Derive the settings from shapes; the groups of the norms are always upstream's 32."""
    channels = weights["encoder.conv_in.weight"].shape[0]
    n_codes, code_dim = weights["quantize.embedding.weight"].shape
    levels = range(count_parts(weights, "encoder.down."))
    widths = [weights[f"encoder.down.{level}.block.0.conv2.weight"].shape[0] for level in levels]
    return SpecVqganConfig(
        n_mels=n_mels,
        n_codes=n_codes,
        code_dim=code_dim,
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        n_blocks=count_parts(weights, "encoder.down.0.block."),
        latent_channels=weights["encoder.conv_out.weight"].shape[0],
        attention_levels=tuple(level for level in levels if count_parts(weights, f"encoder.down.{level}.attn.")),
        codebook="gradient",
    )


_MEL_NAMES = {  # ours -> theirs
    "sample_rate": "sampling_rate",
    "n_fft": "n_fft",
    "hop_length": "hop_size",
    "win_length": "win_size",
    "n_mels": "num_mels",
}
_FLOOR_DB = -100.0  # the logarithm of 1e-5, at which both projects clip the mel magnitude
_FILTERS = (".upsample.filter", ".downsample.lowpass.filter")


def hifigan_from(path: Path, config_path: Path | None, mel_config: MelConfig | None) -> Hifigan:
    """Build the generator of a HiFi-GAN checkpoint and its config.json.

    Raises:
        CheckpointError: a file is missing or damaged, or they do not belong together.
        MelMismatchError: the mel settings are not those of ``mel_config`` or of the weights.
    """
    settings = json_settings(config_path or path.parent / "config.json")
    weights = fold_weight_norm(read_weights(path, "generator"))
    mel = _mel_of(settings, weights, mel_config)
    with settings.blamed():
        module = Hifigan(HifiganConfig(**_skeleton(settings)), mel)
    fill(module, weights, path)
    return module


def bigvgan_from(path: Path, config_path: Path | None, mel_config: MelConfig | None) -> Bigvgan:
    """Build the generator of a BigVGAN checkpoint, of version 1 or 2, and its config.json.

    Raises:
        CheckpointError: a file is missing or damaged, or they do not belong together.
        MelMismatchError: the mel settings are not those of ``mel_config`` or of the weights.
    """
    settings = json_settings(config_path or path.parent / "config.json")
    weights = fold_weight_norm(read_weights(path, "generator"))
    mel = _mel_of(settings, weights, mel_config)
    with settings.blamed():
        config = BigvganConfig(
            **_skeleton(settings),
            activation=settings.read("activation", str),
            log_scale=settings.read("snake_logscale", bool),
            end="tanh" if settings.read("use_tanh_at_final", bool, True) else "clamp",
            last_bias=settings.read("use_bias_at_final", bool, True),
        )
        module = Bigvgan(config, mel)
    fill(module, _without_filters(weights, module.activation_post.filter, path), path)
    return module


def _without_filters(weights: Mapping[str, Tensor], ours: Tensor, path: Path) -> dict[str, Tensor]:
    """Return the weights without the filters around the activations, which must equal ours."""
    for name in (name for name in weights if name.endswith(_FILTERS)):
        theirs = weights[name].flatten().float()
        if theirs.shape != ours.shape or not torch.allclose(theirs, ours, atol=1e-3):
            raise CheckpointError(
                f"{path} must have BigVGAN's filter of {len(ours)} taps around its activations, "
                f"got another one in {name}"
            )
    return {name: value for name, value in weights.items() if not name.endswith(_FILTERS)}


def _skeleton(settings: ForeignSettings) -> dict[str, Any]:
    """Return the arguments that both generators share."""
    kind = str(settings.get("resblock"))
    if kind not in ("1", "2"):
        raise CheckpointError(f"{settings.path} must have 'resblock' '1' or '2', got {kind!r}")
    return {
        "channels": settings.read("upsample_initial_channel", int),
        "upsample_rates": settings.whole_numbers("upsample_rates"),
        "upsample_kernels": settings.whole_numbers("upsample_kernel_sizes"),
        "block_kind": int(kind),
        "block_kernels": settings.whole_numbers("resblock_kernel_sizes"),
        "block_dilations": settings.lists("resblock_dilation_sizes"),
        "floor_db": _FLOOR_DB,
    }


def _mel_of(settings: ForeignSettings, weights: Mapping[str, Tensor], wanted: MelConfig | None) -> MelConfig:
    """Return the mel settings in a config.json; floor and decibel range, which it lacks, are ours."""
    told = {ours: settings.read(theirs, int) for ours, theirs in _MEL_NAMES.items()}
    told["f_min"] = settings.read("fmin", float)
    nyquist = told["sample_rate"] / 2
    told["f_max"] = nyquist if settings.get("fmax") is None else settings.read("fmax", float)
    with settings.blamed():
        mel = replace(wanted or MelConfig(), **told)
    first = weights.get("conv_pre.weight")
    if first is not None and first.ndim == 3 and first.shape[1] != mel.n_mels:
        raise MelMismatchError(
            f"num_mels must be that of the weights, got {mel.n_mels} in {settings.path} "
            f"and {first.shape[1]} in conv_pre.weight"
        )
    differing = differing_fields(wanted, mel) if wanted is not None else {}
    if differing:
        listed = ", ".join(f"{name} {ours:g} (not {theirs:g})" for name, (ours, theirs) in differing.items())
        raise MelMismatchError(f"the vocoder of {settings.path} must be made for {listed}")
    return mel


_HEAD_WIDTH = 64  # of every published vision transformer; it cannot be derived from the weights
_VIT_KEPT = ("blocks.", "norm.")


def vit_from(path: Path, config_path: Path | None, mel_config: MelConfig | None) -> MaskedTransformer:
    """Build a masked transformer with the blocks of a vision transformer in timm's layout, such as AudioMAE.

    Blocks and the last norm are taken over; depth, width and heads follow from them. Embeddings, positions and the head
    are those of other patches, and are initialised at random: for training from it (``start_checkpoint``).

    Raises:
        CheckpointError: the file holds no such blocks, or incomplete ones.
        ParameterError: a config file is given.

    Source: Masked Autoencoders that Listen (arXiv:2207.06405), its released checkpoints.
    """
    if config_path is not None:
        raise ParameterError(f"a vit checkpoint must come without a config file, got {config_path}")
    named = {name.removeprefix("module."): value for name, value in read_weights(path, "model").items()}
    kept = {name.removeprefix("fc_"): value for name, value in named.items()}  # of fine-tuned models
    kept = {name: value for name, value in kept.items() if name.startswith(_VIT_KEPT)}
    depth, first = count_parts(kept, "blocks."), kept.get("blocks.0.mlp.fc1.weight")
    if not depth or first is None or first.ndim != 2 or first.shape[1] % _HEAD_WIDTH:
        raise CheckpointError(
            f"{path} must be a vision transformer in timm's layout, with blocks.0.mlp.fc1.weight over a width that is "
            f"a multiple of {_HEAD_WIDTH}, got the entries {', '.join(sorted(named)[:4]) or 'none'}"
        )
    hidden, width = first.shape
    n_rows = (mel_config or MelConfig()).n_mels // 16
    sizes = {"depth": depth, "width": width, "n_heads": width // _HEAD_WIDTH, "mlp_ratio": hidden / width}
    module = MaskedTransformer(TransformerConfig(n_rows=n_rows, **sizes))
    fill(module, {**module.state_dict(), **kept}, path)
    return module

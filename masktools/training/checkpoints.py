"""Checkpoints of training runs: a checkpoint of the last step, and loading of parts."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from masktools.core import configs
from masktools.core.errors import CheckpointError, ParameterError
from masktools.mel import MelConfig
from masktools.networks.conditioning import ClapEncoder
from masktools.networks.conditioning.joint import JointEncoder, JointEncoderConfig
from masktools.networks.tokenizer import CODECS, TOKENIZERS, LocalTokenizer, SpecVqgan
from masktools.networks.vocoder import VOCODERS
from masktools.pipeline import bundles


class LastStep(pl.Callback):
    """Writes interval checkpoints once more at the end of a run, unless they are of its last step.

    It must come after the checkpoint callbacks. Checkpoints kept by a figure are not changed.
    """

    def __init__(self) -> None:
        self._saved_at = 0

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Record the step of a checkpoint."""
        self._saved_at = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the last step of the run."""
        if trainer.global_step == trainer.max_steps:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where a run ends by its epochs, its time, or early stopping."""
        if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if self._saved_at == trainer.global_step:
            return
        for kept in trainer.checkpoint_callbacks:
            if isinstance(kept, ModelCheckpoint) and kept.monitor is None and kept.save_top_k:
                step, epoch = trainer.global_step, trainer.current_epoch
                path = kept.format_checkpoint_name({"step": torch.tensor(step), "epoch": torch.tensor(epoch)})
                trainer.save_checkpoint(path, kept.save_weights_only)
                kept.best_model_path = path  # the newest, where there is no best one


CLAP = "clap"
_NET = "net."  # prefix of the names of a network's weights
_CUT_OFF = "was it written by `masktools train` or `masktools convert`?"


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    checkpoint = Path(path)
    if not checkpoint.is_file():
        raise CheckpointError(f"no training checkpoint at {checkpoint}")
    try:
        return torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{checkpoint} is not a readable training checkpoint: {error}") from error


def _stored(source: str | os.PathLike[str], part: str | None) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """Return the description of a part in a source, None without one, and the weights of its network."""
    if part is not None and bundles.is_bundle(source):
        return bundles.stored_part(source, part)
    if Path(source).suffix == ".safetensors" and Path(source).is_file():  # of `masktools convert`
        try:
            with safe_open(source, framework="pt") as stored:
                told = (stored.metadata() or {}).get("masktools")
            return None if told is None else configs.parse_json(told), load_file(source)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{source} is not readable ({error}): it was altered, or cut off") from error
    checkpoint = _read(source)
    state = checkpoint.get("state_dict", {})
    weights = {name.removeprefix(_NET): value for name, value in state.items() if name.startswith(_NET)}
    return checkpoint.get("masktools"), weights


def network_state(source: str | os.PathLike[str], part: str | None = None) -> dict[str, Tensor]:
    """Return the weights of a trained network: of a training checkpoint the averaged ones, if it has any.

    Args:
        source: a training checkpoint, a file of `masktools convert`, or with ``part`` a bundle.
        part: name of the part in a bundle.

    Raises:
        CheckpointError: there is no such file, or it holds no network.
        BundleError: a bundle that is incomplete or altered, or lacks the part.
    """
    _, weights = _stored(source, part)
    if not weights:
        raise CheckpointError(f"{source} holds no weights under {_NET!r}: {_CUT_OFF}")
    return weights


def part_description(source: str | os.PathLike[str], part: str | None = None) -> dict[str, Any]:
    """Return the description of the part in a training checkpoint: its ``part``, ``kind``, ``config`` and ``mel``.

    Files of `masktools convert` have the same, and with ``part``, so have bundles.

    Raises:
        CheckpointError: there is no such file, or it has no description.
        BundleError: a bundle that is incomplete or altered, or lacks the part.
    """
    return _described(source, _stored(source, part)[0])


def _described(source: str | os.PathLike[str], told: dict[str, Any] | None) -> dict[str, Any]:
    if told is None:
        raise CheckpointError(f"{source} does not say which part it holds: {_CUT_OFF}")
    return told


def load_part(source: str | os.PathLike[str], part: str, kinds: Mapping[str, tuple[type, type]]) -> Any:
    """Load the frozen part of a checkpoint or a bundle, with the settings of its training.

    Args:
        source: a training checkpoint, a file of `masktools convert`, or a bundle.
        part: its name in a bundle.
        kinds: kind -> (class of its settings, class of its network); a vocoder also takes mel settings.

    Raises:
        CheckpointError: there is no such file, or it holds no such part.
        BundleError: a bundle that is incomplete or altered, or lacks the part.
    """
    told, weights = _stored(source, part)
    description = _described(source, told)
    if description.get("part") != part or description.get("kind") not in kinds:
        held = f"{description.get('part')} of the kind {description.get('kind')}"
        raise CheckpointError(f"{source} must hold a {part} of the kind {' or '.join(kinds)}, got a {held}")
    config_class, network_class = kinds[description["kind"]]
    mel = (configs.from_dict(MelConfig, description["mel"]),) if part == "vocoder" else ()
    module: nn.Module = network_class(configs.from_dict(config_class, description["config"]), *mel)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{source} must hold the weights of the part that it describes: {error}") from error
    return module.eval().requires_grad_(False)


def load_joint_encoder(source: str) -> JointEncoder:
    """Load the text-audio encoder of a training checkpoint, of a bundle, or of a folder of earlier versions.

    Raises:
        ParameterError: a folder without an encoder.
        CheckpointError: there is no such file, or it holds no text-audio encoder.
        BundleError: a bundle that is incomplete or altered, or has none.
    """
    if bundles.is_bundle(source) or Path(source).is_file():
        return load_part(source, "conditioner", {"joint": (JointEncoderConfig, JointEncoder)})
    settings = Path(source, "conditioner.json")
    if not settings.is_file():
        raise ParameterError(f"no text-audio encoder in {source}: give its checkpoint, or a bundle that has one")
    encoder = JointEncoder(configs.from_dict(JointEncoderConfig, configs.read_json(settings)))
    stored = load_file(Path(source, "conditioner.safetensors"))
    encoder.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in stored.items()})
    return encoder.eval().requires_grad_(False)


def load_conditioner(source: str) -> JointEncoder | ClapEncoder:
    """Load the conditioner: CLAP from its file or by the word "clap", else a text-audio encoder.

    Raises:
        ParameterError: a folder without an encoder.
        CheckpointError: CLAP's checkpoint is missing, or a file cannot be read.
        BundleError: a bundle that is incomplete or altered, or has no text-audio encoder.
    """
    if source == CLAP:
        return ClapEncoder.from_checkpoint()
    if Path(source).is_file() and Path(source).suffix not in (".ckpt", ".safetensors"):  # suffixes of our own files
        return ClapEncoder.from_checkpoint(source)
    return load_joint_encoder(source)


def load_tokenizer(source: str | os.PathLike[str]) -> LocalTokenizer | SpecVqgan:
    """Load the frozen tokenizer of a checkpoint or a bundle, of any kind; errors are those of ``load_part``."""
    return load_part(source, "tokenizer", TOKENIZERS)


def load_codec(source: str | os.PathLike[str]) -> Any:
    """Load the frozen codec of a checkpoint or a bundle, of any kind; errors are those of ``load_part``."""
    return load_part(source, "codec", CODECS)


def token_part(source: str | os.PathLike[str]) -> str:
    """Return the name of the part of a checkpoint or a bundle that makes tokens: ``tokenizer`` or ``codec``.

    Raises:
        CheckpointError: there is no such file, or it has no description.
        BundleError: a bundle that is incomplete.
    """
    if bundles.is_bundle(source):
        return "codec" if "codec" in bundles.read_config(bundles.find_bundle(source)) else "tokenizer"
    return "codec" if part_description(source).get("part") == "codec" else "tokenizer"


def load_mel_coder(source: str | os.PathLike[str]) -> Any:
    """Load the frozen tokenizer, or the codec over mel spectrograms, of a checkpoint or a bundle.

    Raises:
        ParameterError: a codec over waves.
        CheckpointError: see ``load_part``.
        BundleError: see ``load_part``.
    """
    made = load_codec(source) if token_part(source) == "codec" else load_tokenizer(source)
    if getattr(made, "reads_waves", False):
        raise ParameterError(f"{source} must hold a tokenizer or a codec over mel spectrograms, its codec is of waves")
    return made


def load_vocoder(source: str | os.PathLike[str]) -> nn.Module:
    """Load the frozen vocoder of a checkpoint or a bundle, with its mel settings in ``mel_config``.

    Errors are those of ``load_part``.
    """
    return load_part(source, "vocoder", VOCODERS)

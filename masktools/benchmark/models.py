"""Models and settings of a benchmark: published sizes with random weights, and a synthetic clip."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from masktools.benchmark.measurements import SUBJECTS
from masktools.core import arguments, configs, runtime
from masktools.core.errors import ParameterError
from masktools.core.shapes import Condition
from masktools.mel import MelConfig
from masktools.model import Model
from masktools.networks.tokenizer import LocalTokenizerConfig, SpecVqganConfig
from masktools.networks.transformer import TransformerConfig
from masktools.networks.vocoder import BigvganConfig, GriffinLimConfig, HifiganConfig, LightVocoderConfig
from masktools.pipeline import Pipeline, hub
from masktools.solver import SolverConfig


@dataclass(frozen=True)
class Size:
    """Settings of all parts of a model; kinds are those of bundles."""

    mel: MelConfig
    tokenizer: tuple[str, Any]  # kind, settings
    transformer: TransformerConfig
    vocoders: Mapping[str, Any]  # kind -> settings


_FULL_BAND = MelConfig(f_max=11_025.0)

SIZES: Mapping[str, Size] = MappingProxyType(
    {
        # The paper's transformer and tokenizer; its vocoder, and a light one of the size that Vocos was published in.
        "paper": Size(
            MelConfig(),
            ("specvqgan", SpecVqganConfig()),
            TransformerConfig(),
            {
                "light": LightVocoderConfig(width=512, depth=8, mlp_ratio=3.0),
                "hifigan": HifiganConfig(),
                "bigvgan": BigvganConfig(),
                "griffin_lim": GriffinLimConfig(),
            },
        ),
        # The bundled model's.
        "mini": Size(
            _FULL_BAND,
            ("local", LocalTokenizerConfig(widths=(48, 128, 320), n_deep_blocks=1)),
            TransformerConfig(width=192, depth=16, n_heads=3, condition_dim=128),
            {
                "light": LightVocoderConfig(n_phase_rounds=16, n_corrections=8),
                "hifigan": HifiganConfig(channels=128),
                "griffin_lim": GriffinLimConfig(),
            },
        ),
        # For tests of the benchmark itself.
        "tiny": Size(
            _FULL_BAND,
            ("local", LocalTokenizerConfig(n_codes=16, code_dim=8, widths=(8, 8, 16))),
            TransformerConfig(n_codes=16, n_cols=16, width=32, depth=2, n_heads=2, condition_dim=8),
            {"light": LightVocoderConfig(width=16, depth=1)},
        ),
    }
)
"""Sizes by name. Source: SpecMaskGIT (arXiv:2406.17672), section 4.1; Vocos (arXiv:2306.00814), section 4."""


JOB_NAMES = ("generate", "inpaint", "bwe", "embed")


@dataclass(frozen=True)
class Variant:
    """One variant of a job: precision, threads, batch, steps and preset."""

    precision: str = "auto"
    batch: int = 1
    steps: int | None = None  # None: the model's own, or the preset's
    threads: int | None = None
    preset: str | None = None


@dataclass(frozen=True)
class RunSettings:
    """Settings of a benchmark: subjects, model, and variants."""

    subjects: tuple[str, ...]
    model: str = "mini"  # a name at hand, or a bundle's folder
    size: str | None = None  # random weights of a published size instead
    vocoder: str = "light"  # of the model with random weights
    device: str = "auto"
    precisions: tuple[str, ...] = ("auto",)
    batches: tuple[int, ...] = (1,)
    steps: tuple[int | None, ...] = (None,)
    threads: tuple[int | None, ...] = (None,)
    presets: tuple[str | None, ...] = (None,)
    jobs: tuple[str, ...] = ("generate", "inpaint", "bwe", "embed")
    peers: tuple[str, ...] = ("audioldm-s", "magnet-small")
    peer_sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # deviations from the published sizes
    grid: bool = False
    compiled: bool = False  # whether the transformer is compiled
    repeats: int = 3
    seed: int = 0
    ceiling_s: float = 0.4  # for each matrix product
    command: str = ""  # the command line of this run

    def __post_init__(self) -> None:
        """Check the names, and that no axis is empty."""
        if not self.subjects or not self.precisions or self.repeats < 1:
            raise ParameterError(
                "a benchmark needs a subject, a precision and a repeat, "
                f"got {self.subjects}, {self.precisions} and {self.repeats}"
            )
        for axis in ("batches", "steps", "threads", "presets", "jobs"):
            if not getattr(self, axis):
                raise ParameterError(f"{axis} must have at least one value, got none")
        for job in self.jobs:
            arguments.checked_name("job", job, JOB_NAMES)
        for subject in self.subjects:
            arguments.checked_name("subject", subject, SUBJECTS)

    def solver(self, pipeline: Pipeline, job: str = "generate") -> SolverConfig:
        """Return the decoding settings of a subject for a job: the model's, or the first preset and number of steps."""
        return Model(pipeline).solver(job, self.presets[0], self.steps[0])

    def variants(self, job: str) -> tuple[Variant, ...]:
        """Return the variants of a job, the baseline first; axes that do not apply to it keep one value."""
        axes: dict[str, Sequence[Any]] = {
            "precision": self.precisions,
            "batch": self.batches if job in ("generate", "embed") else (1,),  # the others take one recording
            "steps": (None,) if job == "embed" else self.steps,
            "threads": self.threads,
            "preset": (None,) if job == "embed" else self.presets,
        }
        first = Variant(**{axis: values[0] for axis, values in axes.items()})
        if self.grid:
            found = [Variant(**dict(zip(axes, values, strict=True))) for values in product(*axes.values())]
        else:
            found = [replace(first, **{axis: value}) for axis, values in axes.items() for value in values]
        return tuple(dict.fromkeys((first, *found)))


def random_pipeline(
    size: str = "paper",
    vocoder: str = "light",
    device: torch.device | str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    seed: int = 0,
    compile: bool = False,
) -> Pipeline:
    """Return a model of a published size with random weights, for timing; its output is noise.

    It has no conditioner: ``random_condition`` gives embeddings instead of texts.

    Args:
        size: a name in ``SIZES``.
        vocoder: kind of vocoder, of those of the size: ``light``; ``hifigan``, in ``paper`` its V1.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16, fp16 or int8.
        batch_size: clips computed at once; by default 8 on a CPU, and as many as fit on a GPU.
        seed: random seed of the weights.
        compile: whether the transformer is compiled.

    Raises:
        ParameterError: an unknown name, or int8 together with compilation.
        DeviceError: a device, a precision or a compiler that this machine does not support.
    """
    place = runtime.resolve_device(device)
    number_type = runtime.resolve_precision(precision, place)
    if compile and number_type == torch.int8:
        raise ParameterError("a model must be either in int8 or compiled, got both")
    chosen = _size(size, vocoder)
    plain = {"transformer"} if compile and place.type == "cpu" else set[str]()  # not packed
    parts: dict[str, Any] = {}
    for part, (kind, config) in _kinds(chosen, vocoder).items():
        weights = _random_part(part, kind, config, chosen.mel, seed).state_dict()
        packed_for = None if part in plain else number_type
        parts[part] = hub.make_part(part, kind, configs.to_dict(config), chosen.mel, weights, packed_for, place)
    pipeline = Pipeline(
        chosen.mel,
        **parts,
        name=_name(size, vocoder),
        device=place,
        precision=number_type,
        batch_size=batch_size or runtime.fitting_batch_size(place),
    )
    if compile:
        pipeline.compile()
    return pipeline


def write_random_bundle(size: str, folder: str | os.PathLike[str], vocoder: str = "light", seed: int = 0) -> Path:
    """Write the weights of ``random_pipeline`` as a bundle, which is loaded like any other, and return its folder.

    Args:
        size: a name in ``SIZES``.
        folder: path of the bundle; it must not exist yet.
        vocoder: kind of vocoder, of those of the size.
        seed: random seed of the weights.

    Raises:
        ParameterError: an unknown name, or a folder that exists.
    """
    chosen = _size(size, vocoder)
    parts: dict[str, Any] = {
        part: _random_part(part, kind, config, chosen.mel, seed)
        for part, (kind, config) in _kinds(chosen, vocoder).items()
    }
    pipeline = Pipeline(chosen.mel, **parts, name=_name(size, vocoder))
    card = "Random weights, for timing: what this model makes is noise."
    return hub.save_bundle(pipeline, folder, card, pipeline.name)


def _size(size: str, vocoder: str) -> Size:
    arguments.checked_name("size", size, SIZES)
    arguments.checked_name("vocoder", vocoder, SIZES[size].vocoders)
    return SIZES[size]


def _name(size: str, vocoder: str) -> str:
    return f"{size} size, random weights, {vocoder} vocoder"


def _kinds(size: Size, vocoder: str) -> dict[str, tuple[str, Any]]:
    """Return the kind and the settings of each part."""
    return {
        "tokenizer": size.tokenizer,
        "transformer": ("masked", size.transformer),
        "vocoder": (vocoder, size.vocoders[vocoder]),
    }


def _random_part(part: str, kind: str, config: Any, mel: MelConfig, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return hub.build_part(part, kind, configs.to_dict(config), mel)


def random_condition(pipeline: Pipeline, n: int, seed: int = 0) -> Condition:
    """Return n random unit vectors as conditions, on the CPU: the same for every device."""
    generator = torch.Generator().manual_seed(seed)
    vectors: Tensor = torch.randn(n, pipeline.transformer.config.condition_dim, generator=generator)
    return torch.nn.functional.normalize(vectors, dim=1)


_NOTES_HZ = (220.0, 277.2, 329.6, 440.0, 329.6, 277.2)
_NOTE_S = 0.4


def synthetic_clip(seconds: float, sample_rate: int, n_channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return plucked notes with overtones over soft bursts of noise, (n_channels, t) float32, peaks near 0.5.

    Args:
        seconds: length in seconds.
        sample_rate: sampling rate in Hz.
        n_channels: number of channels, each with noise of its own.
        seed: random seed of the noise.
    """
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    number = (time_s // _NOTE_S).astype(int)
    since_s = time_s - number * _NOTE_S
    pitch_hz = np.asarray(_NOTES_HZ)[number % len(_NOTES_HZ)]
    overtones = np.arange(1, 13)
    audible = overtones[:, None] * pitch_hz < sample_rate / 2
    partials = np.sin(2 * np.pi * overtones[:, None] * pitch_hz * since_s) * audible
    fading = np.exp(-since_s * (3.0 + overtones[:, None])) / overtones[:, None]
    notes = (partials * fading).sum(axis=0) * np.minimum(1.0, since_s / 0.005)
    bursts = np.exp(-(time_s % 0.8) * 20.0) * rng.standard_normal((n_channels, len(time_s)))
    mixed = 0.25 * notes + 0.05 * bursts
    return (0.5 * mixed / max(1e-9, float(np.abs(mixed).max()))).astype(np.float32)

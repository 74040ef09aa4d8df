"""Bundles: a model as a folder of JSON and safetensors, written as a whole and read only if its checksums are right.

- config.json: format, from format 2 on the family (in format 1 the model type of transformers), name, mel
  settings, for each part its kind and its settings, for the transformer the fingerprint of the tokenizer or codec
  of its tokens, and, where they differ from the paper's, the model's own decoding settings by job
- <part>.safetensors: the weights of each part, fp16, except for those that must not be rounded, and matrices that
  are stored in int8, with a scale per row
- levels.safetensors: expected levels of the bands above the model's (``core.levels``); optional
- MODEL_CARD.md: description of the model, below a head of YAML for the Hugging Face hub (``pipeline.bundles``)
- checksums.json: SHA-256 of every other file
"""

import json
import os
import secrets
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from masktools.core.arguments import checked_name, shown
from masktools.core.configs import from_dict, to_dict, to_plain
from masktools.core.errors import BundleError, ParameterError, unknown_name
from masktools.core.levels import LevelMixture, read_levels
from masktools.core.runtime import fitting_batch_size, resolve_device, resolve_precision, single_precision
from masktools.core.settings import DecodingSettings
from masktools.mel import MelConfig
from masktools.networks.conditioning import (
    CONDITIONERS,
    ClapEncoder,
    Conditioner,
    DeferredClap,
    DeferredT5,
    LaionClap,
    T5Config,
    as_conditioner,
)
from masktools.networks.grain import Grain, GrainConfig
from masktools.networks.packing import (
    StoredWeights,
    fill_rest,
    give_back,
    halved,
    has_lost_weights,
    in_int8,
    keep_stored,
    laid_out,
    weights_digest,
)
from masktools.networks.scales import (
    NoteClassifier,
    NoteClassifierConfig,
    ScaleTokenizer,
    ScaleTokenizerConfig,
    ScaleTransformer,
    ScaleTransformerConfig,
)
from masktools.networks.tokenizer import CODECS, TOKENIZERS, decoding_weights, token_fingerprint
from masktools.networks.transformer import (
    DelayedPrior,
    DelayedPriorConfig,
    MaskedTransformer,
    StreamTransformer,
    StreamTransformerConfig,
    TransformerConfig,
)
from masktools.networks.vocoder import VOCODERS
from masktools.pipeline import JOBS, Pipeline, ScaleWalk, StreamWalk, Walk, check_mel_settings
from masktools.pipeline.bundles import (
    ALTERED,
    CARD,
    CHECKSUMS,
    CONFIG,
    FAMILIES,
    MODEL_TYPE,
    SHARED,
    family_of,
    find_bundle,
    list_models,
    part_file,
    read_config,
    sha256_of,
    verify_files,
    with_head,
)
from masktools.solver import Plan, SolverConfig, preset, stage_plan

KINDS: Mapping[str, Mapping[str, tuple[type, type]]] = {
    "tokenizer": {**TOKENIZERS, "scales": (ScaleTokenizerConfig, ScaleTokenizer)},
    "codec": CODECS,
    "transformer": {
        "masked": (TransformerConfig, MaskedTransformer),
        "streams": (StreamTransformerConfig, StreamTransformer),
        "scales": (ScaleTransformerConfig, ScaleTransformer),
    },
    "vocoder": VOCODERS,
    "conditioner": {**CONDITIONERS, "t5": (T5Config, DeferredT5)},
    "grain": {"normal": (GrainConfig, Grain)},
    "prior": {"delayed": (DelayedPriorConfig, DelayedPrior)},
    "classifier": {"notes": (NoteClassifierConfig, NoteClassifier)},
}
"""Kinds of each part: name -> (class of the settings, class of the part)."""


WALKS: Mapping[str, type[Any]] = {"masked": Pipeline, "streams": StreamWalk, "scales": ScaleWalk}
"""Model class of each family, a ``Walk``."""


@single_precision()
def build_part(part: str, kind: str, config: Mapping[str, Any], mel: MelConfig) -> nn.Module:
    """Return a part without weights, from its kind and its settings.

    Raises:
        ParameterError: an unknown part or kind, or settings that do not fit it.
    """
    kinds = KINDS[checked_name("part", part, KINDS)]
    config_class, part_class = kinds[checked_name(f"kind of {part}", kind, kinds)]
    settings = from_dict(config_class, config)
    return part_class(settings, mel) if part == "vocoder" else part_class(settings)


def make_part(
    part: str,
    kind: str,
    config: Mapping[str, Any],
    mel: MelConfig,
    weights: Mapping[str, Tensor],
    precision: torch.dtype | None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Return a part with weights, packed for inference; each weight is read once, and freed after its use.

    Args:
        part: one of ``KINDS``.
        kind: kind of the part.
        config: settings of the part, in JSON types.
        mel: mel settings of the model.
        weights: weights by name, of any float type.
        precision: precision of the model; None leaves the part unpacked, in single precision.
        device: device of the part.

    Raises:
        ParameterError: an unknown part or kind, or settings that do not fit it.
        DeviceError: int8 on a processor that does not support it.
    """
    with laid_out():
        module = build_part(part, kind, config, mel)
    kept = module.state_dict()
    if any(value.is_meta for name, value in module.named_buffers() if name not in kept):
        module = build_part(part, kind, config, mel)  # its constants are stored nowhere else
        module.load_state_dict({name: weights[name] for name in kept})
        own: Mapping[str, Tensor] | None = None
    else:
        own = weights
    module.eval().requires_grad_(False)
    if precision is not None and hasattr(module, "pack"):
        cast(Any, module).pack(precision, own, device)
    elif own is not None:
        fill_rest(module, own, device)
    if isinstance(weights, StoredWeights):
        keep_stored(module, weights)
    module.to(device)
    give_back()
    return module


_LEARNED = "learned_tokens"  # attribute of a transformer with the fingerprint of its tokenizer
_LEVELS = "levels.safetensors"
DECODINGS = ("generate", "inpaint", "bwe")
"""Jobs with decoding settings of their own; the others use those of the most similar one."""
_OTHER_MODEL = "weights and settings are of different models"


def models_for(job: str) -> list[str]:
    """Return the names of the models at hand that support a job, by their bundles."""
    able = []
    for name, folder in list_models().items():
        try:
            family = family_of(folder, read_config(folder))
        except BundleError:
            continue  # loading that model raises the error
        if job in WALKS[family].jobs:
            able.append(name)
    return able


def check_job(walk: Walk, job: str) -> None:
    """Raise where a model does not support a job; the message lists its jobs, and other models for this one.

    Args:
        walk: the model.
        job: a name in ``masktools.pipeline.JOBS``.

    Raises:
        ParameterError: it does not.
    """
    if job in walk.jobs:
        return
    can = ", ".join(name for name in JOBS if name in walk.jobs)
    reason = "" if walk.shape.has_bands else "the rows of its tokens are no bands of frequency; "
    others = models_for(job)
    instead = f": use --model {' or '.join(others)}" if others else ""
    raise ParameterError(f"model {walk.name!r} cannot {JOBS[job]} ({job}): {reason}it can {can}{instead}")


def plan_for(walk: Walk, job: str, settings: DecodingSettings) -> Plan:
    """Return the decoding settings of a job: the given ones, and the model's own for the rest.

    Args:
        walk: the model.
        job: one of ``DECODINGS``.
        settings: given settings; ``n_steps``, ``temperature`` and ``guidance`` override ``solver``.

    Returns:
        A ``SolverConfig``; a tuple of them, one for each stage, where the model has several.

    Raises:
        ParameterError: a job that the model does not support, an unknown preset, or a value out of its range.
    """
    check_job(walk, checked_name("job", job, DECODINGS))
    base, n_steps, n_stages = settings.solver, settings.n_steps, walk.shape.n_stages
    several = isinstance(base, tuple) and all(isinstance(config, SolverConfig) for config in base)
    if not isinstance(base, SolverConfig | str | None) and not several:
        raise ParameterError(f"solver must be a SolverConfig or the name of a preset, got {shown(base)}")
    own: Plan = walk.decoding.get(job, SolverConfig())
    stages = stage_plan(own if base is None or isinstance(base, str) else base, n_stages)
    if isinstance(base, str):
        stages = tuple(preset(base, config) for config in stages)
    steps = tuple(n_steps) if isinstance(n_steps, list | tuple) else (n_steps,) * n_stages
    if len(steps) != n_stages:
        raise ParameterError(f"n_steps must be one number, or one for each of {n_stages} stages, got {len(steps)}")
    both = {"temperature": settings.temperature, "guidance": settings.guidance}
    made = tuple(
        replace(config, **{name: value for name, value in {"n_steps": own, **both}.items() if value is not None})
        for config, own in zip(stages, steps, strict=True)
    )
    return made[0] if n_stages == 1 else made


def save_bundle(
    pipeline: Walk,
    folder: str | os.PathLike[str],
    card: str,
    name: str | None = None,
    int8: Collection[str] = (),
    lent: Mapping[str, str] | None = None,
) -> Path:
    """Write a model as a bundle, whole or not at all, and return its folder.

    Args:
        pipeline: the model; floating-point weights are rounded to fp16.
        folder: path of the bundle; it must not exist yet.
        card: the text of the model card.
        name: name of the model, in reports; that of the folder by default.
        int8: parts whose large matrices are quantised to 8 bits, with a scale per row, for a smaller bundle; of a
            tokenizer only the decoder is, since tokens must not change.
        lent: parts that are stored with another bundled model, part -> its name: they are not written again.

    Raises:
        ParameterError: a folder that exists, or whose parent does not; an empty card; weights quantised in vain; a part
            that differs from the one of the named model.
        BundleError: a part of a kind that bundles do not support, or a transformer trained on other tokens.
    """
    target = Path(os.path.abspath(folder))
    if target.exists():
        raise ParameterError(f"the bundle's folder must not exist yet, got {folder}: choose another, or remove it")
    if not target.parent.is_dir():
        raise ParameterError(f"the folder to hold the bundle must exist, got {target.parent}")
    if not card.strip():
        raise ParameterError("a bundle needs a model card: say what the model was trained on and what it is for")
    family = next((name for name, walk in WALKS.items() if isinstance(pipeline, walk)), None)
    if family is None:
        raise BundleError(f"a bundle must be of a family in {', '.join(FAMILIES)}, got {type(pipeline).__name__}")
    parts = {part: module for part, module in pipeline.parts.items() if module is not None}
    for part in int8:
        if part == "codec" or not isinstance(parts.get(part), nn.Module):  # other weights would give other tokens
            raise unknown_name("part to be kept in int8", part, [one for one in parts if one != "codec"])
    for part, module in parts.items():
        if isinstance(module, nn.Module) and has_lost_weights(module):
            raise ParameterError(
                f"a bundle must be saved with the weights that were trained, those of this {part} are rounded: save "
                "the model before it is packed"
            )
    mel = to_dict(pipeline.mel)
    entries: dict[str, dict[str, Any]] = {
        part: {**_describe(part, module), "mel": mel} for part, module in parts.items()
    }
    for part in ("conditioner", "prior"):
        if part in entries:
            del entries[part]["mel"]  # its input is waves, with a front end of its own, or tokens
    for part, lender in (lent or {}).items():
        entries[part] |= _lending(target, part, parts.get(part), lender)
    entries["transformer"]["tokenizer"] = token_fingerprint(parts[_tokens_from(parts)].state_dict())
    _check_tokens(tokens_known_by(parts["transformer"]), entries["transformer"]["tokenizer"], "these parts")
    config: dict[str, Any] = {"format": FAMILIES[family].format}
    if config["format"] > 1:
        config["family"] = family
    else:
        config["model_type"] = MODEL_TYPE
    config |= {"name": name or target.name, "mel": mel, **entries}
    if pipeline.decoding:
        config["decoding"] = {job: to_plain(settings) for job, settings in pipeline.decoding.items()}
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir()
        for part, module in parts.items():
            if (
                part not in (lent or {})
                and isinstance(module, nn.Module)
                and not isinstance(module, ClapEncoder | LaionClap)
            ):
                (temporary / f"{part}.safetensors").write_bytes(save(_as_stored(part, module, part in int8)))
        levels = getattr(pipeline, "levels", None)
        if isinstance(levels, LevelMixture):
            (temporary / _LEVELS).write_bytes(levels.to_bytes())
        (temporary / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (temporary / CARD).write_text(with_head(temporary, card=card.strip() + "\n"), encoding="utf-8")
        sums = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
        (temporary / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _lending(folder: Path, part: str, module: Any, lender: str) -> dict[str, str]:
    """Return the entry in config.json for a part that is stored with another bundled model."""
    lending = list_models().get(lender)
    path = None if lending is None else lending / f"{part}.safetensors"
    if path is None or not path.is_file() or not isinstance(module, nn.Module):
        raise ParameterError(f"a {part} must be that of a model in the package to be lent, got {lender!r}")
    told = {"of": lender, "sha256": sha256_of(path)}
    part_file(folder, part, told)  # raises unless there is such a part
    if weights_digest(dict(StoredWeights(path))) != weights_digest(module.state_dict()):
        raise ParameterError(f"the {part} is another one than that of {lender!r}: it must be kept in the bundle")
    return told


def _as_stored(part: str, module: nn.Module, int8: bool) -> dict[str, Tensor]:
    """Return the weights of a part in the types in which they are stored, on the CPU."""
    state = module.state_dict()
    if int8:
        return in_int8(state, decoding_weights(state) if part == "tokenizer" else list(state))
    if getattr(module, "single_precision", False):
        return {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    return halved(state)


def _describe(part: str, module: Any) -> dict[str, Any]:
    """Return the kind and the settings of a part."""
    if isinstance(module, DeferredClap | LaionClap):
        config_class = CONDITIONERS["clap"][0]
        return {"kind": "clap", "config": to_dict(config_class(dim=module.dim))}
    for kind, (_, part_class) in KINDS[part].items():
        if type(module) is part_class:
            return {"kind": kind, "config": to_dict(module.config)}
    known = ", ".join(part_class.__name__ for _, part_class in KINDS[part].values())
    raise BundleError(f"the {part} of a bundle must be one of {known}, got {type(module).__name__}")


def tokens_known_by(transformer: nn.Module) -> str | None:
    """Return the fingerprint of the tokenizer that a transformer was trained with, None if unknown."""
    return getattr(transformer, _LEARNED, None)


def note_tokens(transformer: nn.Module, fingerprint: str | None) -> None:
    """Record the ``token_fingerprint`` of the tokenizer that a transformer was trained with."""
    setattr(transformer, _LEARNED, fingerprint)


def _check_tokens(learned: str | None, given: str, where: str) -> None:
    if learned not in (None, given):
        raise BundleError(
            f"{where}: the transformer has learned the tokens of another tokenizer ({learned}) than the one beside it "
            f"({given}): put it together with the tokenizer that it was trained on"
        )


@single_precision()
def load_bundle(
    model: str | os.PathLike[str],
    device: str | torch.device = "auto",
    precision: str = "auto",
    verify: bool = True,
    batch_size: int | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    compile: bool = False,
    conditioner: Any = None,
) -> Any:
    """Load the model of a bundle onto a device, with its weights packed for inference in one precision.

    Weights are read one by one: memory never holds more than the packed ones and a single other.

    Args:
        model: name in ``list_models``, a bundle's folder, or ``owner/name`` on the Hugging Face hub.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: precision of the model: auto, fp32, bf16, fp16 or int8.
        verify: whether the checksums of the files are verified.
        batch_size: clips computed at once; by default 8 on a CPU, and as many as fit on a GPU.
        revision: revision of a model on the hub: a branch, a tag or a commit.
        cache_dir: folder for models of the hub; the hub's own cache by default.
        compile: whether to compile the transformer, which takes minutes: for many short jobs on a GPU.
        conditioner: embedder of texts and sounds instead of the bundle's own: a ``Conditioner`` of the same space,
            such as a ``laion_clap.CLAP_Module`` for a model that was trained with CLAP.

    Returns:
        A ``Walk``, of its family's class: a ``Pipeline`` for models over a grid of bands.

    Raises:
        BundleError: no such model, or one that is incomplete, altered, of another format, or whose parts do not
            fit each other.
        MelMismatchError: its parts were made for different mel settings.
        ParameterError: an unknown device or precision.
        DeviceError: there is no such device.
    """
    chosen_device = resolve_device(device)
    chosen_precision = resolve_precision(precision, chosen_device)
    if compile and chosen_precision == torch.int8:
        raise ParameterError("a model must be either in int8 or compiled: load it with another precision, or as it is")
    folder = find_bundle(model, revision, cache_dir)
    config = read_config(folder)
    family = family_of(folder, config)
    walk = WALKS[family]
    if compile and not hasattr(walk, "compile"):
        raise ParameterError("this model cannot be compiled: load it as it is")
    if verify:
        verify_files(folder)
    mel = _checked(folder, "mel", lambda: from_dict(MelConfig, config["mel"]))
    kept = {"transformer"} if compile and chosen_device.type == "cpu" else set()  # parts that are not packed
    parts: dict[str, Any] = {
        part: _load_part(folder, part, config[part], mel, chosen_device, None if part in kept else chosen_precision)
        for part in FAMILIES[family].parts
        if config.get(part) and (part != "conditioner" or conditioner is None)
    }
    if conditioner is not None:
        if "conditioner" not in FAMILIES[family].parts:
            raise ParameterError(f"a model of the family {family} takes no conditioner")
        parts["conditioner"] = as_conditioner(conditioner)
    _settle_tokens(folder, config, parts)
    pipeline: Any = walk(
        mel,
        **parts,
        name=config["name"],
        decoding=_checked(folder, "decoding", lambda: read_decoding(config.get("decoding") or {})),
        device=chosen_device,
        precision=chosen_precision,
        batch_size=batch_size or fitting_batch_size(chosen_device),
    )
    pipeline.folder = folder
    if (folder / _LEVELS).is_file():
        pipeline.levels = read_levels(folder / _LEVELS)
    if compile:
        pipeline.compile()
    return pipeline


def _tokens_from(parts: Mapping[str, Any]) -> str:
    """Return the part that makes the tokens for the transformer."""
    return "codec" if "codec" in parts else "tokenizer"


def _settle_tokens(folder: Path, config: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Raise where a transformer was trained with another tokenizer, and record which one it is.

    Bundles without this entry are assumed to be consistent.
    """
    given = token_fingerprint(StoredWeights(folder / f"{_tokens_from(parts)}.safetensors"))
    learned = config["transformer"].get("tokenizer")
    _check_tokens(learned, given, str(folder))
    note_tokens(parts["transformer"], given)


def read_decoding(settings: Mapping[str, Any]) -> dict[str, Plan]:
    """Return the decoding settings by job, from JSON; the defaults are the paper's.

    A list holds the settings of each stage.

    Raises:
        ParameterError: an unknown job, or settings that the solver does not know.
    """
    return {
        checked_name("job", job, DECODINGS): tuple(from_dict(SolverConfig, stage) for stage in own)
        if isinstance(own, list)
        else from_dict(SolverConfig, own)
        for job, own in settings.items()
    }


def _checked(folder: Path, part: str, make: Any) -> Any:
    """Return the result of a function; errors are reported as errors of the bundle's part."""
    try:
        return make()
    except ParameterError as error:
        raise BundleError(f"{folder}: {part}: {error}") from error


def _load_part(
    folder: Path, part: str, entry: Any, mel: MelConfig, device: torch.device, precision: torch.dtype | None
) -> nn.Module | Conditioner | DeferredT5:
    known = {"kind", "config", "mel", *SHARED} | ({"tokenizer"} if part == "transformer" else set())
    if not isinstance(entry, dict) or not {"kind", "config"} <= set(entry) <= known:
        raise BundleError(f"{folder}: {part} must have a kind and a config in {CONFIG}, got {entry!r:.80}")
    if "mel" in entry:
        check_mel_settings(mel, {part: _checked(folder, part, lambda: from_dict(MelConfig, entry["mel"]))})
    if part == "conditioner" and entry["kind"] == "clap":
        settings = _checked(folder, part, lambda: from_dict(CONDITIONERS["clap"][0], entry["config"]))
        return DeferredClap(settings.dim, device)
    if part == "conditioner" and entry["kind"] == "t5":
        return DeferredT5(_checked(folder, part, lambda: from_dict(T5Config, entry["config"])), device)
    with laid_out():
        layout: nn.Module = _checked(folder, part, lambda: build_part(part, entry["kind"], entry["config"], mel))
    weights = _fitting_weights(folder, part_file(folder, part, entry), layout)
    return make_part(part, entry["kind"], entry["config"], mel, weights, precision, device)


def _fitting_weights(folder: Path, path: Path, layout: nn.Module) -> StoredWeights:
    """Return the weights of a part after checking that they fit it exactly."""
    if not path.is_file():
        raise BundleError(f"{folder} is no complete bundle: {path.name} is missing")
    try:
        weights = StoredWeights(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BundleError(f"{folder}: {path.name} is not readable ({error}): {ALTERED}") from error
    wanted = {key: tuple(value.shape) for key, value in layout.state_dict().items()}
    found = weights.shapes
    for keys, problem in ((set(wanted) - set(found), "are missing"), (set(found) - set(wanted), "are unknown")):
        if keys:
            some = ", ".join(sorted(keys)[:3]) + (", ..." if len(keys) > 3 else "")
            raise BundleError(f"{folder}: {path.name}: {len(keys)} weights {problem} ({some}): {_OTHER_MODEL}")
    for key, shape in wanted.items():
        if found[key] != shape:
            raise BundleError(f"{folder}: {path.name}: {key} must have shape {shape}, got {found[key]}: {_OTHER_MODEL}")
    return weights

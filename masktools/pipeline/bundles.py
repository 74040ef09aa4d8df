"""The files of a bundle: where models lie, what they say of themselves, and what one part of them holds.

How a model is put together from them, and how one is written, is the business of ``masktools.pipeline.hub``.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from torch import Tensor

from masktools.core.arguments import shown
from masktools.core.downloads import fetch, is_hub_name
from masktools.core.errors import BundleError, ParameterError, unknown_name
from masktools.core.jsons import parse_json
from masktools.networks.packing import StoredWeights


class Layout(NamedTuple):
    """Parts of the bundles of a family of models."""

    format: int
    parts: tuple[str, ...]
    optional: tuple[str, ...]  # those of the parts that a model may go without


FAMILIES: Mapping[str, Layout] = {
    "masked": Layout(1, ("tokenizer", "transformer", "vocoder", "conditioner"), ("conditioner",)),
    "streams": Layout(
        2, ("codec", "transformer", "vocoder", "conditioner", "prior"), ("vocoder", "conditioner", "prior")
    ),
    "scales": Layout(
        2,
        ("tokenizer", "transformer", "vocoder", "conditioner", "classifier"),
        ("vocoder", "conditioner", "classifier"),
    ),
}
"""Families by name. Bundles of format 1 are of the first; from format 2 on they name theirs."""

FORMATS = (1, 2)
PARTS = tuple(dict.fromkeys(part for layout in FAMILIES.values() for part in layout.parts))
CONFIG, CARD, CHECKSUMS = "config.json", "MODEL_CARD.md", "checksums.json"
SHARED = ("of", "sha256")  # entries of a part whose weights another model lends
ALTERED = "it was altered, or cut off"
MODEL_TYPE = "specmaskgit"
"""How config.json tells transformers what a bundle of the family masked is (``masktools.adapters.transformers``)."""

_BUNDLED = Path(__file__).parents[1] / "bundled"
_FOLDERS_VARIABLE = "MASKTOOLS_MODELS"


def list_models() -> dict[str, Path]:
    """Return the models at hand, name -> folder: those in MASKTOOLS_MODELS, a path of folders, then the package's."""
    places = [Path(place) for place in os.environ.get(_FOLDERS_VARIABLE, "").split(os.pathsep) if place]
    found: dict[str, Path] = {}
    for place in (*places, _BUNDLED):
        if place.is_dir():
            for folder in sorted(place.iterdir()):
                if (folder / CONFIG).is_file():
                    found.setdefault(folder.name, folder)
    return found


def is_bundle(source: str | os.PathLike[str]) -> bool:
    """Tell whether a word is the name of a model at hand, or the folder of a bundle."""
    return str(source) in list_models() or all((Path(source) / name).is_file() for name in (CONFIG, CARD))


def stored_part(model: str | os.PathLike[str], part: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return one part of a bundle: its kind, its settings and those of the mel, and its weights, in fp32.

    The settings are told as a training checkpoint tells them.

    Raises:
        BundleError: there is no such model, it lacks the part, or it is incomplete, altered, or of another format.
    """
    if part not in PARTS:
        raise unknown_name("part", part, PARTS)
    folder = find_bundle(model)
    config = read_config(folder)
    verify_files(folder)
    path = part_file(folder, part, config.get(part) or {})
    if not config.get(part) or not path.is_file():
        raise BundleError(f"the model in {folder} has no {part} with weights of its own")
    try:
        weights = dict(StoredWeights(path))
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{folder}: {part}.safetensors is not readable ({error}): {ALTERED}") from error
    state = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    told = {key: value for key, value in config[part].items() if key not in SHARED}
    return {"part": part, "mel": config["mel"], **told}, state


def part_file(folder: Path, part: str, entry: Mapping[str, Any]) -> Path:
    """Return the file with the weights of a part: the bundle's own, or that of a model in the package which lends it.

    Args:
        folder: the bundle's.
        part: name of the part.
        entry: what the bundle says of it; ``of`` names the lender, and ``sha256`` is the digest of its file.

    Raises:
        BundleError: the package has no such model, or its part is another one.
    """
    lender = entry.get("of")
    if lender is None:
        return folder / f"{part}.safetensors"
    path = _BUNDLED / str(lender) / f"{part}.safetensors"
    if Path(str(lender)).name != lender or not path.is_file() or sha256_of(path) != entry.get("sha256"):
        raise BundleError(
            f"{folder}: its {part} is that of the model {shown(lender)} in the package, which in this version is "
            "another one: take the version that the bundle was made with"
        )
    return path


def find_bundle(
    model: str | os.PathLike[str], revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> Path:
    """Return the folder of a model: one that ``list_models`` has, a folder, or a name on the Hugging Face hub.

    Raises:
        BundleError: there is no such model.
        ParameterError: something else than a name or a folder.
    """
    models = list_models()
    if not isinstance(model, str | os.PathLike) or not isinstance(os.fspath(model), str):
        raise ParameterError(f"model must be a name, a folder or owner/name on the hub, got {shown(model)}")
    if isinstance(model, str) and model in models:
        return models[model]
    folder = Path(model)
    try:
        if folder.is_dir():
            return folder
    except (OSError, ValueError):  # a name that no folder can have
        raise BundleError(f"no model {shown(model)}: that is no name") from None
    if isinstance(model, str) and is_hub_name(model):
        return fetch(model, revision, cache_dir)
    available = ", ".join(models) or "none"
    raise BundleError(f"no model {shown(os.fspath(model))}: available are {available}; or give the folder of a bundle")


def read_config(folder: Path) -> dict[str, Any]:
    """Return what a bundle says of itself.

    Raises:
        BundleError: it is incomplete, or of another format.
    """
    config = _read_json(folder, CONFIG)
    layout = FAMILIES[family_of(folder, config)]
    missing = [key for key in ("name", "mel", *layout.parts) if key not in config and key not in layout.optional]
    if missing:
        raise BundleError(f"{folder}: {CONFIG} lacks {', '.join(missing)}")
    own = {"format", "model_type", "name", "mel", "decoding", *layout.parts} | (
        {"family"} if config["format"] > 1 else set()
    )
    unknown = set(config) - own
    if unknown:
        raise BundleError(f"{folder}: {CONFIG} has unknown entries: {', '.join(sorted(unknown))}")
    return config


def family_of(folder: Path, config: Mapping[str, Any]) -> str:
    """Return the family of a bundle's model, a name in ``FAMILIES``.

    Raises:
        BundleError: a format or a family that this version does not know.
    """
    if config.get("format") not in FORMATS:
        raise BundleError(
            f"{folder}: bundle format {config.get('format')!r} is unknown, this version reads format "
            f"{' and '.join(map(str, FORMATS))}: update masktools, or write the bundle anew"
        )
    family = "masked" if config["format"] == 1 else str(config.get("family"))
    if family not in FAMILIES:
        raise BundleError(
            f"{folder}: model family {family!r} is unknown, this version has {', '.join(FAMILIES)}: update masktools"
        )
    return family


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise BundleError(f"{folder} is no complete bundle: {name} is missing")
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{folder}: {name} is not JSON ({error}): {ALTERED}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{folder}: {name} must hold an object, got {type(content).__name__}")
    return content


def verify_files(folder: Path) -> None:
    """Refuse a bundle whose files are not those that were written.

    Raises:
        BundleError: the message names the file.
    """
    sums = _read_json(folder, CHECKSUMS)
    required = {CONFIG, CARD}
    unlisted = required - set(sums)
    if unlisted:
        raise BundleError(f"{folder}: {CHECKSUMS} does not list {', '.join(sorted(unlisted))}")
    for name, expected in sums.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise BundleError(f"{folder} is no complete bundle: {name} is missing")
        if sha256_of(path) != expected:
            raise BundleError(f"{folder}: {name} was altered or cut off, its checksum is not the one written with it")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

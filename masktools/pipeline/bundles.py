"""Files of a bundle: locations of models, their configuration, their parts, and the head of the model card.

Building a model from them, and writing one, is done in ``masktools.pipeline.hub``.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from torch import Tensor

from masktools.core.arguments import shown
from masktools.core.configs import parse_json, read_json
from masktools.core.downloads import fetch, is_hub_name
from masktools.core.errors import BundleError, ParameterError, unknown_name
from masktools.networks.packing import StoredWeights


class Layout(NamedTuple):
    """Parts of the bundles of a family of models."""

    format: int
    parts: tuple[str, ...]
    optional: tuple[str, ...]  # parts that a model may lack


FAMILIES: Mapping[str, Layout] = {
    "masked": Layout(1, ("tokenizer", "transformer", "vocoder", "conditioner", "grain"), ("conditioner", "grain")),
    "streams": Layout(
        2,
        ("codec", "transformer", "vocoder", "conditioner", "prior", "grain"),
        ("vocoder", "conditioner", "prior", "grain"),
    ),
    "scales": Layout(
        2,
        ("tokenizer", "transformer", "vocoder", "conditioner", "classifier"),
        ("vocoder", "conditioner", "classifier"),
    ),
}
"""Model families by name. Bundles of format 1 are of the first; from format 2 on they name their family."""

FORMATS = (1, 2)
PARTS = tuple(dict.fromkeys(part for layout in FAMILIES.values() for part in layout.parts))
CONFIG, CARD, CHECKSUMS = "config.json", "MODEL_CARD.md", "checksums.json"
SHARED = ("of", "sha256")  # entries of a part whose weights are stored with another model
ALTERED = "it was altered, or cut off"
MODEL_TYPE = "specmaskgit"
"""Model type in config.json by which transformers knows a bundle of the family masked (``masktools.adapters``)."""

_BUNDLED = Path(__file__).parents[1] / "bundled"
_FOLDERS_VARIABLE = "MASKTOOLS_MODELS"


def list_models() -> dict[str, Path]:
    """Return the models at hand, name -> folder: those in MASKTOOLS_MODELS, a path of folders, then bundled ones."""
    places = [Path(place) for place in os.environ.get(_FOLDERS_VARIABLE, "").split(os.pathsep) if place]
    found: dict[str, Path] = {}
    for place in (*places, _BUNDLED):
        if place.is_dir():
            for folder in sorted(place.iterdir()):
                if (folder / CONFIG).is_file():
                    found.setdefault(folder.name, folder)
    return found


def is_bundle(source: str | os.PathLike[str]) -> bool:
    """Tell whether a text is the name of a model at hand, or the folder of a bundle."""
    return str(source) in list_models() or all((Path(source) / name).is_file() for name in (CONFIG, CARD))


def stored_part(model: str | os.PathLike[str], part: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return one part of a bundle: its kind, its settings with those of the mel, and its weights, in fp32.

    The settings are in the form of a training checkpoint.

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
    """Return the file with the weights of a part: the bundle's own, or that of a bundled model which shares it.

    Args:
        folder: folder of the bundle.
        part: name of the part.
        entry: entry of the part in config.json; ``of`` names the sharing model, and ``sha256`` is the digest of its
            file.

    Raises:
        BundleError: there is no such bundled model, or its part is another one.
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
    """Return the folder of a model given by name (see ``list_models``), by folder, or by name on the Hugging Face hub.

    Raises:
        BundleError: there is no such model.
        ParameterError: another type than a name or a folder.
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
    except (OSError, ValueError):  # an impossible name of a folder
        raise BundleError(f"no model {shown(model)}: that is no name") from None
    if isinstance(model, str) and is_hub_name(model):
        return fetch(model, revision, cache_dir)
    available = ", ".join(models) or "none"
    raise BundleError(f"no model {shown(os.fspath(model))}: available are {available}; or give the folder of a bundle")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a bundle.

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
        BundleError: a format or a family that is unknown to this version.
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
    """Raise where the files of a bundle have changed since they were written.

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


_LICENCE = re.compile(r"\b(?:CC-BY(?:-NC)?(?:-SA|-ND)?-\d\.\d|CC0-1\.0|Apache-2\.0|MIT)\b")
_HEAD = re.compile(r"---\r?\n(.*?)^---[ \t]*\r?\n?", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"^([\w-]+):.*?(?=^[\w-]+:|\Z)", re.DOTALL | re.MULTILINE)  # up to the next key without indentation
_WORD, _NO_WORDS = re.compile(r"[a-z][\w.-]*"), ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
_TASK = {"masked": "audio-to-audio", "streams": "text-to-audio", "scales": "text-to-audio"}
_TAGS = {
    "masked": "audio audio-inpainting bandwidth-extension audio-restoration text-to-audio feature-extraction "
    "masked-generative-model specmaskgit mel-spectrogram",
    "streams": "audio audio-inpainting masked-generative-model magnet",
    "scales": "audio music musical-notes next-scale-prediction mars mel-spectrogram",
}
_OWN_METHODS = ("default", "model", "generated", "tokenizer + vocoder", "vocoder", "transformer")
"""Methods of reports that are the model itself; the first that a report has counts."""
_ALL = "all, real"  # the group of all recordings, in reports


def has_head(card: str) -> bool:
    """Whether a card begins with a block of YAML between two lines of three dashes."""
    return _HEAD.match(card) is not None


def without_head(card: str) -> str:
    """Return a card without its YAML head."""
    return _HEAD.sub("", card, count=1) if has_head(card) else card


def with_head(
    folder: Path,
    licence: str | None = None,
    datasets: Sequence[str] = (),
    reports: Sequence[Path] = (),
    card: str | None = None,
) -> str:
    """Return the card of a bundle with a YAML head for the hub. Entries of an existing head stay unless given here.

    Args:
        folder: folder of the bundle.
        licence: the hub's name of it, such as cc-by-sa-4.0; by default the one that the card names under the heading
            "Licence".
        datasets: names on the hub of the training data.
        reports: files of `masktools evaluate`, whose figures of the model itself are included.
        card: a card to replace that of the bundle.

    Raises:
        BundleError: the bundle is incomplete.
        ParameterError: an invalid report.
    """
    config = read_config(folder)
    card = (folder / CARD).read_text(encoding="utf-8") if card is None else card
    head, body = _HEAD.match(card), without_head(card)
    known = {found[1]: found[0] for found in _ENTRY.finditer(head[1] if head else "")}
    family = family_of(folder, config)
    named = _LICENCE.search(body[body.find("## Licen") :]) if "## Licen" in body else None
    results = [one for report in reports for one in results_of(read_json(report), report)]
    made = {
        "license": named.group().lower() if named else None,
        "library_name": "masktools",
        "pipeline_tag": _TASK[family],
        "tags": _TAGS[family].split(),
    }
    given = {
        "license": licence,
        "datasets": [*datasets],
        "model-index": [{"name": config["name"], "results": results}] if results else None,
    }
    if head and not any(given.values()):
        return card
    told = known if head else {key: _yaml({key: value}) for key, value in made.items() if value}
    told |= {key: _yaml({key: value}) for key, value in given.items() if value}
    return "---\n" + "".join(told.values()) + "---\n" + body


def renew_card(folder: Path, card: str | None = None, reports: Sequence[Path] = ()) -> None:
    """Write the card of a bundle with its head, and update its checksum.

    Args:
        folder: folder of the bundle.
        card: a card to replace that of the bundle.
        reports: see ``with_head``.

    Raises:
        BundleError: the bundle is incomplete.
        ParameterError: an invalid report.
    """
    text = with_head(folder, reports=reports, card=card)
    sums = read_json(folder / CHECKSUMS)
    (folder / CARD).write_text(text, encoding="utf-8")
    sums[CARD] = sha256_of(folder / CARD)
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def files_for_hub(
    folder: Path, licence: str | None = None, datasets: Sequence[str] = (), reports: Sequence[Path] = ()
) -> dict[str, bytes]:
    """Return the files that a bundle has only on the hub, name -> content.

    They are the card under the hub's file name, and, where transformers can read the bundle, the file for
    ``AutoFeatureExtractor``.

    Args:
        folder: folder of the bundle.
        licence: see ``with_head``.
        datasets: see ``with_head``.
        reports: see ``with_head``.

    Raises:
        BundleError: the bundle is incomplete.
        ParameterError: see ``with_head``.
    """
    config = read_config(folder)
    made = {"README.md": with_head(folder, licence, datasets, reports).encode()}
    if "model_type" in config:
        extractor = {"feature_extractor_type": "SpecMaskGitFeatureExtractor", "feature_size": 1, "padding_value": 0.0}
        extractor["sampling_rate"] = config["mel"]["sample_rate"]
        made["preprocessor_config.json"] = json.dumps(extractor, indent=2).encode()
    return made


def results_of(report: Any, path: Path | str = "the report") -> list[dict[str, Any]]:
    """Return a report's figures of the model itself, over all real recordings, in the form of the hub's model index.

    Args:
        report: output of ``Report.to_json``, parsed.
        path: path of the report, for messages.

    Raises:
        ParameterError: it is no report, or has no figure of the model itself.
    """
    try:
        protocol = str(report["settings"]["protocol"])
        there = {figure["method"] for figure in report["figures"]}
        method = next((method for method in _OWN_METHODS if method in there), None)
        figures = [figure for figure in report["figures"] if figure["method"] == method]
        groups = [figure["group"] for figure in figures]
        group = _ALL if _ALL in groups else groups[0]
        metrics = [
            {
                "type": figure["metric"],
                "name": ", ".join(filter(None, (figure["metric"], figure["case"], figure["embedder"]))),
                "value": float(f"{figure['value']:.4g}"),
            }
            for figure in figures
            if figure["group"] == group and figure["value"] is not None
        ]
    except (KeyError, TypeError, IndexError) as error:
        raise ParameterError(f"{path} must be a report of `masktools evaluate` with figures of the model") from error
    task = {"type": "audio-to-audio", "name": protocol}
    data = {"type": "recordings", "name": f"recordings the model has not heard: {group}", "split": "test"}
    return [{"task": task, "dataset": data, "metrics": metrics}]


def _yaml(value: Any, margin: str = "") -> str:
    """Return objects and lists as indented YAML, with other values as in JSON."""
    lines = []
    for key, entry in value.items():
        if isinstance(entry, dict):
            lines.append(f"{margin}{key}:\n{_yaml(entry, margin + '  ')}")
        elif isinstance(entry, list):
            lines.append(f"{margin}{key}:\n" + "".join(_item(one, margin) for one in entry))
        else:
            lines.append(f"{margin}{key}: {_scalar(entry)}\n")
    return "".join(lines)


def _item(entry: Any, margin: str) -> str:
    if not isinstance(entry, dict):
        return f"{margin}- {_scalar(entry)}\n"
    return f"{margin}- {_yaml(entry, margin + '  ').lstrip()}"


def _scalar(entry: Any) -> str:
    plain = isinstance(entry, str) and _WORD.fullmatch(entry) and entry not in _NO_WORDS
    return entry if plain else json.dumps(entry)

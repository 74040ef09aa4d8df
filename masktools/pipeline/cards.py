"""The head of a model card, which the Hugging Face hub reads: licence, library, task, tags, data, what was measured."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from masktools.core.errors import ParameterError
from masktools.core.jsons import read_json
from masktools.pipeline.bundles import CARD, CHECKSUMS, family_of, read_config, sha256_of

_LICENCE = re.compile(r"\b(?:CC-BY(?:-NC)?(?:-SA|-ND)?-\d\.\d|CC0-1\.0|Apache-2\.0|MIT)\b")
_HEAD = re.compile(r"---\r?\n(.*?)^---[ \t]*\r?\n?", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"^([\w-]+):.*?(?=^[\w-]+:|\Z)", re.DOTALL | re.MULTILINE)  # up to the next key at the margin
_WORD, _NO_WORDS = re.compile(r"[a-z][\w.-]*"), ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
_TASK = {"masked": "audio-to-audio", "streams": "text-to-audio", "scales": "text-to-audio"}
_TAGS = {
    "masked": "audio audio-inpainting bandwidth-extension audio-restoration text-to-audio feature-extraction "
    "masked-generative-model specmaskgit mel-spectrogram",
    "streams": "audio audio-inpainting masked-generative-model magnet",
    "scales": "audio music musical-notes next-scale-prediction mars mel-spectrogram",
}
_OWN_METHODS = ("default", "model", "generated", "tokenizer + vocoder", "vocoder", "transformer")  # of the reports
_ALL = "all, real"  # the group of a report that stands for all recordings


def has_head(card: str) -> bool:
    """Whether a card begins with a block of YAML between two lines of three dashes."""
    return _HEAD.match(card) is not None


def without_head(card: str) -> str:
    """Return a card as it is for people."""
    return _HEAD.sub("", card, count=1) if has_head(card) else card


def with_head(
    folder: Path,
    licence: str | None = None,
    datasets: Sequence[str] = (),
    reports: Sequence[Path] = (),
    card: str | None = None,
) -> str:
    """Return the card of a bundle for the hub. What its head says already stays, but for what is given here.

    Args:
        folder: of the bundle.
        licence: the hub's name of it, such as cc-by-sa-4.0; else that which the card names after the heading
            "Licence".
        datasets: names on the hub of what the model was trained on.
        reports: files of `masktools evaluate`, whose figures of the model itself are told.
        card: another one than the bundle has.

    Raises:
        BundleError: the bundle is incomplete.
        ParameterError: a report that is none.
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
    """Write the card of a bundle with its head, and its checksum.

    Args:
        folder: of the bundle.
        card: another one than it has.
        reports: as ``with_head`` has it.

    Raises:
        BundleError: the bundle is incomplete.
        ParameterError: a report that is none.
    """
    text = with_head(folder, reports=reports, card=card)
    sums = read_json(folder / CHECKSUMS)
    (folder / CARD).write_text(text, encoding="utf-8")
    sums[CARD] = sha256_of(folder / CARD)
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def files_for_hub(
    folder: Path, licence: str | None = None, datasets: Sequence[str] = (), reports: Sequence[Path] = ()
) -> dict[str, bytes]:
    """Return the files that a bundle has on the hub only, name -> content.

    They are the card under the name that the hub knows, and, where transformers can read the bundle, what its
    ``AutoFeatureExtractor`` asks for.

    Args:
        folder: as ``with_head`` has it.
        licence: as ``with_head`` has it.
        datasets: as ``with_head`` has it.
        reports: as ``with_head`` has it.

    Raises:
        BundleError: the bundle is incomplete.
        ParameterError: as ``with_head``.
    """
    config = read_config(folder)
    made = {"README.md": with_head(folder, licence, datasets, reports).encode()}
    if "model_type" in config:
        extractor = {"feature_extractor_type": "SpecMaskGitFeatureExtractor", "feature_size": 1, "padding_value": 0.0}
        extractor["sampling_rate"] = config["mel"]["sample_rate"]
        made["preprocessor_config.json"] = json.dumps(extractor, indent=2).encode()
    return made


def results_of(report: Any, path: Path | str = "the report") -> list[dict[str, Any]]:
    """Return what a report says of the model itself, over all real recordings, as the hub's model index has it.

    Args:
        report: what ``Report.to_json`` wrote, parsed.
        path: where it was, for messages.

    Raises:
        ParameterError: it is no report, or has no figure of the model itself.
    """
    try:
        protocol = str(report["settings"]["protocol"])
        figures = [figure for figure in report["figures"] if figure["method"] in _OWN_METHODS]
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
    """Return objects and lists as indented YAML, whose other values are those of JSON."""
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

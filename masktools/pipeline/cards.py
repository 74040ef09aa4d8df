"""The head of a model card, which the Hugging Face hub reads: licence, library, task, tags, data, what was measured."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from masktools.core.errors import ParameterError
from masktools.core.jsons import read_json
from masktools.pipeline.bundles import CARD, family_of, read_config

_LICENCE = re.compile(r"\b(?:CC-BY(?:-NC)?(?:-SA|-ND)?-\d\.\d|CC0-1\.0|Apache-2\.0|MIT)\b")
_TAGS = ("audio", "audio-inpainting", "bandwidth-extension", "audio-restoration", "masked-generative-model")
_OF_FAMILY = {
    "masked": ("specmaskgit", "feature-extraction", "mel-spectrogram"),
    "streams": ("magnet", "text-to-audio"),
}
_OWN_METHODS = ("default", "model", "tokenizer + vocoder", "vocoder", "transformer")  # of the protocols' reports
_ALL = "all, real"  # the group of a report that stands for all recordings


def has_head(card: str) -> bool:
    """Whether a card begins with a block of YAML between two lines of three dashes."""
    return bool(re.match(r"---\r?\n.*?^---\s*$", card, re.DOTALL | re.MULTILINE))


def with_head(
    folder: Path, licence: str | None = None, datasets: Sequence[str] = (), reports: Sequence[Path] = ()
) -> str:
    """Return the card of a bundle for the hub: as it is where it has a head and nothing is added, else with one.

    Args:
        folder: of the bundle.
        licence: the hub's name of it, such as cc-by-sa-4.0; where it is not given, the one that the card names after
            the heading "Licence".
        datasets: names on the hub of what the model was trained on.
        reports: files of `masktools evaluate`, whose figures of the model itself are told.

    Raises:
        BundleError: the bundle is incomplete.
        ParameterError: a report that is none, or a card that has a head of its own and should get another.
    """
    card = (folder / CARD).read_text(encoding="utf-8")
    if has_head(card):
        if licence or datasets or reports:
            raise ParameterError(f"{folder / CARD} has a head of YAML already: write there what it should say")
        return card
    results = [one for report in reports for one in results_of(read_json(report), report)]
    return head_of(folder, card, licence, datasets, results) + card


def head_of(
    folder: Path,
    card: str,
    licence: str | None = None,
    datasets: Sequence[str] = (),
    results: Iterable[Mapping[str, Any]] = (),
) -> str:
    """Return the head of a bundle's card: YAML between two lines of three dashes."""
    config = read_config(folder)
    family = family_of(folder, config)
    named = _LICENCE.search(card[max(card.find("## Licen"), 0) :]) if "## Licen" in card else None
    known = licence or (named.group().lower() if named else None)
    told = [*results]
    head: dict[str, Any] = {
        **({"license": known} if known else {}),
        "library_name": "masktools",
        "pipeline_tag": "audio-to-audio",
        "tags": [*_TAGS, *_OF_FAMILY[family]],
        **({"datasets": list(datasets)} if datasets else {}),
        **({"model-index": [{"name": config["name"], "results": told}]} if told else {}),
    }
    return "---\n" + _yaml(head) + "---\n"


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
                "value": figure["value"],
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
            lines.append(f"{margin}{key}: {json.dumps(entry)}\n")
    return "".join(lines)


def _item(entry: Any, margin: str) -> str:
    if not isinstance(entry, dict):
        return f"{margin}- {json.dumps(entry)}\n"
    return f"{margin}- {_yaml(entry, margin + '  ').lstrip()}"

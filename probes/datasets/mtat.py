"""MagnaTagATune: 25,863 clips of 29 s with 188 tags, of which the 50 most frequent are predicted.

ROOT holds annotations_final.csv, clip_info_final.csv (for the artists; it may be missing) and the folders 0 to f with
their mp3 files, or a folder mp3 with these.
"""

import argparse
import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from masktools.core.errors import ParameterError, unknown_name
from probes.data import SPLITS, Clip, TaggedData
from probes.datasets._mtat_facts import (
    ALIASES,
    BROKEN,
    FOLDERS,
    N_ANNOTATED,
    N_CLIP_INFO,
    N_TAGS,
    SHA256,
    SPLIT_OF_FOLDER,
    SPLIT_SIZES,
    SYNONYMS,
    TOP_50,
    TOP_50_COUNTS,
)
from probes.table import Published
from probes.verification import Finding, Verification

HELP = "MagnaTagATune, 50 tags"
VARIANTS = tuple(SPLIT_SIZES)
SYNONYM_RULES = ("keep", "merge")
PUBLISHED = (
    Published(
        "SpecMaskGIT (the paper)",
        91.5,
        40.5,
        "batch norm, dropout 0.1, one linear layer; split, layer, pooling, prefix, what is masked and how 29 s are "
        "heard are not told",
    ),
    Published("CLMR", 89.4, 36.1, "the jukemir probe (216 trainings) on features trained on MTAT; split full"),
    Published("MusiCNN", 90.6, 38.3, "the jukemir probe on features trained with the tags of MSD; split full"),
    Published("Jukebox", 91.5, 41.4, "the jukemir probe on layer 36, the first 25 s; split full"),
    Published("MERT-330M", 91.3, 40.2, "a MARBLE-type probe: weighted layers, 512 hidden units"),
    Published("MULE", 91.4, 40.4, "an MLP probe of its own; split 12 : 1 : 3"),
)
"""Table 4 of the paper, by the probe behind each row, as far as that can be told: three protocols in one table.

Source: SpecMaskGIT (arXiv:2406.17672), Table 4, for the figures. Which protocol is behind the other rows is inferred
from their values and their authors' code.
"""

_ANNOTATIONS, _CLIP_INFO = "annotations_final.csv", "clip_info_final.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the data set."""
    parser.add_argument("root", type=Path, metavar="ROOT", help="the folder of the data set")
    parser.add_argument(
        "--split",
        choices=VARIANTS,
        default="clean",
        help="full: 18,706 / 1,825 / 5,329 clips; clean: 15,247 / 1,529 / 4,332, those with one of the 50 tags",
    )
    parser.add_argument(
        "--synonyms",
        choices=SYNONYM_RULES,
        default="keep",
        help="merge tags that mean the same, as beat and beats: no published protocol does",
    )


def read(args: argparse.Namespace) -> TaggedData:
    """Return the data set that the options tell of."""
    return read_mtat(args.root, args.split, args.synonyms)


def verify(args: argparse.Namespace) -> Verification:
    """Return whether what is in the folder is what was published."""
    return verify_mtat(args.root)


class _Row(NamedTuple):
    """A line of the annotations."""

    clip_id: str
    tags: frozenset[str]
    mp3_path: str


def read_mtat(root: Path, split: str = "clean", synonyms: str = "keep", *, without_broken: bool = True) -> TaggedData:
    """Return MagnaTagATune with the 50 tags and the splits by folder: 0 to b train, c validates, d to f test.

    Args:
        root: its folder.
        split: full, or clean: only clips with one of the 50 tags, as they are before synonyms are merged.
        synonyms: keep the 50 tags apart, or merge those that mean the same.
        without_broken: leave out the three files that nobody can read.

    Raises:
        ParameterError: a missing file, or one of another layout; an unknown name.
    """
    for kind, got, known in (("split", split, VARIANTS), ("rule for synonyms", synonyms, SYNONYM_RULES)):
        if got not in known:
            raise unknown_name(kind, got, known)
    artists = _artists(root)
    labels, words = _labels(synonyms)
    chosen = [row for row in _annotations(root) if _belongs(row, split, without_broken)]
    if not chosen:
        raise ParameterError(f"{root / _ANNOTATIONS} must hold clips of the split {split}, got none")
    audio = _audio_folder(root)
    clips = tuple(
        Clip(
            key=row.clip_id,
            path=str(audio / row.mp3_path),
            split=SPLIT_OF_FOLDER[row.mp3_path[0]],
            fold=None,
            labels=tuple(place for place, names in enumerate(words) if not row.tags.isdisjoint(names)),
            group=artists.get(row.clip_id, ""),
        )
        for row in chosen
    )
    notes = _notes(chosen, split, synonyms, without_broken, bool(artists))
    return TaggedData("mtat", clips, labels, True, notes)


def _belongs(row: _Row, split: str, without_broken: bool = True) -> bool:
    """Return whether a clip is one of a split."""
    if without_broken and row.clip_id in BROKEN:
        return False
    return split == "full" or not row.tags.isdisjoint(TOP_50)


def _sizes(rows: list[_Row]) -> tuple[int, ...]:
    """Return how many clips train, validate and test."""
    sizes = Counter(SPLIT_OF_FOLDER[row.mp3_path[0]] for row in rows)
    return tuple(sizes[part] for part in SPLITS)


def _labels(synonyms: str) -> tuple[tuple[str, ...], list[frozenset[str]]]:
    """Return the labels, and for each the tags that it stands for."""
    if synonyms == "keep":
        return TOP_50, [frozenset({tag}) for tag in TOP_50]
    taken = {tag for tags in SYNONYMS.values() for tag in tags}
    labels = tuple(tag for tag in TOP_50 if tag not in taken)
    return labels, [frozenset({label, *SYNONYMS.get(label, ())}) for label in labels]


def _notes(rows: list[_Row], split: str, synonyms: str, without_broken: bool, has_artists: bool) -> str:
    found = _sizes(rows)
    as_published = without_broken and found == SPLIT_SIZES[split]
    published = " / ".join(f"{size:,}" for size in SPLIT_SIZES[split])
    told = [
        f"split {split} by folder (0-b / c / d-f)",
        f"{' / '.join(f'{size:,}' for size in found)} clips"
        + (", as published" if as_published else f" where {published} are published"),
        "clips without any of the 50 tags " + ("kept" if split == "full" else "left out"),
        "the three broken files " + ("left out" if without_broken else "kept"),
        "synonyms " + ("kept apart" if synonyms == "keep" else f"merged into {len(_labels(synonyms)[0])} labels"),
        "groups are artists" if has_artists else "no artists: clip_info_final.csv is missing",
    ]
    return "; ".join(told)


def _audio_folder(root: Path) -> Path:
    """Return where the folders 0 to f are."""
    inner = root / "mp3"
    return inner if inner.is_dir() and not (root / "0").is_dir() else root


def _table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (number, fields) of the lines of a tab-separated table, the head first."""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            reader = csv.reader(file, delimiter="\t")
            for fields in reader:
                if fields:
                    yield reader.line_num, fields
    except OSError as error:
        raise ParameterError(
            f"{path} must be there, as MagnaTagATune has it: {error.strerror}; give the folder that holds it as ROOT"
        ) from error
    except csv.Error as error:
        raise ParameterError(f"{path} must be a table with tabs between its columns: {error}") from error


def _annotations(root: Path) -> Iterator[_Row]:
    """Yield the lines of the annotations."""
    path = root / _ANNOTATIONS
    lines = _table(path)
    head = [ALIASES.get(name, name) for name in next(lines, (0, []))[1]]
    tags = [place for place, name in enumerate(head) if name not in ("clip_id", "mp3_path")]
    lacking = [name for name in ("clip_id", "mp3_path", *TOP_50) if name not in head]
    if lacking:
        shown = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
        raise ParameterError(f"{path} must have a column for each of the 50 tags, with tabs between: it lacks {shown}")
    clip_id, mp3_path = head.index("clip_id"), head.index("mp3_path")
    for number, fields in lines:
        if len(fields) != len(head):
            raise ParameterError(f"{path}:{number} must have {len(head)} fields as the head has, got {len(fields)}")
        if fields[mp3_path][:1] not in SPLIT_OF_FOLDER or fields[mp3_path][1:2] != "/":
            raise ParameterError(f"{path}:{number} must name a file in a folder 0 to f, got {fields[mp3_path]!r}")
        if not {fields[place] for place in tags} <= {"0", "1"}:
            wrong = next(head[place] for place in tags if fields[place] not in ("0", "1"))
            raise ParameterError(f"{path}:{number} must have 0 or 1 for each tag, got another value for {wrong!r}")
        yield _Row(fields[clip_id], frozenset(head[i] for i in tags if fields[i] == "1"), fields[mp3_path])


def _artists(root: Path) -> dict[str, str]:
    """Return the artist of each clip; nothing if that is not there."""
    path = root / _CLIP_INFO
    if not path.is_file():
        return {}
    lines = _table(path)
    head = next(lines, (0, []))[1]
    if not {"clip_id", "artist"} <= set(head):
        raise ParameterError(f"{path} must have the columns clip_id and artist, with tabs between, got {head[:5]}")
    clip_id, artist = head.index("clip_id"), head.index("artist")
    return {fields[clip_id]: fields[artist] for _, fields in lines if len(fields) > max(clip_id, artist)}


def verify_mtat(root: Path) -> Verification:
    """Return what of MagnaTagATune is in a folder: its sums, its counts, its splits, its audio files.

    Raises:
        ParameterError: annotations that are missing, or of another layout.
    """
    rows = list(_annotations(root))
    n_tags = len(next(_table(root / _ANNOTATIONS))[1]) - 2
    findings = [
        _sum(root / _ANNOTATIONS),
        _count("annotated clips", len(rows), N_ANNOTATED),
        _count("tags", n_tags, N_TAGS),
    ]
    if (root / _CLIP_INFO).is_file():
        n_info = sum(1 for _ in _table(root / _CLIP_INFO)) - 1
        findings += [_sum(root / _CLIP_INFO), _count("clips with information", n_info, N_CLIP_INFO)]
    else:
        findings.append(Finding(_CLIP_INFO, "missing", "not there: artists are not known"))
    for split in VARIANTS:
        found = _sizes([row for row in rows if _belongs(row, split)])
        findings.append(_count(f"clips of the split {split}", found, SPLIT_SIZES[split]))
    findings.append(_tag_counts(rows))
    ids = {row.clip_id: row.mp3_path for row in rows}
    named = [clip_id for clip_id, path in BROKEN.items() if ids.get(clip_id) == path]
    findings.append(_count("broken files, by number and name", len(named), len(BROKEN)))
    return Verification((*findings, *_audio(_audio_folder(root), rows)))


def _tag_counts(rows: list[_Row]) -> Finding:
    counts = Counter(tag for row in rows for tag in row.tags)
    other = [tag for tag, wanted in zip(TOP_50, TOP_50_COUNTS, strict=True) if counts[tag] != wanted]
    what = "clips with each of the 50 tags"
    if not other:
        return Finding(what, "ok", "as counted before")
    first, wanted = other[0], TOP_50_COUNTS[TOP_50.index(other[0])]
    return Finding(what, "differs", f"for {len(other)} tags: {first} {counts[first]:,}, published {wanted:,}")


def _sum(path: Path) -> Finding:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    wanted = SHA256[path.name]
    what = f"SHA-256 of {path.name}"
    return Finding(what, "ok", found) if found == wanted else Finding(what, "differs", f"{found}, published {wanted}")


def _count(what: str, found: object, wanted: object) -> Finding:
    if found == wanted:
        return Finding(what, "ok", _shown(found))
    return Finding(what, "differs", f"{_shown(found)}, published {_shown(wanted)}")


def _shown(count: object) -> str:
    return " / ".join(f"{one:,}" for one in count) if isinstance(count, tuple) else f"{count:,}"


def _audio(audio: Path, rows: list[_Row]) -> Iterator[Finding]:
    """Yield what of the audio is there."""
    folders = [folder for folder in FOLDERS if (audio / folder).is_dir()]
    if len(folders) < len(FOLDERS):
        lacking = " ".join(folder for folder in FOLDERS if folder not in folders)
        yield Finding("audio folders", "missing", f"{len(folders)} of {len(FOLDERS)} in {audio}: there is no {lacking}")
    else:
        yield Finding("audio folders", "ok", f"{len(folders)}")
    gone = [row.mp3_path for row in rows if row.clip_id not in BROKEN and not _has_content(audio / row.mp3_path)]
    if gone:
        found = f"{len(gone):,} are missing or empty, the first is {gone[0]}"
        yield Finding("audio files", "missing", found)
    else:
        yield Finding("audio files", "ok", f"{len(rows):,}, the broken ones among them")


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False

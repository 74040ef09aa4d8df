"""Lists of prompts and the recordings made of them, in batches, written while the next are made, and resumed.

A recording has a line in the journal before it is written, and another one, with its size, when it is complete: if a
run was killed between file and second line, the first one shows that the file is its own.
"""

import csv
import hashlib
import io
import json
import unicodedata
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import nn

from masktools.core.configs import to_plain
from masktools.core.errors import ParameterError
from masktools.io import JsonLines
from masktools.networks.packing import weights_digest
from masktools.pipeline import Progress, Walk, share_of
from masktools.restoration.generation.recordings import (
    best_of,
    check_candidates,
    checked_samples,
    conditions_of,
    within_full_scale,
)
from masktools.solver import Plan, SolverConfig, item_seeds

_COLUMNS = ("prompt", "caption", "text")
_MAX_SEED = 2**63 - 1
_LONGEST = 60  # characters of a name made of a prompt
_LONGEST_BYTES = 180  # of any name: file systems allow 255, including number and suffix
_ENDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3")


@dataclass(frozen=True)
class Prompt:
    """One entry of a list of prompts."""

    text: str
    name: str | None = None  # name of its recordings, without suffix
    seed: int | None = None


def read_prompts(path: Path) -> list[Prompt]:
    """Read the prompts in a file, in order.

    A .txt file has one in each line; empty lines, and those that begin with #, are skipped. A .csv file has a header,
    with a column prompt, caption or text, and optionally name and seed; rows without a prompt are skipped.

    Raises:
        ParameterError: no such file, one of another kind, or one without prompts; a row with more fields than there
            are columns, or with open quotes; an invalid name or seed.
    """
    if not path.is_file():
        raise ParameterError(f"the file of prompts must exist, got {path}")
    kind = path.suffix.lower()
    if kind not in (".txt", ".csv"):
        raise ParameterError(f"a file of prompts must end in .txt or .csv, got {path.name!r}")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ParameterError(f"a file of prompts must be text in UTF-8, got {path}: save it as UTF-8") from error
    if "\0" in content:
        raise ParameterError(f"a file of prompts must be text, got {path} with zero bytes: save it as UTF-8")
    if kind == ".txt":
        texts = (line.strip() for line in content.split("\n"))
        prompts = [Prompt(text) for text in texts if text and not text.startswith("#")]
    else:
        try:
            prompts = _of_table(path, content)
        except csv.Error as error:
            raise ParameterError(
                f"{path} must be a table with commas between its columns and quotes in pairs: {error}"
            ) from error
    if not prompts:
        raise ParameterError(f"a file of prompts must hold at least one, {path} holds none")
    return prompts


def _of_table(path: Path, content: str) -> list[Prompt]:
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))
    rows = csv.DictReader(io.StringIO(content, newline=""), restval="", strict=True)
    named = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
    column = next((named[name] for name in _COLUMNS if name in named), None)
    if column is None:
        found = ", ".join(rows.fieldnames or ()) or "none"
        raise ParameterError(f"{path} must have a column prompt, caption or text, it has {found}")
    prompts = []
    for row in rows:
        text, where = row[column].strip(), f"{path}, line {rows.line_num}"
        if any(field.strip() for field in row.get(None, ())):
            raise ParameterError(
                f"{where}: a row must not have more fields than columns: put commas of texts in quotes"
            )
        if text:
            name, seed = (row[named[key]].strip() if key in named else "" for key in ("name", "seed"))
            prompts.append(Prompt(text, _checked_name(name, where), _checked_seed(seed, where)))
    return prompts


def _checked_name(name: str, where: str) -> str | None:
    if not name:
        return None
    if Path(name).name != name or name.startswith(".") or any(ord(char) < 32 or char in '\\/:*?"<>|' for char in name):
        raise ParameterError(f"{where}: a name must be that of a file, without folders and ending, got {name!r}")
    if name.lower().endswith(_ENDINGS):
        raise ParameterError(f"{where}: a name must go without its ending, which --format chooses, got {name!r}")
    if len(name.encode()) > _LONGEST_BYTES:
        raise ParameterError(f"{where}: a name must have at most {_LONGEST_BYTES} bytes, got {len(name.encode())}")
    return name


def _checked_seed(seed: str, where: str) -> int | None:
    if not seed:
        return None
    if not (seed.isascii() and seed.isdigit() and len(seed) < 100 and int(seed) <= _MAX_SEED):
        raise ParameterError(f"{where}: a seed must be a whole number from 0 to {_MAX_SEED}, got {seed[:40]!r}")
    return int(seed)


def file_names(prompts: list[Prompt], n: int = 1) -> list[list[str]]:
    """Return the names of the recordings of each prompt, all different irrespective of case.

    A name is the prompt's own, or the letters and digits of its text; duplicates are numbered from 2. With
    several recordings of each prompt all are numbered. Later entries of the list do not change earlier names, unless
    they are given the same name.

    Raises:
        ParameterError: two prompts that were given one name.

    >>> file_names([Prompt("Rain, on a roof!"), Prompt("rain on a roof"), Prompt("bells", name="b")])
    [['rain-on-a-roof'], ['rain-on-a-roof-2'], ['b']]
    >>> file_names([Prompt("rain")], n=2)
    [['rain-1', 'rain-2']]
    """
    given = Counter(_alike(prompt.name) for prompt in prompts if prompt.name is not None)
    twice = next((prompt.name for prompt in prompts if prompt.name and given[_alike(prompt.name)] > 1), None)
    if twice is not None:
        raise ParameterError(f"each prompt must have a name of its own, got {twice!r} twice")
    taken, latest = set(given), Counter[str]()
    stems = []
    for prompt in prompts:
        stem = prompt.name
        if stem is None:
            first = stem = _slug(prompt.text)
            while _alike(stem) in taken:
                latest[first] += 1
                stem = f"{first}-{1 + latest[first]}"
            taken.add(_alike(stem))
        stems.append(stem)
    if n == 1:
        return [[stem] for stem in stems]
    width = len(str(n))
    return [[f"{stem}-{number:0{width}d}" for number in range(1, n + 1)] for stem in stems]


def _alike(name: str) -> str:
    """Return a key that is equal for names that are the same on some file systems."""
    return unicodedata.normalize("NFC", name).lower()


def _slug(text: str) -> str:
    """Return the letters and digits of a text, words joined by hyphens."""
    text = unicodedata.normalize("NFC", text).lower()
    words = "".join(char if char.isalnum() else " " for char in text).split()
    slug = ""
    for word in words:
        if slug and len(slug) + 1 + len(word) > _LONGEST:
            break
        slug = f"{slug}-{word}" if slug else word[:_LONGEST]
    slug = slug.encode()[:_LONGEST_BYTES].decode(errors="ignore")  # not inside a character
    return slug or "sound"


Made = TypeVar("Made")
Written = TypeVar("Written")


@dataclass(frozen=True)
class Item:
    """A recording to be made."""

    name: str  # of its file, without suffix
    prompt: str
    seed: int


@dataclass(frozen=True, eq=False)
class GeneratedItem:
    """A finished recording."""

    item: Item
    samples: np.ndarray  # (t,) float32
    sample_rate: int  # Hz
    gain_db: float  # of the whole, to avoid clipping
    similarity: float | None = None  # to the text, if it is the best of several candidates


def plan_items(prompts: Sequence[Prompt], n: int = 1, seed: int = 0) -> list[Item]:
    """Return n items for each prompt, with names and seeds that do not depend on later prompts.

    Seeds are those of ``generate`` for the same prompts, unless a prompt has its own, from which those of its n
    recordings are derived.

    Raises:
        ParameterError: two prompts that were given one name.
    """
    names = file_names(list(prompts), n)
    seeds = item_seeds(seed, len(prompts) * n)
    items = []
    for number, prompt in enumerate(prompts):
        own = seeds[number * n : number * n + n] if prompt.seed is None else item_seeds(prompt.seed, n)
        items += [Item(name, prompt.text, one) for name, one in zip(names[number], own, strict=True)]
    return items


def generate_items(
    pipeline: Walk,
    items: Sequence[Item],
    seconds: float | None = None,
    solver: Plan = SolverConfig(),
    progress: Progress | None = None,
    *,
    n_candidates: int = 1,
) -> Iterator[GeneratedItem]:
    """Yield the recordings in the order of the items, computed in batches.

    Each depends on its prompt and its seed, not on its batch.

    Args:
        pipeline: the model.
        items: items to make.
        seconds: length of each in seconds, in (0, 600]; a full window by default.
        solver: settings of the decoding.
        progress: called with (steps done, steps in total).
        n_candidates: candidates for each item, of which the nearest to its prompt is kept.

    Raises:
        ParameterError: a length out of its range, a prompt that the model cannot read, or candidates of a model that
            hears no sounds.
    """
    n_samples, size = checked_samples(pipeline, seconds), pipeline.batch_size
    starts = range(0, len(items), size)
    if not starts:
        return
    # All texts are encoded first, so that an invalid one is found before the long computation.
    conditions = conditions_of(pipeline, [item.prompt for item in items])
    check_candidates(pipeline, conditions, n_candidates)
    for number, start in enumerate(starts):
        batch, condition = items[start : start + size], conditions[start : start + size]
        seeds = [item.seed for item in batch]
        share = share_of(progress, number, len(starts))
        made = best_of(pipeline, condition, seeds, n_samples, solver, n_candidates, share)
        waves, gains_db = within_full_scale(made.waves, pipeline.sample_rate)
        for place, item in enumerate(batch):
            near = made.similarities[place] if made.similarities else None
            yield GeneratedItem(item, waves[place], pipeline.sample_rate, gains_db[place], near)


def write_behind(
    made: Iterable[Made], write: Callable[[Made], Written], n_waiting: int
) -> Generator[Written, None, None]:
    """Yield the results of ``write`` for each recording, in order, computed in another thread than the recordings.

    Args:
        made: iterator that makes recordings.
        write: function called with one after the other, in its own thread; its errors are raised here.
        n_waiting: most recordings that wait to be written; then the iterator is paused.
    """
    waiting: deque[Future[Written]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer") as writer:
        try:
            for one in made:
                waiting.append(writer.submit(write, one))
                while waiting and (len(waiting) > n_waiting or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


FINISHED = ".masktools-generated.jsonl"
"""Name of the journal in the folder of the recordings."""


class Finished:
    """Journal of the finished recordings of a folder; incomplete lines are ignored."""

    def __init__(
        self, folder: Path, pipeline: Walk, solver: Plan, seconds: float | None, n_candidates: int = 1
    ) -> None:
        """Read the journal.

        Args:
            folder: folder of the recordings.
            pipeline: the model; recordings by another one do not count as finished.
            solver: settings of the decoding; others do not count, either.
            seconds: length of each in seconds; others do not count, either.
            n_candidates: candidates for each; others do not count, either.
        """
        self._lines = JsonLines(folder / FINISHED)
        self._settings = _key([_fingerprint(pipeline), to_plain(solver), seconds, n_candidates])
        self._entries = {one["file"]: one for one in self._lines.read() if isinstance(one.get("file"), str)}

    def has(self, item: Item, target: Path) -> bool:
        """Tell whether a recording was finished with these settings, and its file has not changed since."""
        entry = self._of(item, target)
        return target.is_file() and target.stat().st_size == entry.get("bytes")

    def has_begun(self, item: Item, target: Path) -> bool:
        """Tell whether a run with these settings was interrupted while it wrote a recording, whose file is its own."""
        entry = self._of(item, target)
        return bool(entry) and "bytes" not in entry

    def begin(self, item: Item, target: Path) -> None:
        """Record that a recording is about to be written.

        Raises:
            AudioError: the journal cannot be written.
        """
        self._note({"file": target.name, "key": self._key_of(item)})

    def add(self, item: Item, target: Path) -> None:
        """Record a finished recording.

        Raises:
            AudioError: the journal cannot be written.
        """
        key, n_bytes = self._key_of(item), target.stat().st_size
        self._note({"file": target.name, "key": key, "bytes": n_bytes, **asdict(item)})

    def _of(self, item: Item, target: Path) -> dict[str, Any]:
        """Return the last entry of a recording, empty if it has other settings."""
        entry = self._entries.get(target.name, {})
        return entry if entry.get("key") == self._key_of(item) else {}

    def _key_of(self, item: Item) -> str:
        return _key([self._settings, asdict(item)])

    def _note(self, entry: dict[str, Any]) -> None:
        self._lines.add(entry)
        self._entries[entry["file"]] = entry


def _key(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _fingerprint(pipeline: Walk) -> list[str]:
    """Return the identity of a model: the name, the weights and settings of its parts, and the precision."""
    parts = [part for part in pipeline.parts.values() if isinstance(part, nn.Module)]
    digests = [weights_digest(part.state_dict()) for part in parts]
    settings = [to_plain(part.config) for part in parts if is_dataclass(getattr(part, "config", None))]
    return [pipeline.name, _key([digests, settings]), str(pipeline.precision)]

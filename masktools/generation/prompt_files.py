"""Lists of prompts: a text file with one in each line, or a table with a column of them."""

import csv
import io
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from masktools.errors import ParameterError

__all__ = ["Prompt", "file_names", "read_prompts"]

_COLUMNS = ("prompt", "caption", "text")
_MAX_SEED = 2**63 - 1
_LONGEST = 60  # characters of a name that is made of a prompt
_LONGEST_BYTES = 180  # of any name: file systems take 255, and numbers and an ending come behind it
_ENDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3")


@dataclass(frozen=True)
class Prompt:
    """One entry of a list."""

    text: str
    name: str | None = None  # of its recordings, without an ending
    seed: int | None = None


def read_prompts(path: Path) -> list[Prompt]:
    """Return the prompts of a file, in its order.

    A .txt file has one in each line; empty lines, and those that begin with #, are left out. A .csv file has a line of
    names, one of them prompt, caption or text, and perhaps name and seed; rows without a prompt are left out.

    Raises:
        ParameterError: no such file, one of another kind, or one without prompts; a row with more fields than there
            are columns, or with quotes that are not closed; a name or a seed that is none.
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
    """Return the names of the recordings of each prompt, all different whatever the case of their letters.

    A name is the prompt's own, or the letters and digits of its text; the second of the same gets a 2 behind it. With
    several recordings of each prompt all are numbered. What comes later in the list changes no earlier name, but where
    it is given that very name.

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
    """Return what two names have in common that are one on some file systems."""
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
    slug = slug.encode()[:_LONGEST_BYTES].decode(errors="ignore")  # not in the midst of a letter
    return slug or "sound"

"""Lists of prompts: a text file with one in each line, or a table with a column of them."""

import csv
from dataclasses import dataclass
from pathlib import Path

from masktools.errors import ParameterError

__all__ = ["Prompt", "file_names", "read_prompts"]

_COLUMNS = ("prompt", "caption", "text")
_MAX_SEED = 2**63 - 1
_LONGEST = 60  # characters of a name that is made of a prompt


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
        ParameterError: no such file, one of another kind, or one without prompts; a name or a seed that is none.
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
    lines = content.splitlines()
    if kind == ".txt":
        texts = (line.strip() for line in lines)
        prompts = [Prompt(text) for text in texts if text and not text.startswith("#")]
    else:
        prompts = _of_table(path, lines)
    if not prompts:
        raise ParameterError(f"a file of prompts must hold at least one, {path} holds none")
    return prompts


def _of_table(path: Path, lines: list[str]) -> list[Prompt]:
    rows = csv.DictReader(lines, restval="")
    named = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
    column = next((named[name] for name in _COLUMNS if name in named), None)
    if column is None:
        found = ", ".join(rows.fieldnames or ()) or "none"
        raise ParameterError(f"{path} must have a column prompt, caption or text, it has {found}")
    prompts = []
    for row in rows:
        text = (row[column] or "").strip()
        if text:
            name = (row.get(named.get("name", ""), "") or "").strip()
            seed = (row.get(named.get("seed", ""), "") or "").strip()
            where = f"{path}, line {rows.line_num}"
            prompts.append(Prompt(text, _checked_name(name, where), _checked_seed(seed, where)))
    return prompts


def _checked_name(name: str, where: str) -> str | None:
    if not name:
        return None
    if Path(name).name != name or name.startswith(".") or any(ord(char) < 32 or char in '\\/:*?"<>|' for char in name):
        raise ParameterError(f"{where}: a name must be that of a file, without folders and ending, got {name!r}")
    return name


def _checked_seed(seed: str, where: str) -> int | None:
    if not seed:
        return None
    if not (seed.isascii() and seed.isdigit() and int(seed) <= _MAX_SEED):
        raise ParameterError(f"{where}: a seed must be a whole number from 0 to {_MAX_SEED}, got {seed!r}")
    return int(seed)


def file_names(prompts: list[Prompt], n: int = 1) -> list[list[str]]:
    """Return the names of the recordings of each prompt, all different whatever the case of their letters.

    A name is the prompt's own, or the letters and digits of its text; the second of the same gets a 2 behind it. With
    several recordings of each prompt all are numbered. What comes later in the list changes no earlier name.

    Raises:
        ParameterError: two prompts that were given one name.

    >>> file_names([Prompt("Rain, on a roof!"), Prompt("rain on a roof"), Prompt("bells", name="b")])
    [['rain-on-a-roof'], ['rain-on-a-roof-2'], ['b']]
    >>> file_names([Prompt("rain")], n=2)
    [['rain-1', 'rain-2']]
    """
    given = [prompt.name for prompt in prompts if prompt.name is not None]
    taken = {name.lower() for name in given}
    if len(taken) < len(given):
        twice = next(name for name in given if sum(name.lower() == other.lower() for other in given) > 1)
        raise ParameterError(f"each prompt must have a name of its own, got {twice!r} twice")
    stems = []
    for prompt in prompts:
        stem = prompt.name
        if stem is None:
            first = stem = _slug(prompt.text)
            number = 1
            while stem.lower() in taken:
                number += 1
                stem = f"{first}-{number}"
            taken.add(stem.lower())
        stems.append(stem)
    if n == 1:
        return [[stem] for stem in stems]
    width = len(str(n))
    return [[f"{stem}-{number:0{width}d}" for number in range(1, n + 1)] for stem in stems]


def _slug(text: str) -> str:
    """Return the letters and digits of a text, words joined by hyphens."""
    words = "".join(char if char.isalnum() else " " for char in text.lower()).split()
    slug = ""
    for word in words:
        if slug and len(slug) + 1 + len(word) > _LONGEST:
            break
        slug = f"{slug}-{word}" if slug else word[:_LONGEST]
    return slug or "sound"

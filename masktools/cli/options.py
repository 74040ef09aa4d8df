"""The argument parser of the command line, and options that several commands share."""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from masktools.cli.files import MODES
from masktools.core.settings import DecodingSettings


def fail(message: str) -> str:
    """Return an error as the single line that every command prints."""
    return f"masktools: error: {' '.join(message.splitlines())}\n"


class HelpFormatter(argparse.HelpFormatter):
    """Help that shows the default of every option that has one, at a fixed width."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text, default = action.help, action.default
        shown = default not in (None, argparse.SUPPRESS, {}) and not isinstance(default, bool) and action.option_strings
        if not text or not shown or "left out" in text or "%(default)" in text:  # the help already gives the default
            return text
        return f"{text} (default: {','.join(default) if isinstance(default, tuple) else '%(default)s'})"


@dataclass(frozen=True)
class Command:
    """A command: its summary for the table of commands, its options, its function, and its description."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    about: str = ""  # instead of the docstring of ``run``
    hidden: bool = False  # an older name of another command


class CommandParser(argparse.ArgumentParser):
    """An argument parser with errors of one line on stderr and exit code 2."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", HelpFormatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2 after one line."""
        self.exit(2, fail(f"{message} (see: {self.prog} --help)"))


if TYPE_CHECKING:
    from masktools.model import Model

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
SUBTYPES = {"keep": None, "pcm16": "PCM_16", "pcm24": "PCM_24", "float": "FLOAT"}
_MAX_SEED = 2**63 - 1

Group = argparse.ArgumentParser | argparse._ArgumentGroup


def _reader(read: Callable[[str], Any], is_one: Callable[[Any], bool], what: str) -> Callable[[str], Any]:
    """Return a parser function for argparse, with an error that names what is expected."""

    def value_of(text: str) -> Any:
        try:
            value = read(text)
        except ValueError:
            value = math.nan
        if not is_one(value):
            raise argparse.ArgumentTypeError(f"must be {what}, got {text!r}")
        return value

    return value_of


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a parser of integers in [low, high], for argparse."""
    limits = f"of at least {low}" if high is None else f"from {low} to {high}"
    return _reader(int, lambda value: low <= value <= (math.inf if high is None else high), f"a whole number {limits}")


def number(low: float, unit: str = "", above: bool = False) -> Callable[[str], float]:
    """Return a parser of finite numbers from ``low`` on (with ``above``, greater than it), for argparse."""
    limits = f"{'above' if above else 'of at least'} {low:g}{f' {unit}' if unit else ''}"
    return _reader(float, lambda value: low <= value < math.inf and not (above and value == low), f"a number {limits}")


def steps(text: str) -> int | tuple[int, ...]:
    """Parse decoding steps: an integer, or several separated by commas, one for each stage.

    >>> steps("16"), steps("20,10,10,10")
    (16, (20, 10, 10, 10))
    """
    read = whole_number(1)
    return tuple(map(read, text.split(","))) if "," in text else read(text)


def _seconds(text: str) -> float:
    return float(text[:-2]) * 1e-3 if text.endswith("ms") else float(text.removesuffix("s"))


any_number = _reader(float, math.isfinite, "a number")

duration = _reader(_seconds, lambda value: 0 <= value < math.inf, "a duration such as 2ms or 0.5s")
"""A number of seconds, or one with ms or s behind it: 2ms, 4s, 0.5."""


def names(text: str) -> tuple[str, ...]:
    """Parse names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def auto_or(read: Callable[[str], float], word: str = "auto") -> Callable[[str], float | None]:
    """Return a parser for a word, which means None, or else a number."""
    return lambda text: None if text == word else read(text)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the model and where it runs."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", default="mini", metavar="NAME", help="name of a model, or a bundle's folder")
    group.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps")
    group.add_argument("--precision", default="auto", choices=PRECISIONS, metavar="NAME", help=", ".join(PRECISIONS))
    group.add_argument("--threads", type=whole_number(1), metavar="N", help="CPU threads at most")
    group.add_argument(
        "--batch-size", type=whole_number(1), metavar="N", help="clips computed at once; fewer take less memory"
    )


def add_seed(group: Group) -> None:
    """Add the option of the random seed."""
    add_settings(group, DecodingSettings, only=("seed",))


def add_settings(parser: Group, settings: type[DecodingSettings], only: Sequence[str] = ()) -> None:
    """Add an option for every new field of a job's settings, in the group of the class that defines it.

    Args:
        parser: parser to extend.
        settings: the dataclass.
        only: names of fields; all of them by default.
    """
    known = {action.dest for action in parser._actions}
    for own in fields(settings):
        flags = _flags(own)
        if not flags or own.name in known or (only and own.name not in only):
            continue
        owner = next(one for one in reversed(settings.__mro__) if own.name in vars(one).get("__annotations__", {}))
        group = parser if only else group_of(parser, owner.TITLE)
        group.add_argument(*flags, dest=own.name, default=own.default, **_reading(own))


def group_of(parser: Group, title: str) -> Group:
    """Return the option group of a title, the parser itself for none."""
    if not title:
        return parser
    known = next((group for group in parser._action_groups if group.title == title), None)
    return known or parser.add_argument_group(title)


def settings_of(args: argparse.Namespace, settings: type[Any], **more: Any) -> Any:
    """Return the settings of a job from the options of a command.

    Raises:
        ParameterError: a value out of its range, or an unknown name.
    """
    given = {own.name: getattr(args, own.name) for own in fields(settings) if hasattr(args, own.name)}
    return settings(**given | more)


def _flags(own: Field) -> list[str]:
    option = own.metadata.get("option")
    if option is not None:
        return option.split()
    words = own.name.removesuffix("_" + (own.metadata["unit"].lower() or "-"))
    return [f"--{words.replace('_', '-')}"]


def _reading(own: Field) -> dict[str, Any]:
    """Return the arguments of ``add_argument`` for a field."""
    about, default = own.metadata, cast(Any, own.default)
    help, unit, none = about["help"], about["unit"], about.get("none")
    if isinstance(default, bool):
        return {"action": argparse.BooleanOptionalAction if default else "store_true", "help": help}
    if about.get("choices"):  # the settings check them, and suggest similar names
        return {"metavar": "NAME", "help": help}
    if isinstance(default, tuple):
        return {"type": names, "metavar": "A,B", "help": help}
    if own.name == "n_steps":
        return {"type": steps, "metavar": "N", "help": help}
    if unit == "s":
        spoken = f"{1000 * default:g}ms" if 0 < default < 0.1 else f"{default:g}s" if default else "0"
        return {"type": duration, "metavar": "TIME", "help": f"{help}; {spoken} if left out"}
    interval = about.get("within", "[-inf, inf]")
    low = float(interval[1:].split(",")[0])
    if own.type is int:
        read = whole_number(int(low)) if about.get("option") else whole_number(0, _MAX_SEED)
        return {"type": read, "metavar": "N", "help": help}
    if own.type in (float, float | None):
        read = number(low, unit, interval[0] == "(") if low >= 0 else any_number
        return {"type": auto_or(read, none) if none else read, "metavar": unit.upper() or "X", "help": help}
    return {"metavar": "NAME" if own.name == "solver" else "TEXT", "help": help}


_SHARED: dict[str, dict[str, Any]] = {
    "--subtype": {
        "choices": SUBTYPES,
        "default": "keep",
        "metavar": "NAME",
        "help": f"of the samples: {', '.join(SUBTYPES)}",
    },
    "--report": {"type": Path, "metavar": "JSON", "help": "write what was done to this file"},
    "--json": {"type": Path, "metavar": "FILE", "help": "write everything to this file"},
    "--markdown": {"type": Path, "metavar": "FILE", "help": "write the tables to this file"},
    "--overwrite": {"action": "store_true", "help": "replace files that are there already"},
    "--resume": {"action": "store_true", "help": "go on with an earlier run: leave out what it finished"},
    "--recursive": {"action": "store_true", "help": "search folders inside folders, too"},
    "--jobs": {"type": whole_number(1), "default": 1, "metavar": "N", "help": "processes that share the files"},
    "--progress": {
        "choices": MODES,
        "default": "auto",
        "metavar": "HOW",
        "help": "auto, bar, json or none, on the error stream",
    },
}


def add(group: Group, *names: str) -> None:
    """Add options that several commands share: without --overwrite, no command replaces existing files."""
    for name in names:
        group.add_argument(*(("-r", name) if name == "--recursive" else (name,)), **_SHARED[name])


def subtype(args: argparse.Namespace) -> str | None:
    """Return libsndfile's name of the requested coding; None for the source's."""
    return SUBTYPES[args.subtype]


def add_output(parser: argparse.ArgumentParser, what: str, metavar: str = "OUT") -> None:
    """Add the option of the output file."""
    parser.add_argument("-o", "--output", required=True, type=Path, metavar=metavar, help=what)


def model_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of ``masktools.load``."""
    return {name: getattr(args, name) for name in ("model", "device", "precision", "threads", "batch_size")}


def load_model(args: argparse.Namespace) -> "Model":
    """Return the model selected by the options, on its device."""
    import masktools

    return masktools.load(**model_options(args))

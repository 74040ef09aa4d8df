"""The argument parser of the command line, and the options that several commands share: help and one-line errors."""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from masktools.cli.progress import MODES


def fail(message: str) -> str:
    """Return an error as the one line in which every command reports it."""
    return f"masktools: error: {' '.join(message.splitlines())}\n"


class HelpFormatter(argparse.HelpFormatter):
    """Help that shows the default of every option that has one, at a fixed width."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text, default = action.help, action.default
        shown = default not in (None, argparse.SUPPRESS, {}) and not isinstance(default, bool) and action.option_strings
        if not text or not shown or "left out" in text or "%(default)" in text:  # the help itself says what it is
            return text
        return f"{text} (default: {','.join(default) if isinstance(default, tuple) else '%(default)s'})"


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on the error stream and exit code 2."""

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
CHANNELS = ("linked", "independent", "mid_side")
SUBTYPES = {"keep": None, "pcm16": "PCM_16", "pcm24": "PCM_24", "float": "FLOAT"}
TEXTURES = ("blend", "recording", "model")  # as in restoration.render, which must not be imported here
_MAX_SEED = 2**63 - 1

Group = argparse.ArgumentParser | argparse._ArgumentGroup


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a reader of whole numbers in [low, high], for argparse."""
    limits = f"of at least {low}" if high is None else f"from {low} to {high}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"must be a whole number {limits}, got {text!r}")
        return value

    return read


def number(low: float, unit: str = "", above: bool = False) -> Callable[[str], float]:
    """Return a reader of finite numbers from ``low`` on (with ``above``, beyond it), for argparse."""
    limits = f"{'above' if above else 'of at least'} {low:g}{f' {unit}' if unit else ''}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < low or (above and value == low):
            raise argparse.ArgumentTypeError(f"must be a number {limits}, got {text!r}")
        return value

    return read


def steps(text: str) -> int | tuple[int, ...]:
    """Return decoding steps: a whole number, or several with commas, one for each stage.

    >>> steps("16"), steps("20,10,10,10")
    (16, (20, 10, 10, 10))
    """
    read = whole_number(1)
    return tuple(map(read, text.split(","))) if "," in text else read(text)


def any_number(text: str) -> float:
    """Return a finite number, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}")
    return value


def duration(text: str) -> float:
    """Return a duration in seconds: a number of them, or one with ms or s behind it.

    >>> duration("2ms"), duration("4s"), duration("0.5")
    (0.002, 4.0, 0.5)
    """
    number, factor = (text[:-2], 1e-3) if text.endswith("ms") else (text.removesuffix("s"), 1.0)
    try:
        value = float(number) * factor
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"must be a duration such as 2ms or 0.5s, got {text!r}")
    return value


def names(text: str) -> tuple[str, ...]:
    """Return the names in a list with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def auto_or(read: Callable[[str], float]) -> Callable[[str], float | None]:
    """Return a reader of the word auto, which is None, or of what else can be read."""
    return lambda text: None if text == "auto" else read(text)


def is_path(text: str) -> bool:
    """Tell whether a list of gaps is meant to be the name of a file."""
    try:
        return text.lower().endswith((".txt", ".json")) or Path(text).is_file()
    except (OSError, ValueError):  # no name of a file has so many letters
        return False


def layer(text: str) -> int | str:
    """Return a layer as the model takes it: a number where the text is one, else the word."""
    try:
        return int(text)
    except ValueError:
        return text


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
    """Add the seed of everything random."""
    group.add_argument(
        "--seed", type=whole_number(0, _MAX_SEED), default=0, metavar="N", help="the same seed, the same result"
    )


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """Add the settings of the solver; those left out are the preset's, or the paper's."""
    group = parser.add_argument_group("decoding")
    add_seed(group)
    group.add_argument(
        "--steps",
        type=steps,
        metavar="N",
        help="decoding steps, the model's own if left out; 20,10,10,10 for a model of four token streams",
    )
    group.add_argument(
        "--temperature",
        type=number(0.0),
        metavar="X",
        help="noise in the order of decisions; 1.5 if left out",
    )
    group.add_argument(
        "--guidance", type=number(0.0), metavar="X", help="how closely to follow the text; 3 if left out"
    )
    group.add_argument(
        "--preset",
        metavar="NAME",
        help="settings that have a name: fast, draft, paper, quality32, ...; or single ones: rescore_weight=0.35,...",
    )


def decoding(args: argparse.Namespace, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
    """Return the settings of the solver as the jobs take them."""
    return {
        "seed": args.seed,
        "n_steps": args.steps,
        "temperature": args.temperature,
        "guidance": args.guidance,
        "solver": args.preset,
        "progress": progress,
    }


def solver_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the solver as ``Model.solver`` takes them."""
    return {"base": args.preset, "n_steps": args.steps, "temperature": args.temperature, "guidance": args.guidance}


def subtype(args: argparse.Namespace) -> str | None:
    """Return libsndfile's name of the coding that was asked for; None where the source's is kept."""
    return SUBTYPES[args.subtype]


def add_channels(parser: argparse.ArgumentParser) -> None:
    """Add how the channels of a recording hang together, and what it is of."""
    parser.add_argument("--prompt", metavar="TEXT", help="what to hear, or a .npy file of one vector; best left out")
    parser.add_argument(
        "--channels",
        default="linked",
        choices=CHANNELS,
        metavar="HOW",
        help="linked: the same random numbers for all; independent: each its own; mid_side: middle and side of two",
    )


def add_texture(parser: argparse.ArgumentParser) -> None:
    """Add what the restored part is made of in detail."""
    parser.add_argument(
        "--texture",
        default="blend",
        choices=TEXTURES,
        metavar="WHAT",
        help="blend: half way between a classical method and the model; recording: the recording's own grain in the "
        "model's shape; model: the vocoder throughout",
    )


def add_output(parser: argparse.ArgumentParser, what: str, metavar: str = "OUT") -> None:
    """Add the file that the command writes."""
    parser.add_argument("-o", "--output", required=True, type=Path, metavar=metavar, help=what)


def add_report(parser: Group) -> None:
    """Add the file in which the command says what it did."""
    parser.add_argument("--report", type=Path, metavar="JSON", help="write what was done to this file")


def add_overwrite(group: Group) -> None:
    """Add that what is there already may be replaced; without it no command does that."""
    group.add_argument("--overwrite", action="store_true", help="replace files that are there already")


def add_resume(group: Group) -> None:
    """Add that an earlier run of the same command is gone on with."""
    group.add_argument("--resume", action="store_true", help="go on with an earlier run: leave out what it finished")


def add_recursive(group: Group) -> None:
    """Add that folders are searched to the bottom."""
    group.add_argument("-r", "--recursive", action="store_true", help="search folders inside folders, too")


def add_jobs(group: Group) -> None:
    """Add how many processes share the files."""
    group.add_argument("--jobs", type=whole_number(1), default=1, metavar="N", help="processes that share the files")


def add_progress(group: Group) -> None:
    """Add how it is shown how far a command is."""
    group.add_argument(
        "--progress", choices=MODES, default="auto", metavar="HOW", help="auto, bar, json or none, on the error stream"
    )


def load_model(args: argparse.Namespace) -> "Model":
    """Return the model that the options choose, on its device."""
    import masktools

    return masktools.load(
        args.model,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
        batch_size=args.batch_size,
    )


def progress() -> Callable[[int, int], None] | None:
    """Return what shows how far a job has come, on a terminal; None where nobody watches."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        line = f"\r{int(100 * done / total):3}%" if done < total else "\r    \r"
        sys.stderr.write(line)
        sys.stderr.flush()

    return show

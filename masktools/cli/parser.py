"""The argument parser of the command line: one line for each error, and help that no Python version changes."""

import argparse
from typing import Any, NoReturn

__all__ = ["CommandParser", "HelpFormatter", "fail"]


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

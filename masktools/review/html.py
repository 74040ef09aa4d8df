"""The parts of a page that plays and shows without a server and without a network: its frame and its players."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from masktools.review.script import SCRIPT
from masktools.review.style import STYLE

__all__ = ["Player", "as_page", "attribute", "players"]


class Player(NamedTuple):
    """A recording to be played."""

    caption: str
    source: str  # an address: of a file relative to the page, or one that holds the recording
    ours: bool = False  # whether masktools made it
    note: str = ""  # in smaller letters


def as_page(title: str, body: str, alone: bool = False) -> str:
    """Return a whole page.

    Args:
        title: of the window; the body has a heading of its own.
        body: what is on it, as HTML.
        alone: whether all of it is in this one file, so that a browser can be told to fetch nothing.
    """
    nothing = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    )
    policy = f'<meta http-equiv="Content-Security-Policy" content="{nothing}">\n' if alone else ""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{policy}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def players(versions: Sequence[Player], same: bool = True) -> str:
    """Return players beside each other, one of which sounds at a time.

    Args:
        versions: what is played.
        same: whether they are versions of one recording, which share their position.
    """
    made = "\n".join(_player(number, version) for number, version in enumerate(versions, 1))
    return f"<div{attribute('class', 'versions same' if same else 'versions')}>\n{made}\n</div>"


def attribute(name: str, value: str, given: bool = True) -> str:
    """Return an attribute of an element with a space before it, or nothing if it is not given."""
    return f' {name}="{escape(value)}"' if given else ""


def _player(number: int, version: Player) -> str:
    note = f' <span class="soft">{escape(version.note)}</span>' if version.note else ""
    return (
        f"<figure{attribute('class', 'ours', version.ours)}><figcaption>"
        f'<span class="number">{number}</span> {escape(version.caption)}{note}</figcaption>'
        f'<audio controls preload="metadata"{attribute("aria-label", version.caption)}'
        f"{attribute('src', version.source)}></audio></figure>"
    )

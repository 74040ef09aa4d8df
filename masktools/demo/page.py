"""One HTML page that plays and shows what the demonstration did, without a server and without a network."""

from collections.abc import Sequence
from dataclasses import dataclass

from masktools.review.html import Player, data_uri, render
from masktools.tables import Table

__all__ = ["Chapter", "Scene", "make_page"]


@dataclass(frozen=True)
class Scene:
    """Recordings that are compared with each other, and their picture."""

    title: str
    clips: tuple[Player, ...]
    png: bytes
    picture_text: str  # for those who do not see it
    same: bool = True  # whether the clips are versions of one recording

    @property
    def picture(self) -> str:
        """The picture as an address that holds it."""
        return data_uri("image/png", self.png)


@dataclass(frozen=True)
class Chapter:
    """One job of the toolkit."""

    title: str
    text: str
    scenes: tuple[Scene, ...] = ()
    tables: tuple[Table, ...] = ()


def make_page(title: str, facts: str, said: Sequence[str], chapters: Sequence[Chapter]) -> str:
    """Return the page.

    Args:
        title: Its heading.
        facts: What was run, in one line.
        said: The results in sentences.
        chapters: The jobs, in order.
    """
    return render("demo.html", "masktools.demo", alone=False, title=title, facts=facts, said=said, chapters=chapters)

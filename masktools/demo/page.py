"""One HTML page that plays and shows what the demonstration did, without a server and without a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from masktools.review.data import data_uri
from masktools.review.html import Player, as_page, attribute, players
from masktools.review.table import Table, table_html

__all__ = ["Chapter", "Scene", "make_page"]

_HELP = "While versions of a recording play, the keys 1 to 4 change from one to the other at the same moment."


@dataclass(frozen=True)
class Scene:
    """Recordings that are compared with each other, and their picture."""

    title: str
    clips: tuple[Player, ...]
    png: bytes
    picture_text: str  # for those who do not see it
    same: bool = True  # whether the clips are versions of one recording


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
    lines = "".join(f"<li>{escape(sentence)}</li>" for sentence in said)
    body = "\n".join(map(_chapter, chapters))
    return as_page(
        title,
        f'<h1>{escape(title)}</h1>\n<p class="soft">{escape(facts)}</p>\n<ul class="said">{lines}</ul>\n'
        f'<p class="soft">{_HELP}</p>\n{body}',
    )


def _chapter(chapter: Chapter) -> str:
    scenes = "\n".join(map(_scene, chapter.scenes))
    shown = "\n".join(map(table_html, chapter.tables))
    return f"<h2>{escape(chapter.title)}</h2>\n<p>{escape(chapter.text)}</p>\n{scenes}\n{shown}"


def _scene(scene: Scene) -> str:
    return (
        f'<section class="scene"><h3>{escape(scene.title)}</h3>\n{players(scene.clips, scene.same)}\n'
        f"<img{attribute('alt', scene.picture_text)}{attribute('src', data_uri('image/png', scene.png))}>\n</section>"
    )

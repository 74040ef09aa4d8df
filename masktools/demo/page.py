"""One HTML page that plays and shows what the demonstration did, without a server and without a network."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from masktools.demo.tables import Table

__all__ = ["Chapter", "Clip", "Scene", "make_page"]

_STYLE = """
:root { color-scheme: light dark; --paper: #fbfbf9; --ink: #1d2229; --soft: #5b6470; --line: #d9dbd7; --card: #fff;
  --mark: #e4f3f7; --key: #0b6b82 }
@media (prefers-color-scheme: dark) { :root { --paper: #14171c; --ink: #e3e7ed; --soft: #9aa4b1; --line: #313843;
  --card: #1b1f26; --mark: #17333b; --key: #6ee7ff } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.2rem 1rem 4rem; max-width: 56rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0 } h2 { font-size: 1.25rem; margin: 2.6rem 0 .3rem }
h3 { font-size: 1rem; margin: 0 0 .6rem } p { margin: .4rem 0 .9rem } .soft { color: var(--soft); font-size: .9rem }
section.scene { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem;
  margin: 1rem 0 }
.clips { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: .7rem;
  margin-bottom: .9rem }
figure { margin: 0 } figcaption { font-size: .9rem; margin-bottom: .2rem }
.ours figcaption { color: var(--key); font-weight: 600 }
audio { width: 100%; height: 2.4rem } img { display: block; width: 100%; height: auto; border-radius: 6px }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-size: .88rem }
caption { text-align: left; font-weight: 600; padding: .3rem 0 } tr.ours { background: var(--mark) }
th, td { text-align: right; padding: .25rem .55rem; border-bottom: 1px solid var(--line); white-space: nowrap;
  font-variant-numeric: tabular-nums } th:first-child, td:first-child { text-align: left }
td.word, th.word { text-align: left } ul.said { padding-left: 1.1rem } ul.said li { margin: .3rem 0 }
"""
# The players of one scene share their position, and one sounds at a time: switching compares the same moment.
_SCRIPT = """
document.addEventListener('play', function (event) {
  var now = event.target;
  document.querySelectorAll('audio').forEach(function (other) {
    if (other === now || other.paused) return;
    if (other.closest('.scene') === now.closest('.scene') && now.closest('.same')) now.currentTime = other.currentTime;
    other.pause();
  });
}, true);
"""


@dataclass(frozen=True)
class Clip:
    """A recording to be played."""

    caption: str
    file: str  # relative to the page
    ours: bool = False  # whether masktools made it


@dataclass(frozen=True)
class Scene:
    """Recordings that are compared with each other, and their picture."""

    title: str
    clips: tuple[Clip, ...]
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
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f'<p class="soft">{escape(facts)}</p>\n<ul class="said">{lines}</ul>\n{body}\n'
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _chapter(chapter: Chapter) -> str:
    scenes = "\n".join(map(_scene, chapter.scenes))
    shown = "\n".join(map(_table, chapter.tables))
    return f"<h2>{escape(chapter.title)}</h2>\n<p>{escape(chapter.text)}</p>\n{scenes}\n{shown}"


def _scene(scene: Scene) -> str:
    clips = "\n".join(map(_clip, scene.clips))
    picture = base64.b64encode(scene.png).decode("ascii")
    return (
        f'<section class="scene"><h3>{escape(scene.title)}</h3>\n<div{_class("clips same" if scene.same else "clips")}>'
        f'\n{clips}\n</div>\n<img alt="{escape(scene.picture_text)}" src="data:image/png;base64,{picture}">\n</section>'
    )


def _clip(clip: Clip) -> str:
    return (
        f"<figure{_class('ours', clip.ours)}><figcaption>{escape(clip.caption)}</figcaption>"
        f'<audio controls preload="metadata" src="{escape(clip.file)}"></audio></figure>'
    )


def _table(table: Table) -> str:
    words = [all(not _is_number(row[column]) for row in table.rows) for column in range(len(table.columns))]

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{_class('word', word)}>{escape(cell)}</{tag}>" for cell, word in zip(cells, words, strict=True)
        )

    rows = "\n".join(
        f"<tr{_class('ours', number in table.marked)}>{line(row, 'td')}</tr>" for number, row in enumerate(table.rows)
    )
    return (
        f'<div class="wide"><table><caption>{escape(table.title)}</caption>\n'
        f"<thead><tr>{line(table.columns, 'th')}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n"
        f'<p class="soft">{escape(table.note)}</p>'
    )


def _class(name: str, given: bool = True) -> str:
    return f' class="{name}"' if given else ""


def _is_number(word: str) -> bool:
    return word.lstrip("+-")[:1].isdigit()

"""One page that plays and shows two versions of a recording, all of it in one file."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from masktools import io
from masktools.errors import ParameterError
from masktools.review import tables
from masktools.review.alignment import open_all
from masktools.review.comparison import Comparison, Version
from masktools.review.data import data_uri, wav_bytes
from masktools.review.excerpts import Excerpt, choose_excerpts
from masktools.review.html import Player, as_page, attribute, players
from masktools.review.labels import time_label
from masktools.review.panels import Scale
from masktools.review.picture import draw_comparison
from masktools.review.sheet import colour_keys, sheet
from masktools.review.shown import Shown, rows_for, show
from masktools.review.table import table_html

__all__ = ["write_page"]

_N_ROWS, _COLUMNS_PER_S, _COLUMNS = 128, 100.0, (1000, 6000)
_EXACT_IN_16 = ("PCM_16", "PCM_U8", "PCM_S8")
_HELP = (
    "<kbd>1</kbd> <kbd>2</kbd> <kbd>3</kbd> choose the version at the same moment, <kbd>space</kbd> plays and pauses, "
    "<kbd>L</kbd> loops around the nearest repair; a click into a spectrogram goes there. Nothing is scaled: all "
    "versions sound at their own level."
)


def write_page(comparison: Comparison, path: Path | str, *, max_s: float = 60.0, max_bytes: int = 24_000_000) -> None:
    """Write a page with players, spectrograms and figures into one file that needs nothing else.

    Of recordings that are longer than the limits the page holds excerpts, and links to the whole files.

    Args:
        comparison: what is shown; its files must still be there.
        path: where to.
        max_s: seconds of sound that the page holds, of each version.
        max_bytes: of sound that the page holds, of all versions together, before it is written as text.

    Raises:
        AudioError: a file that can no longer be read, or a page that cannot be written.
        ParameterError: limits that are not positive.
    """
    if not max_s > 0 or max_bytes < 1:
        raise ParameterError(f"max_s and max_bytes must be above 0, got {max_s:g} and {max_bytes}")
    path = Path(path)
    with ExitStack() as stack:
        recordings = open_all(stack, [version.path for version in comparison.versions])
        bits = 16 if all(recording.subtype in _EXACT_IN_16 for recording in recordings) else 24
        bytes_per_s = sum(one.sample_rate * one.n_channels * bits // 8 for one in recordings)
        longest_s = max(version.duration_s for version in comparison.versions[:2])
        budget_s = min(max_s, max_bytes / bytes_per_s)
        excerpts = choose_excerpts(longest_s, comparison.repairs, comparison.profile, budget_s)
        shown, scale = show(recordings, rows_for(comparison, _N_ROWS), excerpts, _COLUMNS_PER_S, _COLUMNS)
        scenes = [_scene(comparison, one, scale, _sources(recordings, one.span, bits)) for one in shown]
        whole = draw_comparison(comparison, recordings, titled=False) if excerpts[0].seconds < longest_s else b""
    repairs = _repairs(comparison, excerpts)
    body = [
        f"<h1>{escape(comparison.title)}</h1>",
        f'<ul class="facts soft">{"".join(f"<li>{_facts(version)}</li>" for version in comparison.versions)}</ul>',
        *([f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in comparison.notes)}</ul>"] if comparison.notes else []),
        f'<p class="soft">{_HELP}</p>',
        *(_cut(comparison, excerpts, path, whole) if whole else []),
        *((*repairs, *scenes) if len(scenes) > 1 else (*scenes, *repairs)),
        "<h2>Figures</h2>",
        *(table_html(one) for one in (tables.difference_table(comparison), tables.versions_table(comparison))),
    ]
    with io.replacing(path) as part:
        part.write_text(as_page(comparison.title, "\n".join(body), alone=True), encoding="utf-8")


def _facts(version: Version) -> str:
    channels = f"{version.n_channels} channel{'s' * (version.n_channels > 1)}"
    return escape(
        f"{version.name}: {version.path.name}, {version.format} {version.subtype}, {version.sample_rate} Hz, "
        f"{channels}, {time_label(version.duration_s)}"
    )


def _scene(comparison: Comparison, shown: Shown, scale: Scale, sources: Sequence[str]) -> str:
    """Return the players and the spectrograms of one stretch."""
    span = shown.span
    name = f"{time_label(span.start_s, 0.1)} to {time_label(span.end_s, 0.1)}"
    picks = "".join(
        f'<button type="button" class="pick" aria-pressed="{"false" if number else "true"}">{number + 1}'
        f'<span class="word"> {version.name}</span></button>'
        for number, version in enumerate(comparison.versions)
    )
    versions = [
        Player(version.name, source, ours=version is comparison.after, note=version.path.name)
        for version, source in zip(comparison.versions, sources, strict=True)
    ]
    return (
        f'<section class="scene" data-start="{span.start_s:.6f}" data-seconds="{span.seconds:.6f}" aria-label="{name}">'
        f"\n<h3>{name}</h3>\n{players(versions)}\n"
        f"{sheet(shown.panels(comparison, scale), rows_for(comparison, _N_ROWS), span)}\n{colour_keys(scale)}\n"
        f'<div class="bar" role="group" aria-label="Controls"><button type="button" class="play">Play</button>{picks}'
        '<button type="button" class="loop" aria-pressed="false">Loop</button>'
        '<button type="button" class="farther" aria-label="Zoom out">\N{MINUS SIGN}</button>'
        '<button type="button" class="closer" aria-label="Zoom in">+</button><span class="clock"></span></div>\n'
        "</section>"
    )


def _sources(recordings: Sequence[io.Recording], span: Excerpt, bits: int) -> list[str]:
    """Return the sound of a stretch of each recording, as it is."""
    sources = []
    for recording in recordings:
        rate = recording.sample_rate
        samples = recording.read(round(span.start_s * rate), round(span.end_s * rate), finite=False)
        if not samples.shape[1]:  # it is over by then
            samples = np.zeros((recording.n_channels, 1), np.float32)
        sources.append(data_uri("audio/wav", wav_bytes(samples, rate, bits)))
    return sources


def _cut(comparison: Comparison, excerpts: Sequence[Excerpt], path: Path, whole: bytes) -> list[str]:
    """Return what is said where not all of a recording can be heard, with links to the files."""
    n_heard = sum(_scene_of(repair.start_s, excerpts) is not None for repair in comparison.repairs)
    times = ", ".join(f"{time_label(one.start_s, 0.1)}\N{EN DASH}{time_label(one.end_s, 0.1)}" for one in excerpts)
    of_repairs = f" {n_heard} of {len(comparison.repairs)} repairs are in them." if comparison.repairs else ""
    links = ", ".join(
        f"<a{attribute('href', _address(version.path, path))}>{escape(version.path.name)}</a>"
        for version in comparison.versions
    )
    return [
        f"<p>The recordings are too long for a page: these excerpts can be heard: {times}.{of_repairs} "
        f"The whole files: {links}.</p>",
        f'<div class="wide"><img{attribute("class", "overview")} alt="Spectrograms of the whole recording before and '
        f'after, and of the difference"{attribute("src", data_uri("image/png", whole))}></div>',
    ]


def _address(file: Path, page: Path) -> str:
    """Return the address of a file as it is seen from the page."""
    try:
        relative = os.path.relpath(file.resolve(), page.resolve().parent)
    except ValueError:  # on another drive
        return file.resolve().as_uri()
    return quote(Path(relative).as_posix())


def _repairs(comparison: Comparison, excerpts: Sequence[Excerpt]) -> list[str]:
    """Return the list of repairs, which can be gone to where they can be heard."""
    if not comparison.repairs:
        return []
    first_cells = []
    for number, repair in enumerate(comparison.repairs, 1):
        scene, name = _scene_of(repair.start_s, excerpts), f"{number}: {time_label(repair.start_s)}"
        if scene is None:
            first_cells.append(name)
            continue
        start_s = excerpts[scene].start_s
        place = (
            f'type="button" data-scene="{scene}" data-start="{repair.start_s - start_s:.6f}" '
            f'data-end="{repair.end_s - start_s:.6f}"'
        )
        first_cells.append(
            f'<button {place} data-repair="go" title="a second before it">{name}</button>'
            f'<button {place} data-repair="loop" aria-label="Loop around repair {number}">Loop</button>'
        )
    return ["<h2>Repairs</h2>", table_html(tables.repairs_table(comparison), first_cells)]


def _scene_of(second: float, excerpts: Sequence[Excerpt]) -> int | None:
    """Return the number of the excerpt in which a time lies."""
    inside = (number for number, one in enumerate(excerpts) if one.start_s <= second < one.end_s)
    return next(inside, None)

"""HTML pages with players and spectrograms, without a server or a network: the comparison of two versions."""

import base64
import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import soundfile
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from masktools import io
from masktools.core.errors import ParameterError
from masktools.review import tables
from masktools.review.comparison import Comparison, Version, open_all
from masktools.review.panels import (
    N_LEVELS,
    N_SIGNED,
    Mark,
    Panel,
    Rows,
    Scale,
    hex_colour,
    hz_label,
    level_colours,
    picture_of,
    signed_colours,
    time_label,
    to_png,
)
from masktools.review.picture import Excerpt, Shown, choose_excerpts, draw_comparison, rows_for, show

_PACKAGE = "masktools.review"


class Player(NamedTuple):
    """An audio player on a page."""

    caption: str
    source: str  # URL of a file relative to the page, or a data URI
    ours: bool = False  # whether masktools made it
    note: str = ""  # in smaller letters


def render(template: str, package: str = _PACKAGE, **values: Any) -> str:
    """Return the HTML of a template with values, all of which are escaped.

    Args:
        template: name of its file in the folder ``templates`` of the package, or of this one.
        package: package of the template.
        values: values of the template; ``alone`` marks a page in a single file, whose browser can be
            forbidden to fetch anything.
    """
    return _environment(package).get_template(template).render(values)


@cache
def _environment(package: str) -> Environment:
    loader = ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, _PACKAGE))])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["asset"] = _asset
    return environment


@cache
def _asset(name: str) -> Markup:
    return Markup((files(_PACKAGE) / "static" / name).read_text(encoding="utf-8"))  # noqa: S704  our own file


def data_uri(kind: str, content: bytes) -> str:
    """Return content as a data URI.

    >>> data_uri("image/png", b"PNG")
    'data:image/png;base64,UE5H'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def wav_bytes(samples: np.ndarray, sample_rate: int, bits: int) -> bytes:
    """Return samples as a WAV file: nothing is scaled, samples beyond full scale are clipped.

    Args:
        samples: (channels, t), full scale 1; those that are not finite become zero.
        sample_rate: sampling rate in Hz.
        bits: bits per sample, 16 or 24.

    Raises:
        ParameterError: another number of bits, or samples of another shape.
    """
    if bits not in (16, 24):
        raise ParameterError(f"a player's samples must have 16 or 24 bits, got {bits}")
    if samples.ndim != 2 or not samples.size:
        raise ParameterError(f"samples must be of shape (channels, t) and not empty, got {samples.shape}")
    full_scale = 2.0 ** (bits - 1)
    finite = np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    codes = np.rint(finite * full_scale).clip(-full_scale, full_scale - 1).astype(np.int64)
    held = BytesIO()  # libsndfile takes the upper bits of 32, so that codes are exact
    soundfile.write(held, (codes << (32 - bits)).astype(np.int32).T, sample_rate, f"PCM_{bits}", format="WAV")
    return held.getvalue()


_N_ROWS, _COLUMNS_PER_S, _COLUMNS = 128, 100.0, (1000, 6000)
_EXACT_IN_16 = ("PCM_16", "PCM_U8", "PCM_S8")
_N_STOPS = 12


def write_page(comparison: Comparison, path: Path | str, *, max_s: float = 60.0, max_bytes: int = 24_000_000) -> None:
    """Write a page with players, spectrograms and figures as a single, self-contained file.

    For recordings longer than the limits the page holds excerpts, and links to the whole files.

    Args:
        comparison: comparison to show; its files must still exist.
        path: path of the page.
        max_s: greatest length in seconds of the audio on the page, of each version.
        max_bytes: greatest size of the audio on the page, of all versions together, before base64.

    Raises:
        AudioError: a file that can no longer be read, or a page that cannot be written.
        ParameterError: limits that are not positive.
    """
    if not max_s > 0 or max_bytes < 1:
        raise ParameterError(f"max_s and max_bytes must be above 0, got {max_s:g} and {max_bytes}")
    path = Path(path)
    rows = rows_for(comparison, _N_ROWS)
    with ExitStack() as stack:
        recordings = open_all(stack, [version.path for version in comparison.versions])
        bits = 16 if all(recording.subtype in _EXACT_IN_16 for recording in recordings) else 24
        bytes_per_s = sum(one.sample_rate * one.n_channels * bits // 8 for one in recordings)
        longest_s = max(version.duration_s for version in comparison.versions[:2])
        budget_s = min(max_s, max_bytes / bytes_per_s)
        excerpts = choose_excerpts(longest_s, comparison.repairs, comparison.profile, budget_s)
        shown, scale = show(recordings, rows, excerpts, _COLUMNS_PER_S, _COLUMNS)
        scenes = [_scene(comparison, one, scale, rows, _sources(recordings, one.span, bits)) for one in shown]
        cut = excerpts[0].seconds < longest_s
        overview = draw_comparison(comparison, recordings, titled=False) if cut else b""
    text = render(
        "comparison.html",
        alone=True,
        title=comparison.title,
        facts=[_facts(version) for version in comparison.versions],
        notes=comparison.notes,
        overview=data_uri("image/png", overview) if cut else "",
        heard=_heard(comparison, excerpts),
        links=[(version.path.name, _address(version.path, path)) for version in comparison.versions],
        scenes=scenes,
        scale=_keys(scale),
        repairs=tables.repairs_table(comparison),
        places=_places(comparison, excerpts),
        tables=(tables.difference_table(comparison), tables.versions_table(comparison)),
    )
    with io.replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _facts(version: Version) -> str:
    channels = f"{version.n_channels} channel{'s' * (version.n_channels > 1)}"
    return (
        f"{version.name}: {version.path.name}, {version.format} {version.subtype}, {version.sample_rate} Hz, "
        f"{channels}, {time_label(version.duration_s)}"
    )


def _scene(comparison: Comparison, shown: Shown, scale: Scale, rows: Rows, sources: Sequence[str]) -> dict[str, Any]:
    """Return the template's values for the players and the spectrograms of one excerpt."""
    span = shown.span
    start, end = time_label(span.start_s, 0.1), time_label(span.end_s, 0.1)
    return {
        "span": span,
        "start": start,
        "name": f"{start} to {end}",
        "range": f"{start}\N{EN DASH}{end}",
        "players": [
            Player(version.name, source, ours=version is comparison.after, note=version.path.name)
            for version, source in zip(comparison.versions, sources, strict=True)
        ],
        "heights": [(f"{100 * rows.height(hz):.2f}", hz_label(hz)) for hz in rows.ticks_hz()],
        "strips": [_strip(panel, rows, span) for panel in shown.panels(comparison, scale)],
    }


def _strip(panel: Panel, rows: Rows, span: Excerpt) -> dict[str, Any]:
    """Return the template's values for one spectrogram; ``said`` is its description for screen readers."""
    start, end = time_label(span.start_s, 0.1), time_label(span.end_s, 0.1)
    marks = [_mark(mark, rows, span) for mark in panel.marks if mark.start_s < span.end_s and mark.end_s > span.start_s]
    if panel.cutoff_hz is not None and panel.cutoff_hz < rows.top_hz:
        marks.append(("cut", f"bottom:{100 * rows.height(panel.cutoff_hz):.2f}%"))
    return {
        "title": panel.title,
        "said": f"Spectrogram, {panel.title}: {start} to {end}, 0 to {rows.top_hz / 1000:.3g} kHz",
        "picture": data_uri("image/png", to_png(picture_of(panel.image, panel.signed))),
        "marks": marks,
    }


def _mark(mark: Mark, rows: Rows, span: Excerpt) -> tuple[str, str]:
    """Return the CSS class and the style of a mark."""
    left, right = (
        100 * (min(max(edge_s, span.start_s), span.end_s) - span.start_s) / span.seconds
        for edge_s in (mark.start_s, mark.end_s)
    )
    place = f"left:{left:.3f}%;width:{right - left:.3f}%"
    if mark.low_hz is None and mark.high_hz is None:
        return "span", place
    low = rows.height(mark.low_hz or 0.0)
    high = 1.0 if mark.high_hz is None else rows.height(mark.high_hz)
    return "span band", f"{place};bottom:{100 * low:.2f}%;top:{100 * (1 - high):.2f}%"


def _keys(scale: Scale) -> dict[str, str]:
    """Return the legend of the colours."""
    ends = {"low": scale.low_db, "high": scale.high_db, "most": scale.most_db}
    gradients = {"levels": _gradient(level_colours(N_LEVELS)), "signed": _gradient(signed_colours(N_SIGNED))}
    return {name: f"{value:.0f}".replace("-", "\N{MINUS SIGN}") for name, value in ends.items()} | gradients


def _gradient(colours: np.ndarray) -> str:
    stops = colours[np.linspace(0, len(colours) - 1, _N_STOPS).round().astype(int)]
    return f"linear-gradient(90deg,{','.join(hex_colour(stop) for stop in stops)})"


def _sources(recordings: Sequence[io.Recording], span: Excerpt, bits: int) -> list[str]:
    """Return the audio of an excerpt of each recording as data URIs."""
    sources = []
    for recording in recordings:
        rate = recording.sample_rate
        samples = recording.read(round(span.start_s * rate), round(span.end_s * rate), finite=False)
        if not samples.shape[1]:  # the recording has ended before
            samples = np.zeros((recording.n_channels, 1), np.float32)
        sources.append(data_uri("audio/wav", wav_bytes(samples, rate, bits)))
    return sources


def _heard(comparison: Comparison, excerpts: Sequence[Excerpt]) -> str:
    """Return how many repairs are in the excerpts, where these are not the whole recording."""
    if not comparison.repairs:
        return ""
    n_heard = sum(_scene_of(repair.start_s, excerpts) is not None for repair in comparison.repairs)
    return f" {n_heard} of {len(comparison.repairs)} repairs are in them."


def _address(file: Path, page: Path) -> str:
    """Return the URL of a file relative to the page."""
    try:
        relative = os.path.relpath(file.resolve(), page.resolve().parent)
    except ValueError:  # on another drive
        return file.resolve().as_uri()
    return quote(Path(relative).as_posix())


def _places(comparison: Comparison, excerpts: Sequence[Excerpt]) -> list[dict[str, Any] | None]:
    """Return for each repair the number of its excerpt, and its times in it; None where it is in none."""
    places: list[dict[str, Any] | None] = []
    for number, repair in enumerate(comparison.repairs, 1):
        scene = _scene_of(repair.start_s, excerpts)
        if scene is None:
            places.append(None)
            continue
        start_s = excerpts[scene].start_s
        name = f"{number}: {time_label(repair.start_s)}"
        places.append(
            {"scene": scene, "name": name, "start_s": repair.start_s - start_s, "end_s": repair.end_s - start_s}
        )
    return places


def _scene_of(second: float, excerpts: Sequence[Excerpt]) -> int | None:
    """Return the number of the excerpt that contains a time."""
    inside = (number for number, one in enumerate(excerpts) if one.start_s <= second < one.end_s)
    return next(inside, None)

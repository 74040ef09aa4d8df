"""Recordings and comparisons in notebooks: players and a spectrogram, small enough for a cell."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from markupsafe import Markup

from masktools.review import tables
from masktools.review.comparison import Comparison, Repair, open_all, repairs_of
from masktools.review.page import data_uri, wav_bytes
from masktools.review.panels import Mark, Panel, Rows, Scale, draw_panels, mean_levels, spectrogram, top_level_db
from masktools.review.picture import Excerpt, choose_excerpts, rows_for, show

LONGEST_S = 10.0
"""Greatest length in a cell, of each version."""
MAX_BYTES = 2_000_000
"""Greatest size of a cell; for longer recordings there are the app, and pages by ``review.write_page``."""

_SOUND_BYTES = 1_250_000  # before base64, which adds a third
_N_ROWS, _N_COLS, _RANGE_DB = 120, 720, 70.0


def recording_html(samples: np.ndarray, sample_rate: int, report: Mapping[str, Any]) -> str:
    """Return a player and the spectrogram of a recording, or of the context of its longest repair.

    Args:
        samples: (channels, t), full scale 1.
        sample_rate: sampling rate in Hz.
        report: report of the job; its gaps are marked.
    """
    duration_s = samples.shape[1] / sample_rate
    repairs = [one for one in repairs_of(report.get("gaps") or ()) if one.start_s < duration_s]
    facts = f"{report.get('job', 'recording')}, {sample_rate} Hz, {samples.shape[0]} ch, {duration_s:.2f} s"
    if not samples.size:
        return _cell([], b"", facts, "")
    span = _span(duration_s, repairs, (), sample_rate * len(samples))
    start, stop = round(span.start_s * sample_rate), max(round(span.end_s * sample_rate), 1)
    stop = max(stop, start + 1)
    heard = samples[:, start:stop]
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    rows = Rows(sample_rate / 2, _N_ROWS)
    drawn: dict[str, Any] = {"rows": rows, "n_cols": _N_COLS, "span": (start, stop)}
    levels = mean_levels(spectrogram(lambda first, last: finite[:, first:last], finite.shape[1], sample_rate, **drawn))
    high_db = top_level_db([levels])
    scale = Scale(high_db - _RANGE_DB, high_db)
    panel = Panel("", scale.show(levels), marks=tuple(map(_mark, repairs)))
    picture = draw_panels([panel], rows, scale, span.start_s, span.end_s)
    return _cell([("", wav_bytes(heard, sample_rate, 16))], picture, facts, _shown(span, duration_s))


def comparison_html(comparison: Comparison) -> str:
    """Return players and spectrograms of the versions, and of their difference, for the context of the longest repair.

    Raises:
        AudioError: a file that can no longer be read.
    """
    rows = rows_for(comparison, _N_ROWS)
    with ExitStack() as stack:
        recordings = open_all(stack, [version.path for version in comparison.versions])
        per_s = sum(recording.sample_rate * recording.n_channels for recording in recordings)
        longest_s = max(version.duration_s for version in comparison.versions[:2])
        span = _span(longest_s, comparison.repairs, comparison.profile, per_s)
        (shown,), scale = show(recordings, rows, [span], 1.0, (_N_COLS, _N_COLS))
        players = []
        for version, recording in zip(comparison.versions, recordings, strict=True):
            start, stop = (min(round(at * recording.sample_rate), recording.n_samples) for at in span)
            if stop > start:
                samples = recording.read(start, stop, finite=False)
                players.append((version.name, wav_bytes(samples, recording.sample_rate, 16)))
    picture = draw_panels(shown.panels(comparison, scale), rows, scale, span.start_s, span.end_s)
    said = "; ".join(f"{name}: {value}" for name, value in tables.difference_table(comparison).rows)
    return _cell(players, picture, f"{comparison.title}. {said}", _shown(span, longest_s))


def _span(duration_s: float, repairs: Sequence[Repair], profile: Sequence[float], samples_per_s: int) -> Excerpt:
    """Return the span to play: all of it, or one as long as a cell may hold."""
    longest_s = min(LONGEST_S, _SOUND_BYTES / (2 * samples_per_s))
    return max(choose_excerpts(duration_s, repairs, profile, longest_s), key=lambda excerpt: excerpt.seconds)


def _mark(repair: Repair) -> Mark:
    return Mark(repair.start_s, repair.end_s, repair.low_hz, repair.high_hz)


def _shown(span: Excerpt, duration_s: float) -> str:
    return "" if span.seconds >= duration_s else f"shown: {span.start_s:.2f} to {span.end_s:.2f} s"


def _cell(players: Sequence[tuple[str, bytes]], picture: bytes, facts: str, note: str) -> str:
    """Return the HTML of a cell; texts are escaped."""
    said = f"{facts} ({note})" if note else facts
    parts = [Markup("<figure style='margin:0'><figcaption>{}</figcaption>").format(said)]
    for name, sound in players:
        player = Markup("<div>{} <audio controls preload='none' src='{}' style='vertical-align:middle'></audio></div>")
        parts.append(player.format(name, data_uri("audio/wav", sound)))
    if picture:
        image = Markup("<img alt='spectrogram' style='max-width:100%;height:auto' src='{}'>")
        parts.append(image.format(data_uri("image/png", picture)))
    return "".join([*parts, "</figure>"])

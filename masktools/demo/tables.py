"""The demonstration's measurements as tables and as sentences, for the terminal and for the page."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from masktools.core.tables import Table

OURS, EMPTY, COPY, COPIED_UP = "masktools", "left empty", "best copy", "copied up"

Row = Mapping[str, Any]
_EDGE_S, _NEAR = 0.001, 0.05  # greatest error of a detected gap's edge and of a detected cutoff
Columns = Mapping[str, Callable[[Row], str]]


def all_tables(report: Row) -> dict[str, Table]:
    """Return the tables of a report of ``run_demo``, by the names of its parts."""
    return {
        "gaps": _table("Gaps", report["gaps"], _GAPS, _GAPS_NOTE),
        "bands": _table("Bands above the cutoff", report["bands"], _BANDS, _BANDS_NOTE),
        "restored": _table("Found and repaired", report["restored"], _RESTORED, _RESTORED_NOTE),
        "sounds": _sounds(report["sounds"]),
        "neighbours": _table("Nearest neighbours", report["neighbours"], _NEIGHBOURS, _NEIGHBOURS_NOTE),
        "speed": _table("Time", report["speed"], _SPEED, _SPEED_NOTE),
    }


def sentences(report: Row) -> list[str]:
    """Return the results in words, good or bad, one sentence for each job."""
    bias = median(row["envelope_bias_db"] for row in report["bands"] if row["method"] == OURS)
    gaps = _compared(report["gaps"], "envelope_db", {EMPTY: "silence", COPY: "the best copy"})
    bands = _compared(report["bands"], "lsd_high_db", {EMPTY: "leaving it empty", COPIED_UP: "copying up"})
    return [
        f"Gaps: closer to the original {gaps}.",
        f"Bandwidth: above the cutoff closer to the original {bands}; the level there is off by {bias:+.1f} dB.",
        _restored(report["restored"]),
        _told_apart(report["sounds"]),
        _found(report["neighbours"]),
    ]


_GAPS: Columns = {
    "gap": lambda row: f"{row['recording']} {row['start_s']:.2f}-{row['end_s']:.2f} s",
    "by": lambda row: row["method"],
    "envelope dB": lambda row: f"{row['envelope_db']:.1f}",
    "LSD dB": lambda row: f"{row['lsd_db']:.1f}",
    "level dB": lambda row: f"{row['level_error_db']:+.1f}",
    "seam dB": lambda row: f"{row['seam_db']:+.1f}",
    "changed": lambda row: str(row["n_changed"]),
}
_GAPS_NOTE = (
    "Envelope: error of the third-octave levels inside the gap; lower is closer. LSD: log-spectral distance there; two "
    "stretches of the same noise are 7.9 dB apart, so that what is smooth is nearer to either. Level: how much louder "
    "than the original. Seam: how far the worse join sticks out of its surroundings. Changed: samples outside the gaps "
    "that are no longer the original's."
)
_BANDS: Columns = {
    "recording": lambda row: f"{row['recording']} from {row['cutoff_hz'] / 1000:g} kHz",
    "by": lambda row: row["method"],
    "LSD dB": lambda row: f"{row['lsd_high_db']:.1f}",
    "envelope dB": lambda row: f"{row['envelope_rms_db']:.1f}",
    "bias dB": lambda row: f"{row['envelope_bias_db']:+.1f}",
    "level dBFS": lambda row: f"{row['high_level_db']:.1f}",
    "true level": lambda row: f"{row['high_level_true_db']:.1f}",
    "LSD below": lambda row: f"{row['lsd_low_db']:.2f}",
}
_BANDS_NOTE = (
    "From 300 Hz above the cutoff to 10.5 kHz. Envelope and bias: root mean square and mean error of the third-octave "
    "levels. Level: of that band, and the original's. LSD below: distance to the original in the band that was there."
)
_RESTORED: Columns = {
    "recording": lambda row: row["recording"],
    "lost": lambda row: _spans(row["lost_s"]),
    "found": lambda row: _spans(row["found_s"]),
    "cutoff": lambda row: f"{row['cutoff_hz']:.0f} Hz",
    "found at": lambda row: "none" if row["found_hz"] is None else f"{row['found_hz']:.0f} Hz",
    "changed": lambda row: str(row["n_changed"]),
}
_RESTORED_NOTE = (
    "Lost and found: gaps in seconds; a short one in a pause, as the voice's at 0.7 s, is not told from the pause. "
    "Changed: samples outside the gaps that filling them has changed. What extends the band is added; "
    "NAME-comparison.html beside this page shows each before and after, and the difference."
)
_SOUNDS: Columns = {
    "sound": lambda row: row["name"],
    "level dBFS": lambda row: f"{row['level_db']:.1f}",
    "centroid Hz": lambda row: f"{row['centroid_hz']:.0f}",
    "flatness": lambda row: f"{row['flatness']:.3f}",
    "unsteady dB": lambda row: f"{row['unsteadiness_db']:.1f}",
}
_SOUNDS_NOTE = (
    "Centroid: the middle of the spectrum. Flatness: 0 for a tone, 0.56 for white noise. Unsteady: standard deviation "
    "of the level over time."
)
_AGREEMENT_NOTE = (
    " The last columns are cosines of the sound with each text by the model's own text-audio encoder. It also guided "
    "the generation: they say that the guidance arrived, not that people would agree."
)
_NEIGHBOURS: Columns = {
    "sound": lambda row: row["name"],
    "nearest": lambda row: row["nearest"],
    "cosine": lambda row: f"{row['cosine']:+.2f}",
    "second": lambda row: row["second"],
    "its cosine": lambda row: f"{row['second_cosine']:+.2f}",
}
_NEIGHBOURS_NOTE = (
    "The two halves of a recording share no sample. Cosines of the embeddings, each less the mean of all shown here."
)
_SPEED: Columns = {
    "job": lambda row: row["job"],
    "audio s": lambda row: f"{row['audio_s']:.1f}",
    "tokens": lambda row: str(row["n_tokens"]),
    "took s": lambda row: f"{row['wall_s']:.1f}",
    "x real time": lambda row: f"{row['audio_s'] / max(row['wall_s'], 1e-9):.2f}",
}
_SPEED_NOTE = (
    "Seconds of recording handed in (for gaps too: the whole recording) or made, tokens that what was missing spans "
    "(for embeddings: all; generation fills a whole window), and seconds until the result was there."
)


def _spans(spans_s: Sequence[Sequence[float]]) -> str:
    return ", ".join(f"{start_s:.3f}-{end_s:.3f}" for start_s, end_s in spans_s) or "nothing"


def _table(title: str, rows: Sequence[Row], columns: Columns, note: str) -> Table:
    words = tuple(tuple(read(row) for read in columns.values()) for row in rows)
    marked = tuple(number for number, row in enumerate(rows) if row.get("method") == OURS)
    return Table(title, tuple(columns), words, (note,), marked)


def _sounds(rows: Sequence[Row]) -> Table:
    if any(row["agreement"] is None for row in rows):
        return _table("Sounds", rows, _SOUNDS, _SOUNDS_NOTE)
    texts = {
        f'"{prompt}"': lambda row, prompt=prompt: f"{row['agreement'][prompt]:+.2f}" for prompt in rows[0]["agreement"]
    }
    return _table("Sounds", rows, {**_SOUNDS, **texts}, _SOUNDS_NOTE + _AGREEMENT_NOTE)


def _compared(rows: Sequence[Row], key: str, others: Mapping[str, str]) -> str:
    def values(method: str) -> list[float]:
        return [row[key] for row in rows if row["method"] == method]

    ours = values(OURS)
    parts = []
    for method, words in others.items():
        n_closer = sum(mine < theirs for mine, theirs in zip(ours, values(method), strict=True))
        parts.append(f"than {words} in {n_closer} of {len(ours)}")
    medians = ", ".join(f"{words} {median(values(method)):.1f}" for method, words in others.items())
    return f"{', '.join(parts)} (median distance in dB: masktools {median(ours):.1f}, {medians})"


def _restored(rows: Sequence[Row]) -> str:
    n_gaps = sum(len(row["lost_s"]) for row in rows)
    exact = [
        sum(any(abs(s - t) < _EDGE_S and abs(e - u) < _EDGE_S for t, u in row["found_s"]) for s, e in row["lost_s"])
        for row in rows
    ]
    near = [row for row in rows if row["found_hz"] and abs(row["found_hz"] / row["cutoff_hz"] - 1) < _NEAR]
    return (
        f"Looked through: {sum(exact)} of {n_gaps} gaps found to the millisecond, and {len(near)} of {len(rows)} "
        "cutoffs within 5 %."
    )


def _told_apart(rows: Sequence[Row]) -> str:
    centroids: dict[str, list[float]] = {}
    for row in rows:
        centroids.setdefault(row["prompt"], []).append(row["centroid_hz"])
    said = " and ".join(f'at {median(values):.0f} Hz for "{prompt}"' for prompt, values in centroids.items())
    said = f"Text: spectral centroids lie {said}"
    if any(row["agreement"] is None for row in rows):
        return f"{said}."
    n_right = sum(max(row["agreement"], key=row["agreement"].get) == row["prompt"] for row in rows)
    return f"{said}; the model's own encoder finds {n_right} of {len(rows)} sounds nearest to their own text."


def _found(rows: Sequence[Row]) -> str:
    halves = [row for row in rows if row["half_of"] is not None]
    n_found = sum(row["nearest_half_of"] == row["half_of"] for row in halves)
    return f"Embeddings: {n_found} of {len(halves)} halves of recordings have their other half as nearest neighbour."

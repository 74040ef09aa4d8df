"""A recording read once from its beginning to its end: its overview is filled, its damage and its band are found."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from masktools.app.layers import COLUMN
from masktools.app.store import FOUND
from masktools.app.views import BEFORE, View
from masktools.core.errors import AudioError
from masktools.detection import Findings, Probe, ProbeSettings
from masktools.io import replacing

KINDS = ("zeros", "hold", "dropout", "non_finite")  # a search for repeats takes as long as all others
_AT_ONCE = 32  # columns
_EVENT_SHARE = 0.02
_NEARLY = 0.999  # while what was found is not written

Event = tuple[str, dict[str, Any]]


def survey(view: View) -> Iterator[Event]:
    """Survey a recording, and yield what is to be told: its length where that was not true, its share, its damage.

    Raises:
        AudioError: a recording that cannot be read; of one that breaks off, all before that is surveyed.
    """
    promised = view.recording.n_samples
    view.settle()
    own = view.recording
    if own.n_samples != promised or view.recording.warnings:
        yield "length", view.facts()
    layer = view.layer(BEFORE)
    probe = Probe(own.sample_rate, own.n_channels, ProbeSettings(KINDS))
    told, error = 0.0, None
    for first in range(0, layer.n_cols, _AT_ONCE):
        stop = min(first + _AT_ONCE, layer.n_cols)
        view.give_way()
        try:
            if layer.fresh[first:stop].all():
                samples = view.before(first * COLUMN, min(stop * COLUMN, own.n_samples))
            else:
                samples = layer.fill(view.before, first, stop)
        except AudioError as broken:
            if error is not None:
                raise
            error = str(broken)
            view.break_off(_readable(view, first * COLUMN, stop * COLUMN))
            samples = layer.fill(view.before, first, stop)
        probe.feed(samples[:, : max(0, view.limit - first * COLUMN)])
        view.share = min(stop / layer.n_cols, _NEARLY)
        if view.share - told >= _EVENT_SHARE:
            told = view.share
            yield "survey", {"share": round(told, 4)}
    findings = described(probe.finish())
    if error is not None:
        findings["warnings"].append(error)
    findings["scale"] = asdict(view.scale)
    with replacing(view.folder / FOUND) as part:
        part.write_text(json.dumps(findings), encoding="utf-8")
    view.share = 1.0
    yield "damage", {"n": len(findings["damage"]), "bandwidth": findings["bandwidth"]}
    yield "survey", {"share": 1.0}


def _readable(view: View, start: int, stop: int) -> int:
    """Return how many samples can be read of a recording that breaks off between two of them, down to a column."""
    view.break_off(start)
    for at in range(start, stop, COLUMN):
        view.limit = at + COLUMN
        try:
            view.before(at, at + COLUMN)
        except AudioError:
            return at
    return stop


def described(findings: Findings) -> dict[str, Any]:
    """Return what was found as the page is told it: times in samples, frequencies in Hz, levels in dBFS."""
    band = findings.bandwidth
    return {
        "damage": [
            {"kind": one.kind, "start": one.start, "end": one.stop, "channels": list(one.channels)}
            for one in findings.damage
        ],
        "bandwidth": band and {"cutoff_hz": band.cutoff_hz, "confidence": band.confidence, "drop_db": band.drop_db},
        "levels": [asdict(level) for level in findings.levels],
        "warnings": list(findings.warnings),
    }

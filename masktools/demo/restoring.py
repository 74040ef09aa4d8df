"""Restoring without being told what is wrong: what is found in damaged recordings, and what becomes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from masktools.demo.page import Scene
from masktools.demo.recordings import Recording, low_passed, with_gaps
from masktools.demo.stage import Stage
from masktools.demo.takes import Take, inside, scene
from masktools.detection import find_bandwidth, find_damage
from masktools.gaps import Gap
from masktools.review import Repair, compare, write_page

__all__ = ["restore"]

_CRACK_S = (0.7, 0.012)  # start and length of a short gap, as of a bad splice


def restore(
    stage: Stage, recordings: Sequence[Recording], takes: Mapping[str, Take]
) -> tuple[list[dict[str, Any]], list[Scene]]:
    """Return what was lost and what was found in each recording, and one scene for each.

    Each is low-passed and has two gaps. A page of its own, NAME-comparison.html, shows each before and after.
    """
    rows, scenes = [], []
    for recording in recordings:
        original, rate = take = takes[recording.name]
        stage.say(f"looking through {recording.name}, and restoring it")
        lost = [(_CRACK_S[0], sum(_CRACK_S)), recording.gaps[0]]
        damaged = with_gaps(low_passed(original, rate, recording.cutoff_hz), rate, tuple(lost))
        with stage.clocked("restore", take.seconds, 0):
            found = [Gap(one.start / rate, one.stop / rate) for one in find_damage(damaged, rate)]
            cutoff_hz = find_bandwidth(damaged, rate).cutoff_hz
            restored = damaged
            if found:
                restored = inside(stage.model.inpaint(restored.T, rate, gaps=found, seed=stage.seed).samples)
            n_changed = _changed_outside(damaged, restored, rate, found)
            if cutoff_hz is not None:
                restored = inside(stage.model.bwe(restored.T, rate, cutoff_hz=cutoff_hz, seed=stage.seed).samples)
        rows.append(
            {
                "recording": recording.name,
                "lost_s": [[start_s, end_s] for start_s, end_s in lost],
                "found_s": [[gap.start_s, gap.end_s] for gap in found],
                "cutoff_hz": recording.cutoff_hz,
                "found_hz": cutoff_hz,
                "n_changed": n_changed,
            }
        )
        versions = {"original": original, "damaged": damaged, "restored": restored}
        captions = ("Original", "Low-passed, with gaps", "Restored by masktools")
        marks = tuple((gap.start_s, gap.end_s) for gap in found)
        scenes.append(scene(stage, recording, versions, captions, rate, gaps=marks, cutoff_hz=cutoff_hz))
        _compare(stage, recording, found, cutoff_hz)
    return rows, scenes


def _changed_outside(damaged: np.ndarray, filled: np.ndarray, rate: int, gaps: Sequence[Gap]) -> int:
    """Return how many samples outside the gaps the filling has changed."""
    changed = damaged != filled
    for gap in gaps:
        changed[:, round(gap.start_s * rate) : round(gap.end_s * rate)] = False
    return int(np.count_nonzero(changed))


def _compare(stage: Stage, recording: Recording, gaps: Sequence[Gap], cutoff_hz: float | None) -> None:
    """Write the page on which one recording can be heard and seen before and after."""
    before, after, reference = (
        stage.folder / f"{recording.name}-{kind}.wav" for kind in ("damaged", "restored", "original")
    )
    comparison = compare(
        before,
        after,
        reference=reference,
        repairs=[Repair(gap.start_s, gap.end_s) for gap in gaps],
        cutoff_hz=cutoff_hz,
        title=recording.title,
    )
    write_page(comparison, stage.folder / f"{recording.name}-comparison.html")

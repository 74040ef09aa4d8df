"""The jobs of the toolkit, each on the demonstration's recordings: results, figures and scenes."""

from collections.abc import Mapping, Sequence
from itertools import count
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from masktools.classical import BAND_FILLS, GAP_FILLS
from masktools.core.gaps import Gap
from masktools.demo import measure
from masktools.demo.recordings import Recording, low_passed, with_gaps
from masktools.demo.stage import Panel, Scene, Stage, Take, draw, inside, scene
from masktools.demo.tables import COPIED_UP, COPY, EMPTY, OURS
from masktools.detection import find_bandwidth, find_damage
from masktools.review import Repair, compare, write_page
from masktools.review.page import Player

if TYPE_CHECKING:
    from masktools.model import Model

Row = dict[str, Any]
_SHORTEST_S = 1.0  # least length of half a recording for an embedding


def fill_gaps(
    stage: Stage, recordings: Sequence[Recording], takes: Mapping[str, Take]
) -> tuple[list[Row], list[Scene]]:
    """Return the measurements of each gap and each way to fill it, and one scene for each recording."""
    rows, scenes, grid = [], [], stage.model.pipeline.grid
    for recording in recordings:
        original, rate = take = takes[recording.name]
        stage.say(f"filling the gaps of {recording.name}")
        damaged = with_gaps(original, rate, recording.gaps)
        n_columns = sum(ceil((end_s - start_s) / grid.column_s) for start_s, end_s in recording.gaps)
        with stage.clocked("inpaint", take.seconds, len(original) * grid.n_rows * n_columns):
            result = stage.model.inpaint(damaged.T, rate, gaps=list(recording.gaps), seed=stage.seed)
        fills = {EMPTY: damaged, COPY: GAP_FILLS["copy"](damaged, rate, recording.gaps), OURS: inside(result.samples)}
        rows += measure.gap_rows(recording.name, original, fills, rate, recording.gaps)
        versions = {"original": original, "gaps": damaged, "copied": fills[COPY], "filled": fills[OURS]}
        captions = ("Original", "With gaps", "Best copy from elsewhere", "Filled by masktools")
        scenes.append(scene(stage, recording, versions, captions, rate, gaps=recording.gaps))
    return rows, scenes


def extend(stage: Stage, recordings: Sequence[Recording], takes: Mapping[str, Take]) -> tuple[list[Row], list[Scene]]:
    """Return the measurements of each way to extend a low-passed recording, and one scene for each recording."""
    rows, scenes, grid = [], [], stage.model.pipeline.grid
    for recording in recordings:
        original, rate = take = takes[recording.name]
        stage.say(f"extending {recording.name} above {recording.cutoff_hz:g} Hz")
        dull = low_passed(original, rate, recording.cutoff_hz)
        n_rows = len(grid.rows(recording.cutoff_hz, grid.row_edges_hz[-1]))
        with stage.clocked("bwe", take.seconds, len(original) * n_rows * ceil(take.seconds / grid.column_s)):
            result = stage.model.bwe(dull.T, rate, cutoff_hz=recording.cutoff_hz, seed=stage.seed)
        extensions = {
            EMPTY: dull,
            COPIED_UP: BAND_FILLS["replication"](dull, rate, recording.cutoff_hz, measure.RATE / 2),
            OURS: inside(result.samples),
        }
        rows += measure.band_rows(recording.name, original, extensions, rate, recording.cutoff_hz)
        versions = {
            "original": original,
            "low-passed": dull,
            "copied-up": extensions[COPIED_UP],
            "extended": extensions[OURS],
        }
        captions = (
            "Original",
            f"Low-passed at {recording.cutoff_hz / 1000:g} kHz",
            "Copied up",
            "Extended by masktools",
        )
        scenes.append(scene(stage, recording, versions, captions, rate, cutoff_hz=recording.cutoff_hz))
    return rows, scenes


def generate(
    stage: Stage, prompts: Sequence[str], n: int, seconds: float
) -> tuple[list[Row], list[Scene], dict[str, Take]]:
    """Return the measurements of each sound, one scene for each prompt, and the sounds by name."""
    rows, scenes, sounds = [], [], {}
    grid, numbers = stage.model.pipeline.grid, count(1)
    for prompt in prompts:
        stage.say(f'generating "{prompt}"')
        n_columns = max(stage.model.pipeline.window_cols, ceil(seconds / grid.column_s))
        with stage.clocked("generate", n * seconds, n * grid.n_rows * n_columns):
            results = stage.model.generate(prompt, n=n, seconds=seconds, seed=stage.seed)
        clips, panels = [], []
        for version, result in enumerate(results, start=1):
            take = Take(inside(result.samples), result.sample_rate)
            name = f"{prompt.rstrip('.')}, {version}"
            sounds[name] = take
            agreement = _agreement(stage.model, prompts, take)
            rows.append(measure.sound_row(name, *take) | {"prompt": prompt, "agreement": agreement})
            clips.append(Player(f"No. {version}", stage.keep(f"generated-{next(numbers)}", *take), ours=True))
            panels.append(Panel(f'"{prompt}", no. {version}', *take))
        text = f"Spectrograms of {n} sounds generated from the text {prompt}"
        scenes.append(Scene(f'"{prompt}"', tuple(clips), draw(panels), text, same=False))
    return rows, scenes, sounds


def embed(stage: Stage, takes: Mapping[str, Take], sounds: Mapping[str, Take]) -> tuple[list[Row], np.ndarray]:
    """Return the nearest neighbours of halves of recordings and of generated sounds, and all cosines."""
    stage.say("embedding")
    parts: dict[str, tuple[Take, str | None]] = {}
    for name, (samples, rate) in takes.items():
        middle = samples.shape[1] // 2
        if middle / rate < _SHORTEST_S:
            continue
        parts[f"{name}, 1st half"] = Take(samples[:, :middle], rate), name
        parts[f"{name}, 2nd half"] = Take(samples[:, middle:], rate), name
    parts |= {name: (sound, None) for name, sound in sounds.items()}
    vectors, grid = [], stage.model.pipeline.grid
    for take, _ in parts.values():
        with stage.clocked("embed", take.seconds, grid.n_rows * ceil(take.seconds / grid.column_s)):
            vectors.append(stage.model.embed(take.samples.T, take.sample_rate, frames=False).clip)
    cosines = measure.likeness(np.stack([np.asarray(vector, np.float64) for vector in vectors]))
    return _neighbours(list(parts), [half_of for _, half_of in parts.values()], cosines), cosines


def _agreement(model: "Model", prompts: Sequence[str], take: Take) -> dict[str, float] | None:
    """Return the cosine of a sound with each prompt by the model's own encoder; None if it has none."""
    conditioner = model.pipeline.conditioner
    if conditioner is None:
        return None
    wave = torch.from_numpy(take.samples.mean(axis=0, keepdims=True))
    of_sound = conditioner.embed_audio(wave, take.sample_rate).float().cpu()
    of_texts = conditioner.embed_text(list(prompts)).float().cpu()
    return dict(zip(prompts, (of_texts @ of_sound[0]).tolist(), strict=True))


def _neighbours(names: Sequence[str], half_of: Sequence[str | None], cosines: np.ndarray) -> list[Row]:
    rows = []
    for number, name in enumerate(names):
        order = [other for other in np.argsort(-cosines[number]) if other != number]
        first, second = order[0], order[min(1, len(order) - 1)]
        rows.append(
            {
                "name": name,
                "half_of": half_of[number],
                "nearest": names[first],
                "nearest_half_of": half_of[first],
                "cosine": float(cosines[number, first]),
                "second": names[second],
                "second_cosine": float(cosines[number, second]),
            }
        )
    return rows


_CRACK_S = (0.7, 0.012)  # start and length of a short gap, as of a bad splice


def restore(
    stage: Stage, recordings: Sequence[Recording], takes: Mapping[str, Take]
) -> tuple[list[dict[str, Any]], list[Scene]]:
    """Return the damage and the detected damage of each recording, and one scene for each.

    Each is low-passed and has two gaps. A page for each, NAME-comparison.html, compares before and after.
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
    """Return the number of samples outside the gaps that the filling has changed."""
    changed = damaged != filled
    for gap in gaps:
        changed[:, round(gap.start_s * rate) : round(gap.end_s * rate)] = False
    return int(np.count_nonzero(changed))


def _compare(stage: Stage, recording: Recording, gaps: Sequence[Gap], cutoff_hz: float | None) -> None:
    """Write the page that compares one recording before and after."""
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

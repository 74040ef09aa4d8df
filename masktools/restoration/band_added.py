"""What is added to a recording above its cutoff, window by window, at the level of the recording."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from masktools.pipeline import Pipeline, Progress, share_of
from masktools.restoration.band_grain import Part, shaped
from masktools.restoration.band_level import HOP, band_gain, high_pass, loudness_gate
from masktools.restoration.band_model import BandModel, Rendered
from masktools.restoration.band_quiet import Floor, quiet_gain
from masktools.restoration.band_settings import BandSettings
from masktools.restoration.band_stereo import MID_SIDE, side_of
from masktools.restoration.band_streams import Stretch
from masktools.restoration.texture import TEXTURES
from masktools.segments import Window

__all__ = ["Added", "Tally"]


@dataclass(eq=False)
class Tally:
    """What happened on the way, for the report."""

    gains_db: list[np.ndarray] = field(default_factory=list)  # of frames, windows and sources
    n_frames: int = 0
    n_guarded: int = 0  # frames that the quiet guard made quieter
    fallen_back_s: list[float] = field(default_factory=list)  # where windows start that the model failed at

    def gain_statistics(self) -> dict[str, float]:
        """Return the lowest, the middle and the highest gain in dB."""
        gains = np.concatenate(self.gains_db) if self.gains_db else np.zeros(1)
        found = {"min": gains.min(), "median": np.median(gains), "max": gains.max()}
        return {name: round(float(value), 2) for name, value in found.items()}

    @property
    def guarded_share(self) -> float:
        """Share of frames that the quiet guard made quieter."""
        return round(self.n_guarded / max(1, self.n_frames), 4)


@dataclass(frozen=True, eq=False)
class Added:
    """Makes what is added to the windows of one recording."""

    pipeline: Pipeline
    model: BandModel
    settings: BandSettings
    cutoff_hz: float
    floors: Sequence[Floor | None]  # of the sources
    seeds: Sequence[int]  # of the sources
    tally: Tally = field(default_factory=Tally)

    def stretches(
        self, parts: Iterable[Part], windows: Sequence[Window], progress: Progress | None
    ) -> Iterator[Stretch]:
        """Yield what is to be added to each window, (channels, n) float32 at the model's rate."""
        for number, (part, window) in enumerate(zip(parts, windows, strict=True)):
            firsts = sorted(set(part.places))
            share = share_of(progress, number, len(windows))
            rendered = self.model.render(part.sources, window, firsts, self.seeds, share)
            self.model.remember(part.places)
            made = {place: self._of_source(part, place, one) for place, one in zip(firsts, rendered, strict=True)}
            if any(one.wave is None for one in rendered):
                self.tally.fallen_back_s.append(round(part.known.start / self.pipeline.sample_rate, 3))
            each = np.stack([made[place] for place in part.places])
            if self.settings.channels == MID_SIDE:
                side = side_of(each[0], part.known.samples, self.pipeline.sample_rate, self.cutoff_hz)
                each = np.stack([each[0] + side, each[0] - side])
            yield Stretch(part.known.start, each.astype(np.float32))

    def _of_source(self, part: Part, place: int, rendered: Rendered) -> np.ndarray:
        """Return the added band of one source, (t,)."""
        known, rate, settings = part.sources[place], self.pipeline.sample_rate, self.settings
        if rendered.wave is None:
            return np.zeros(len(known)) if settings.lfr else known.astype(np.float64)
        texture = TEXTURES[settings.texture] if settings.lfr else None
        wave = rendered.wave
        if texture is not None and part.grain is not None:
            wave = shaped(self.pipeline, part.grain[place], rendered.mel, texture.share)
        gain = band_gain(known, wave, rate, self.cutoff_hz)
        self.tally.gains_db.append(20 * np.log10(gain[::HOP]).astype(np.float32))
        levelled = wave * gain * loudness_gate(known)
        if not settings.lfr:
            return levelled
        levelled *= 10 ** (settings.hf_gain_db / 20)
        floor = self.floors[place] if self.floors else None
        if floor is not None and settings.quiet_guard_db is not None:
            guard, guarded = quiet_gain(known, levelled, rate, floor, settings.quiet_guard_db)
            levelled *= guard
            self.tally.n_guarded += int(guarded.sum())
        self.tally.n_frames += -(-len(known) // HOP)
        return high_pass(levelled, rate, self.cutoff_hz)

"""One recording that is being extended: its windows, what is added to them, and the blocks that come out."""

from collections.abc import Iterator
from dataclasses import asdict
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np

from masktools.errors import AudioError
from masktools.pipeline import Pipeline, Progress
from masktools.restoration.band_added import Added
from masktools.restoration.band_clean import FAINT_DB, cleaned
from masktools.restoration.band_cutoff import model_reaches
from masktools.restoration.band_grain import Part, with_grain
from masktools.restoration.band_model import BandModel, column_windows
from masktools.restoration.band_settings import BandSettings
from masktools.restoration.band_stereo import INDEPENDENT, LINKED, MID_SIDE, Twins
from masktools.restoration.band_streams import Reader, at_rate, cross_faded, in_windows, read_blocks, reblocked
from masktools.restoration.band_survey import BLOCK_SAMPLES, Survey, survey
from masktools.restoration.band_upper import UpperBand
from masktools.restoration.peaks import limited
from masktools.restoration.texture import TEXTURES
from masktools.segments import Window
from masktools.shapes import Condition
from masktools.solver import SolverConfig, derive_seed

__all__ = ["JOIN_S", "BandExtension"]

JOIN_S = 0.02  # of the cross-fade between what neighbouring windows add
_MODEL_CLEAN = 0.9  # of the model's band: above it a change of rate has taken part of it
_NOTHING = 1e-9  # of full scale: what filters leave where there is nothing to add


class BandExtension(Iterator[tuple[int, np.ndarray]]):
    """A recording that is being extended: an iterator of (start, (channels, n)), blocks that follow each other.

    ``sample_rate`` and ``n_samples`` are those of what comes out; ``report`` is complete when the last block is out.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        reader: Reader,
        shape: tuple[int, int],  # (channels, n)
        sample_rate: int,
        band_hz: tuple[float, float],  # the cutoff, and the top that it is extended to
        settings: BandSettings,
        *,
        seed: int,
        solver: SolverConfig,
        condition: Condition | None,
        block_samples: int,
        progress: Progress | None,
    ) -> None:
        self._started = perf_counter()
        self.pipeline, self.settings, self.seed = pipeline, settings, seed
        self.cutoff_hz, self.top_hz = (float(hertz) for hertz in band_hz)
        self._reader, self._rate = reader, sample_rate
        self.n_channels, self._n_in = shape
        model_rate = pipeline.sample_rate
        self.sample_rate = max(sample_rate, model_rate)
        keeps = self.sample_rate == sample_rate
        self.n_samples = self._n_in if keeps else round(self._n_in * model_rate / sample_rate)
        self._n_model = ceil(self._n_in * model_rate / sample_rate)
        self._by_model = model_reaches(pipeline, self.cutoff_hz)
        self._windows = column_windows(pipeline, self._n_model) if self._by_model else []
        self._model = BandModel(
            pipeline, self.cutoff_hz, solver, condition, put_back=settings.lfr, leak_free=settings.leak_free
        )
        self._model_top_hz = min(pipeline.mel.f_max, 0.5 * model_rate)
        self._upper = self._upper_band()
        self._warnings: list[str] = []
        self._peak, self._n_changed, self._n_limited = 0.0, 0, 0
        self.report: dict[str, Any] = {}
        self._blocks = self._emitted(block_samples, progress)

    def __iter__(self) -> "BandExtension":
        return self

    def __next__(self) -> tuple[int, np.ndarray]:
        return next(self._blocks)

    def _emitted(self, block_samples: int, progress: Progress | None) -> Iterator[tuple[int, np.ndarray]]:
        found = self._surveyed()
        if self.settings.clean_above:
            self._clean(found)
        n_sources = 1 if self.settings.channels == MID_SIDE else self.n_channels
        independent = self.settings.channels == INDEPENDENT
        seeds = [derive_seed(self.seed, source if independent else 0) for source in range(n_sources)]
        floors = () if found is None else found.floors
        added = Added(self.pipeline, self._model, self.settings, self.cutoff_hz, floors, seeds)
        band = self._of_the_model(added, progress) if self._by_model else self._nothing()
        start = 0
        for block in reblocked(self._summed(band), block_samples):
            self._peak = max(self._peak, float(np.abs(block).max(initial=0.0)))
            yield start, block
            start += block.shape[1]
        self.report = self._told(added)

    def _of_the_model(self, added: Added, progress: Progress | None) -> Iterator[np.ndarray]:
        """Yield what the model adds, at the rate of what comes out."""
        texture = TEXTURES[self.settings.texture] if self.settings.lfr else None
        rate = self.pipeline.sample_rate
        parts = with_grain(self._parts(), texture, rate, self.cutoff_hz, self._model_top_hz, self.seed)
        joined = cross_faded(added.stretches(parts, self._windows, progress), round(JOIN_S * rate))
        return at_rate(joined, rate, self.sample_rate, self.n_samples)

    def _nothing(self) -> Iterator[np.ndarray]:
        """Yield zeros as long as the recording, whose band ends where the model's does."""
        for block in _finite(read_blocks(self._reader, self._n_in), self._rate):
            yield np.zeros(block.shape, np.float32)

    def _upper_band(self) -> UpperBand | None:
        """Return what adds the band above the model's, or takes from it what is not wanted; None if it is as it is."""
        model_hz = self.pipeline.mel.f_max
        if not self.settings.lfr or self.top_hz == model_hz:
            return None
        start_hz = min(_MODEL_CLEAN * model_hz, self.top_hz) if self._by_model else self.cutoff_hz
        gain_db = self.settings.hf_gain_db
        return UpperBand(self.sample_rate, self.cutoff_hz, start_hz, self.top_hz, self.pipeline.levels, gain_db)

    def _known(self) -> Iterator[np.ndarray]:
        """Yield the recording at the model's rate."""
        blocks = _finite(read_blocks(self._reader, self._n_in), self._rate)
        return at_rate(blocks, self._rate, self.pipeline.sample_rate, self._n_model)

    def _sources(self, known: np.ndarray) -> np.ndarray:
        return known.mean(axis=0, keepdims=True) if self.settings.channels == MID_SIDE else known

    def _surveyed(self) -> Survey | None:
        settings = self.settings
        if not settings.lfr or (settings.quiet_guard_db is None and not settings.clean_above):
            return None
        if self._by_model:
            blocks = reblocked((self._sources(known) for known in self._known()), BLOCK_SAMPLES)
            return survey(blocks, self.pipeline.sample_rate, self.cutoff_hz, self._model_top_hz)
        if not settings.clean_above:
            return None
        blocks = reblocked(_finite(read_blocks(self._reader, self._n_in), self._rate), BLOCK_SAMPLES)
        return survey(blocks, self._rate, self.cutoff_hz, self.top_hz)

    def _clean(self, found: Survey | None) -> None:
        """Read on without what the recording has above its cutoff, if that is faint."""
        if found is None or found.above_db > FAINT_DB:
            if found is not None:
                self._warnings.append(
                    f"what the recording has above {self.cutoff_hz:.0f} Hz is only {-found.above_db:.0f} dB fainter "
                    "than what it has below: it is kept; is the cutoff right?"
                )
            return
        self._reader = cleaned(self._reader, self._n_in, self._rate, self.cutoff_hz)

    def _parts(self) -> Iterator[Part]:
        """Yield the windows of the recording, and which of their channels have been equal so far."""
        samples = self.pipeline.grid.column_samples
        windows = [
            Window(columns.start * samples, min(columns.stop * samples, self._n_model)) for columns in self._windows
        ]
        n_sources = 1 if self.settings.channels == MID_SIDE else self.n_channels
        twins = Twins(n_sources, linked=self.settings.channels == LINKED)
        for known in in_windows(self._known(), windows):
            sources = self._sources(known.samples)
            twins.part(sources)
            yield Part(known, sources, tuple(twins.places))

    def _original(self, blocks: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the recording at the rate of what comes out beside blocks of that length, and these."""
        if self.sample_rate == self._rate:
            start = 0
            for block in blocks:
                yield self._reader(start, start + block.shape[1]), block
                start += block.shape[1]
            return
        source = at_rate(read_blocks(self._reader, self._n_in), self._rate, self.sample_rate, self.n_samples)
        held = np.empty((self.n_channels, 0), np.float32)
        for block in blocks:
            parts, n = [held], held.shape[1]
            while n < block.shape[1]:
                parts.append(next(source))
                n += parts[-1].shape[1]
            held = np.concatenate(parts, axis=1)
            yield held[:, : block.shape[1]], block
            held = held[:, block.shape[1] :]

    def _summed(self, band: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        pairs = self._original(band)
        if not self.settings.lfr:
            for original, block in pairs:
                self._n_changed += int(np.count_nonzero(block != original))
                yield block.astype(original.dtype)
            return
        if self._upper is not None:
            pairs = self._upper.joined(pairs, self.n_samples)
        pairs = ((original, _heard(block)) for original, block in pairs)
        triples = limited(pairs, self.sample_rate) if self.settings.limit_peaks else ((*pair, 0) for pair in pairs)
        for original, block, n_limited in triples:
            extended = original + block
            self._n_changed += int(np.count_nonzero(extended != original))
            self._n_limited += n_limited
            yield extended

    def _told(self, added: Added) -> dict[str, Any]:
        pipeline, tally, settings = self.pipeline, added.tally, self.settings
        if tally.fallen_back_s:
            starts = ", ".join(f"{start:g}" for start in tally.fallen_back_s)
            self._warnings.append(
                f"the vocoder gave samples that are not finite for the windows from {starts} s: there the recording "
                "was left as it is; use --precision fp32"
            )
        edges_hz = pipeline.grid.row_edges_hz
        rows = [row for row in range(pipeline.grid.n_rows) if self._by_model and edges_hz[row + 1] > self.cutoff_hz]
        return {
            "job": "bwe",
            "status": "extended",
            "model": pipeline.name,
            "seed": self.seed,
            "prompted": self._model.condition is not None,
            "cutoff_hz": self.cutoff_hz,
            **asdict(settings),
            "rows_generated": rows,
            "top_hz": self.top_hz,
            "upper_from_hz": self._upper.start_hz if self._upper and self._upper.start_hz < self.top_hz else None,
            "n_windows": len(self._windows),
            "n_steps": self._model.solver.n_steps,
            "n_forwards": self._model.n_forwards,
            "gain_db": tally.gain_statistics(),
            "quiet_share": tally.guarded_share,
            "peak": round(self._peak, 6),
            "samples_limited": self._n_limited,
            "samples_changed": self._n_changed,
            "sample_rate": self.sample_rate,
            "warnings": list(self._warnings),
            "timings": {
                "solve_s": round(self._model.solve_s, 3),
                "total_s": round(perf_counter() - self._started, 3),
            },
        }


def _finite(blocks: Iterator[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
    """Yield blocks as they are, up to the first one that is not finite."""
    start = 0
    for block in blocks:
        if not np.isfinite(block).all():
            first = start + int(np.argmin(np.isfinite(block).all(axis=0)))
            raise AudioError(
                f"samples must be finite, but that at {first / sample_rate:.4f} s is NaN or infinity: fill it first, "
                "as a gap"
            )
        yield block
        start += block.shape[1]


def _heard(added: np.ndarray) -> np.ndarray:
    """Return what is added, with zeros for what is fainter than any file can tell: digital silence stays that."""
    return np.where(np.abs(added) < _NOTHING, np.zeros((), added.dtype), added)

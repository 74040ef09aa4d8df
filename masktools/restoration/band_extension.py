"""One recording that is being extended: its windows, what the model adds to them, and the blocks that come out.

Neighbouring windows share columns. What the model chose there in one window is known to the next, so that they go on
with the same tokens; the waves of both then agree where they are joined.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from masktools.classical import BAND_FILLS
from masktools.classical.fills import high_pass
from masktools.core.errors import AudioError, MasktoolsError, ParameterError
from masktools.core.settings import INDEPENDENT, LINKED, MID_SIDE, BandSettings
from masktools.core.shapes import Mask, Mel, Tokens, Window
from masktools.mel import mel_edges_hz, mel_to_db
from masktools.mel.spectrogram import band_mask
from masktools.pipeline import Pipeline, Progress, share_of
from masktools.restoration.band_level import (
    BLOCK_SAMPLES,
    FAINT_DB,
    HOP,
    MATCHED_BAND,
    MAX_GAIN_DB,
    SMOOTHING_S,
    Floor,
    Survey,
    band_gain,
    cleaned,
    limited,
    loudness_gate,
    model_reaches,
    quiet_gain,
    side_of,
    survey,
)
from masktools.restoration.band_upper import UNLIKE_DB, Take, UpperBand
from masktools.restoration.recordings import (
    Duplicates,
    Signal,
    Stretch,
    at_rate,
    cross_faded,
    in_windows,
    read_blocks,
    reblocked,
)
from masktools.restoration.render import TEXTURES, Decoder, Texture, Unknown, fill_mel, shaped_by_mel
from masktools.solver import derive_seed, plan_value

_OVERLAP_SHARE = 13 / 53  # of a window: what the next one knows
_N_BINS = 4  # over which the generated spectrum leaves the original


def column_windows(pipeline: Pipeline, n_samples: int) -> list[Window]:
    """Return the windows of columns that cover so many samples at the model's rate; the last one ends with them."""
    n_cols, width = pipeline.grid.n_columns(n_samples), pipeline.window_cols
    hop = width - round(width * _OVERLAP_SHARE)
    if n_cols <= width:
        return [Window(0, n_cols)]
    last = n_cols - width
    return [Window(start, start + width) for start in (*range(0, last, hop), last)]


class Rendered(NamedTuple):
    """What the model made of one channel of a window; None in place of samples that were not finite."""

    wave: np.ndarray | None  # (t,) at the model's rate
    mel: np.ndarray  # (f, m)


@dataclass(frozen=True, eq=False)
class _Memory:
    """The tokens of one channel of the window before."""

    window: Window
    tokens: Tokens


class BandModel:
    """What the model puts above a cutoff in the channels of one recording, window by window."""

    def __init__(self, decoder: Decoder, cutoff_hz: float, lfr: bool, leak_free: bool) -> None:
        self.decoder, self.cutoff_hz, self.lfr, self.leak_free = decoder, cutoff_hz, lfr, leak_free
        self._memories: dict[int, _Memory] = {}

    def render(
        self,
        known: np.ndarray,
        window: Window,
        channels: Sequence[int],
        seed_of: Sequence[int],
        progress: Progress | None,
    ) -> list[Rendered]:
        """Return what the model makes of some channels of a window.

        Args:
            known: (channels, t) the window at the model's rate.
            window: its columns; windows come in order.
            channels: which of them; on a CPU one after the other, so that no result depends on its neighbours.
            seed_of: the seed of each of all channels.
            progress: called with (steps done, steps in all).
        """
        model = self.decoder.model
        size = 1 if model.device.type == "cpu" else model.batch_size
        groups = [channels[start : start + size] for start in range(0, len(channels), size)]
        done = []
        for number, group in enumerate(groups):
            seeds = [seed_of[one] if window.start == 0 else derive_seed(seed_of[one], window.start) for one in group]
            share = share_of(progress, number, len(groups))
            done += self._render(known[list(group)], window, group, seeds, share)
        return done

    def remember(self, places: Sequence[int]) -> None:
        """Give each channel the memory of the channel that was computed for it: duplicates may part from here on."""
        self._memories = {channel: self._memories[place] for channel, place in enumerate(places)}

    def _render(
        self, known: np.ndarray, window: Window, group: Sequence[int], seeds: list[int], progress: Progress | None
    ) -> list[Rendered]:
        unknown = Unknown(
            lambda n_frames: self._masks(window, len(group), n_frames),
            erase=self.leak_free,
            border=(0, _N_BINS),
            overlap_share=0.0,
            recall=lambda tokens, mask: self._recalled(tokens, mask, window, group),
            level=self._levelled if self.lfr else None,
        )
        wave = torch.from_numpy(np.ascontiguousarray(known, np.float32))
        made = fill_mel(self.decoder, wave, unknown, seeds, progress)
        for row, channel in enumerate(group):
            self._memories[channel] = _Memory(window, made.tokens[row : row + 1])
        waves = self._waves(made.deep, known.shape[1])
        return [Rendered(wave, mel) for wave, mel in zip(waves, made.filled.cpu().numpy(), strict=True)]

    def _masks(self, window: Window, n: int, n_frames: int) -> tuple[Mask, Bool[Tensor, "b f m"]]:
        """Return the tokens that reach above the cutoff, and the cells whose bins do; all cells without ``lfr``."""
        model = self.decoder.model
        rows = band_mask(model.grid, window.length, self.cutoff_hz, model.mel.f_max)
        bins = torch.from_numpy(mel_edges_hz(model.mel)[2:] > self.cutoff_hz) | (not self.lfr)
        return rows.expand(n, -1, -1), bins[None, :, None].expand(n, -1, n_frames)

    def _recalled(self, tokens: Tokens, mask: Tensor, window: Window, group: Sequence[int]) -> tuple[Tokens, Tensor]:
        """Return the tokens of a window with those that are known from the one before, and what is left to predict.

        Generated rows are taken over as far as the windows overlap. The known ones change over in the middle, where
        both windows see what surrounds them.
        """
        tokens, left = tokens.clone(), mask.clone()
        for row, channel in enumerate(group):
            memory = self._memories.get(channel)
            if memory is None:
                continue
            n_shared = memory.window.stop - window.start
            before = memory.tokens[0][:, memory.window.length - n_shared :]
            own = tokens[row, :, :n_shared]
            early = torch.arange(n_shared, device=own.device) < n_shared // 2
            tokens[row, :, :n_shared] = torch.where(mask[row, :, :n_shared] | early, before, own)
            left[row, :, :n_shared] = False
        return tokens, left

    def _waves(self, mel: Mel, n_samples: int) -> list[np.ndarray | None]:
        try:
            return list(self.decoder.model.render(mel)[:, :n_samples].cpu().numpy())
        except ParameterError:
            raise
        except MasktoolsError:  # the vocoder returned something that is not finite
            if len(mel) == 1:
                return [None]
            return [wave for one in mel.split(1) for wave in self._waves(one, n_samples)]

    def _levelled(self, generated: Mel, original: Mel) -> Mel:
        """Return the generated spectrogram, as loud as the original just below the cutoff.

        The row of tokens that the cutoff runs through is generated as a whole: its lower part tells how loud the model
        takes the missing band to be, and how loud it should. Powers are averaged over a second, and moved by 6 dB at
        most.
        """
        model = self.decoder.model
        low, high = (share * self.cutoff_hz for share in MATCHED_BAND)
        centres_hz = torch.from_numpy(mel_edges_hz(model.mel)[1:-1].copy()).to(original.device)
        band = (centres_hz >= low) & (centres_hz <= high)
        if not band.any():
            return generated
        n_frames = round(SMOOTHING_S * model.sample_rate / model.mel.hop_length) | 1
        wanted, got = (
            F.avg_pool1d(
                (10 ** (mel_to_db(mel[:, band], model.mel) / 10)).mean(dim=1, keepdim=True),
                n_frames,
                stride=1,
                padding=n_frames // 2,
                count_include_pad=False,
            )
            for mel in (original, generated)
        )
        gain_db = (10 * (wanted / got).log10()).clamp(-MAX_GAIN_DB, MAX_GAIN_DB)
        return generated + gain_db * (2.0 / (model.mel.db_max - model.mel.db_min))


class Part(NamedTuple):
    """A window of a recording."""

    known: Stretch  # (channels, n) at the model's rate
    sources: np.ndarray  # (sources, n): the waves that are extended, the channels or their middle
    places: tuple[int, ...]  # of each source the one that is computed for it: equal ones are computed once
    grain: np.ndarray | None = None  # (sources, n) what a classical method makes of them


def with_grain(
    parts: Iterable[Part], texture: Texture | None, sample_rate: int, cutoff_hz: float, top_hz: float, seed: int
) -> Iterator[Part]:
    """Yield windows with what a classical method makes of them, or as they are where there is no texture.

    The method judges each window by itself; over all that neighbours share, the one's result becomes the other's.
    """
    held: Part | None = None
    for part in parts:
        if texture is None:
            yield part
            continue
        fill = BAND_FILLS[texture.band]
        own = {
            place: fill(part.sources[place][None].astype(np.float32), sample_rate, cutoff_hz, top_hz, seed)[0]
            for place in set(part.places)
        }
        grain = np.stack([own[place] for place in part.places])
        if held is not None and held.grain is not None:
            n_shared = held.known.stop - part.known.start
            rise = ((np.arange(n_shared) + 0.5) / n_shared).astype(np.float32)
            tail = held.grain[:, held.grain.shape[1] - n_shared :]
            tail += rise * (grain[:, :n_shared] - tail)
            grain[:, :n_shared] = tail
            yield held
        held = part._replace(grain=grain)
    if held is not None:
        yield held


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
            wave = shaped_by_mel(self.pipeline, part.grain[place], rate, rendered.mel, texture.share)
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


JOIN_S = 0.02  # of the cross-fade between what neighbouring windows add
_MODEL_CLEAN = 0.9  # of the model's band: above it a change of rate has taken part of it
_NOTHING = 1e-9  # of full scale: what filters leave where there is nothing to add


class BandExtension(Iterator[tuple[int, np.ndarray]]):
    """A recording that is being extended: an iterator of (start, (channels, n)), blocks that follow each other.

    ``sample_rate`` and ``n_samples`` are those of what comes out; ``report`` is complete when the last block is out.
    """

    def __init__(
        self,
        decoder: Decoder,
        signal: Signal,
        band_hz: tuple[float, float],  # the cutoff, and the top that it is extended to
        settings: BandSettings,
        take: Take | None,
        block_samples: int,
        progress: Progress | None,
    ) -> None:
        self._started = perf_counter()
        self.decoder, self.pipeline, self.settings = decoder, decoder.model, settings
        self.cutoff_hz, self.top_hz = (float(hertz) for hertz in band_hz)
        self._reader, self._rate = signal.read, signal.sample_rate
        self.n_channels, self._n_in = signal.n_channels, signal.n_samples
        sample_rate, pipeline, model_rate = signal.sample_rate, self.pipeline, decoder.model.sample_rate
        self.sample_rate = max(sample_rate, model_rate)
        keeps = self.sample_rate == sample_rate
        self.n_samples = self._n_in if keeps else round(self._n_in * model_rate / sample_rate)
        self._n_model = ceil(self._n_in * model_rate / sample_rate)
        self._by_model = take is None and model_reaches(pipeline, self.cutoff_hz)
        self._windows = column_windows(pipeline, self._n_model) if self._by_model else []
        self._model_top_hz = min(pipeline.mel.f_max, 0.5 * model_rate)
        self._upper = self._upper_band(take)
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
        seeds = [derive_seed(self.settings.seed, source if independent else 0) for source in range(n_sources)]
        floors = () if found is None else found.floors
        model = BandModel(self.decoder, self.cutoff_hz, self.settings.lfr, self.settings.leak_free)
        added = Added(self.pipeline, model, self.settings, self.cutoff_hz, floors, seeds)
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
        parts = with_grain(self._parts(), texture, rate, self.cutoff_hz, self._model_top_hz, self.settings.seed)
        joined = cross_faded(added.stretches(parts, self._windows, progress), round(JOIN_S * rate))
        return at_rate(joined, rate, self.sample_rate, self.n_samples)

    def _nothing(self) -> Iterator[np.ndarray]:
        """Yield zeros as long as the recording, of which the model adds nothing."""
        for block in _finite(read_blocks(self._reader, self._n_in), self._rate):
            yield np.zeros(block.shape, np.float32)

    def _upper_band(self, take: Take | None) -> UpperBand | None:
        """Return what adds the band above the model's, or takes from it what is not wanted; None if it is as it is."""
        model_hz = self.pipeline.mel.f_max
        if not self.settings.lfr or (self.top_hz == model_hz and self._by_model):
            return None
        start_hz = min(_MODEL_CLEAN * model_hz, self.top_hz) if self._by_model else self.cutoff_hz
        band_hz = (self.cutoff_hz, start_hz, self.top_hz)
        return UpperBand(self.sample_rate, *band_hz, self.pipeline.levels, self.settings.hf_gain_db, take)

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
        duplicates = Duplicates(n_sources, linked=self.settings.channels == LINKED)
        for known in in_windows(self._known(), windows):
            sources = self._sources(known.samples)
            duplicates.part(sources)
            yield Part(known, sources, tuple(duplicates.places))

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
            "prompted": self.decoder.condition is not None,
            "cutoff_hz": self.cutoff_hz,
            **settings.told(),
            "rows_generated": rows,
            "top_hz": self.top_hz,
            "upper_from_hz": self._upper.start_hz if self._upper and self._upper.start_hz < self.top_hz else None,
            "like": self._told_of_take(),
            "n_windows": len(self._windows),
            "n_steps": plan_value(self.decoder.plan, "n_steps"),
            "n_forwards": self.decoder.n_forwards,
            "gain_db": tally.gain_statistics(),
            "quiet_share": tally.guarded_share,
            "peak": round(self._peak, 6),
            "samples_limited": self._n_limited,
            "samples_changed": self._n_changed,
            "sample_rate": self.sample_rate,
            "warnings": list(self._warnings),
            "timings": {
                "solve_s": round(self.decoder.solve_s, 3),
                "total_s": round(perf_counter() - self._started, 3),
            },
        }

    def _told_of_take(self) -> dict[str, float] | None:
        """Return how long the take is that lent the band, and how far the recording is from it."""
        upper = self._upper
        if upper is None or upper.take is None:
            return None
        told = np.concatenate([np.zeros(0), *upper.apart_db])
        apart_db = float(np.median(told)) if len(told) else 0.0
        if upper.take.is_own and not len(told):
            self._warnings.append(f"no stretch lacks what lies above {self.cutoff_hz:g} Hz: nothing was added")
        elif apart_db > UNLIKE_DB:
            self._warnings.append(
                f"the take is not much like the recording: even its most similar moments are {apart_db:.0f} dB off "
                "below the cutoff"
            )
        return {"seconds": round(upper.take.seconds, 3), "apart_db": round(apart_db, 2)}


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

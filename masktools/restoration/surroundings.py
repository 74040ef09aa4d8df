"""What is known around a gap, read from a recording that may be hours long; what is in a gap is never looked at."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np

from masktools.classical import CONTEXT_S, SEARCHES, SPAN_FILLS
from masktools.classical.search import Copy, Levels, fills_from_elsewhere, is_noisy, levels_elsewhere
from masktools.classical.similarity import Found, Known, Similarity
from masktools.classical.spans import Damaged, Span
from masktools.core.arguments import check_loudest
from masktools.core.shapes import Window
from masktools.restoration.gap_plan import GapTask, hidden_in
from masktools.restoration.recordings import MIX, UNMIX, Reader, check_finite, read_checked

_OFFSET_BLOCK_S = 0.05  # stretches whose means agree on an offset
_LEAST_OFFSET = 1e-3  # -60 dB of full scale; less is not heard


@dataclass(frozen=True, eq=False)
class Part:
    """A stretch of the voices of a task: its channels, or their middle and side; positions are those of the part."""

    start: int  # in the recording
    samples: np.ndarray  # (voices, t), zero in every gap
    hidden: tuple[tuple[Window, ...], ...]  # for each voice: its gaps
    sample_rate: int  # Hz
    mid_side: bool
    offset: np.ndarray | float = 0.0  # (voices, 1) that was taken from the samples

    def local(self, span: Window) -> Window:
        """Return where samples of the recording are in the part."""
        return Window(span.start - self.start, span.stop - self.start)

    def channels(self, voices: np.ndarray) -> np.ndarray:
        """Return samples of voices (voices, n) as those of the channels, with the offset they had."""
        return UNMIX @ (voices + self.offset) if self.mid_side else voices + self.offset

    def centred(self) -> "Part":
        """Return the part without a constant offset: what is generated has none, and would meet it with a thump."""
        block = max(1, round(_OFFSET_BLOCK_S * self.sample_rate))
        known, offset = self.samples.copy(), np.zeros((len(self.samples), 1))
        for voice, spans in enumerate(self.hidden):
            unknown = np.zeros(known.shape[1], bool)
            for span in spans:
                unknown[span.start : span.stop] = True
            sound = known[voice, ~unknown]
            blocks = sound[: len(sound) // block * block].reshape(-1, block)
            level = float(np.median(blocks.mean(axis=1, dtype=np.float64))) if len(blocks) else 0.0
            if abs(level) >= _LEAST_OFFSET:
                offset[voice] = level
                known[voice, ~unknown] -= level
        return replace(self, samples=known, offset=offset) if offset.any() else self

    def classical(self, method: str, span: Window, seeds: tuple[int, ...]) -> np.ndarray:
        """Return what a classical method fills a gap with, (voices, n) float64.

        Noise goes from voice to voice as it does around the gap; with any other method each is filled as it would be
        alone.

        Args:
            method: one of ``SPAN_FILLS``.
            span: the gap, in samples of the part.
            seeds: of what is left to chance.
        """
        fill, voices = SPAN_FILLS[method], range(len(self.samples))
        together = [tuple(voices)] if method == "spectral_noise" else [(voice,) for voice in voices]
        parts = []
        for some in together:
            spans = hidden_in(Window(0, self.samples.shape[1]), [gap for voice in some for gap in self.hidden[voice]])
            damaged = Damaged(self.samples[list(some)], self.sample_rate, tuple(Span(*gap) for gap in spans))
            parts.append(fill(damaged, Span(*span), np.random.default_rng(seeds)))
        return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A recording that is read where it is needed, and its gaps."""

    reader: Reader
    n_samples: int
    n_channels: int
    sample_rate: int  # Hz
    hidden: Sequence[Sequence[Window]]  # for each channel: its gaps
    _similarities: dict[tuple[int, ...], Similarity] = field(default_factory=dict)
    _found: dict[tuple[tuple[int, ...], Window], Found] = field(default_factory=dict)

    def classical(self, method: str, task: GapTask, seeds: tuple[int, ...]) -> np.ndarray:
        """Return what a classical method fills the gap of a task with, (voices, n) float64.

        Raises:
            AudioError: known samples beside the gap that are not finite.
        """
        if method in SEARCHES:
            return self.searched(method, task, seeds)[0][0].samples
        reach = ceil(CONTEXT_S[method] * self.sample_rate)
        part = self.known(Window(task.span.start - reach, task.span.stop + reach), task)
        return part.classical(method, part.local(task.span), seeds)

    def found(self, task: GapTask) -> Found:
        """Return which places of the recording are like the gap of a task, found once.

        The recording is read as a whole when the first gap of some channels asks. What is not finite in it counts as
        unknown.
        """
        if (task.channels, task.span) not in self._found:
            self._found[task.channels, task.span] = self._similarity(task).find(Span(*task.span))
        return self._found[task.channels, task.span]

    def why_not(self, task: GapTask) -> str:
        """Return why the recording does not tell what belongs into the gap of a task; nothing where it does."""
        found = self.found(task)
        if found.is_alike or is_noisy(self._reader_of(task), Span(*task.span), self.sample_rate):
            return ""
        return "it sounds like speech, and no word returns" if found.places else "no other place is known"

    def _similarity(self, task: GapTask) -> Similarity:
        if task.channels not in self._similarities:
            plain = replace(task, mid_side=False)
            self._similarities[task.channels] = Similarity(self._reader_of(plain), self.n_samples, self.sample_rate)
        return self._similarities[task.channels]

    def searched(
        self, method: str, task: GapTask, seeds: tuple[int, ...], n_fills: int = 1
    ) -> tuple[list[Copy], Found]:
        """Return up to ``n_fills`` fills of the gap of a task from other places, the best first, and what was found.

        Args:
            method: one of ``SEARCHES``.
            task: the gap.
            seeds: of what is left to chance.
            n_fills: at least 1.
        """
        found, places = self.found(task), (self._similarity(task), self._reader_of(task))
        return fills_from_elsewhere(method, *places, Span(*task.span), found, seeds, n_fills), found

    def levels(self, task: GapTask) -> Levels | None:
        """Return the levels that there are where the recording is most like the gap of a task; None if nowhere."""
        return levels_elsewhere(self._similarity(task), self._reader_of(task), Span(*task.span), self.found(task))

    def _reader_of(self, task: GapTask) -> Known:
        """Return what gives samples of the voices of a task; NaN in gaps and beyond the ends."""

        def known(start: int, stop: int) -> np.ndarray:
            made = np.full((len(task.channels), stop - start), np.nan)
            if start < self.n_samples and stop > 0:
                window, samples = self._read(Window(start, stop))
                part = made[:, window.start - start : window.stop - start]
                for wave, channel in zip(part, task.channels, strict=True):
                    own = samples[channel]
                    for span in hidden_in(window, self.hidden[channel]):
                        own[span.start : span.stop] = 0.0
                    finite = np.isfinite(own)
                    own[~finite] = 0.0
                    check_loudest(max(float(own.max()), -float(own.min())))
                    wave[:] = np.where(finite, own, np.nan)
                    for span in hidden_in(window, self.hidden[channel]):
                        wave[span.start : span.stop] = np.nan
            return MIX @ made if task.mid_side else made

        return known

    def known(self, window: Window, task: GapTask) -> Part:
        """Return what is known in a window, cut at the recording's ends, of the voices of a task.

        Raises:
            AudioError: known samples that are not finite.
            ParameterError: the reader returned another shape or type.
        """
        window, samples = self._read(window)
        samples = samples[list(task.channels)]
        hidden = [hidden_in(window, self.hidden[channel]) for channel in task.channels]
        for wave, spans in zip(samples, hidden, strict=True):
            for span in spans:
                wave[span.start : span.stop] = 0.0
        self._check_finite(samples, window.start)
        if task.mid_side:
            both = hidden_in(window, [span for channel in task.channels for span in self.hidden[channel]])
            samples, hidden = (MIX @ samples).astype(samples.dtype), [both, both]
            for span in both:
                samples[:, span.start : span.stop] = 0.0
        return Part(window.start, samples, tuple(map(tuple, hidden)), self.sample_rate, task.mid_side)

    def everything(self, window: Window, task: GapTask) -> np.ndarray:
        """Return the voices of a task (voices, t) with what is in their gaps.

        Raises:
            AudioError: samples that are not finite.
            ParameterError: the reader returned another shape or type.
        """
        window, samples = self._read(window)
        self._check_finite(samples[list(task.channels)], window.start, "must be finite where leak_free is False")
        chosen = samples[list(task.channels)]
        return (MIX @ chosen).astype(samples.dtype) if task.mid_side else chosen

    def _read(self, window: Window) -> tuple[Window, np.ndarray]:
        """Return a window, cut at the recording's ends, and a copy of its samples."""
        window = Window(max(0, window.start), min(self.n_samples, window.stop))
        return window, read_checked(self.reader, window.start, window.stop, self.n_channels).copy()

    def _check_finite(self, samples: np.ndarray, start: int, what: str = "must be finite outside the gaps") -> None:
        check_finite(samples, start, self.sample_rate, what, "make it part of a gap, or silence it first")

"""Embedding of recordings on this machine: threads decode ahead, and each process computes with its own model.

Decoding ahead gives the same samples as reading a file piece by piece, bit for bit. Recordings are taken in
chunks, in the order of the list. The short ones of a chunk are computed in batches, always the same, so that a
run that was killed and resumed gives the same vectors as an undisturbed one, bit for bit.
"""

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from masktools.core.errors import AudioError, MasktoolsError
from masktools.core.processes import KILLED, in_processes
from masktools.extraction.items import ExtractionSettings, Item, Row
from masktools.extraction.reading import SHARD_ENDING, ending_of, is_url, read_item, span_of
from masktools.io import open_recording

if TYPE_CHECKING:
    from masktools.features import Embedding, Encoder, Source
else:
    Embedding = Encoder = Source = Any  # imported late: listing recordings does not need torch

_DECODERS = 4  # threads, at most
_LOADING = threading.Lock()
_MOST = 64  # pending results, at most
_BUDGET = 1 << 27  # bytes of pending results

In = TypeVar("In")


@runtime_checkable
class _Sized(Protocol):
    @property
    def n_bytes(self) -> int: ...


Out = TypeVar("Out", bound=_Sized)


def ahead(function: Callable[[In], Out], values: Iterable[In], n_threads: int) -> Generator[Out, None, None]:
    """Yield a function of each value, in order; threads compute ahead of the caller, bounded by bytes.

    Args:
        function: function to be computed; its errors are raised here.
        values: arguments, of any number; they are taken as they are needed.
        n_threads: number of threads.
    """
    source = iter(values)
    waiting: deque[Future[Out]] = deque()
    largest = 0  # size of the largest recent result
    pool = ThreadPoolExecutor(n_threads, "masktools-decode")
    try:
        while True:
            room = min(_MOST, max(n_threads + 1, _BUDGET // max(1, largest)))
            waiting.extend(pool.submit(function, value) for value in islice(source, max(0, room - len(waiting))))
            if not waiting:
                return
            result = waiting.popleft().result()
            largest = max(result.n_bytes, largest * 7 // 8)
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


SHORT_S = 60.0
"""Recordings up to this length are computed in batches with others; longer ones fill batches of their own."""

LONG_S = 300.0
"""Longer recordings are not decoded ahead, but piece by piece while they are computed."""

Convert = Callable[[Source], Source]
"""Converts a recording in memory to the rate of the encoder."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An item that waits for the encoder: decoded, or open in its file, or with an error."""

    item: Item
    source: Source | None = None  # None: it is long, or cannot be read
    duration_s: float = 0.0
    error: str | None = None

    @property
    def is_short(self) -> bool:
        """Whether it is computed in a batch with others."""
        return self.source is not None and self.duration_s <= SHORT_S

    @property
    def n_bytes(self) -> int:
        """Size in memory."""
        return 0 if self.source is None else 4 * self.source.n_samples


def prepare(item: Item, convert: Convert) -> Prepared:
    """Return an item ready for the encoder; errors are kept in it, not raised."""
    from masktools.features import Source as Held

    try:
        if item.member is None and not is_url(item.location) and ending_of(item.location) != SHARD_ENDING:
            with opened(item) as source:
                long = source.duration_s > LONG_S
                return Prepared(item, None if long else convert(source), source.duration_s)
        samples, rate = read_item(item)
        source = Held(lambda first, last: samples[:, first:last], samples.shape[1], rate, item.key)
        return Prepared(item, convert(source), source.duration_s)
    except Exception as error:  # whatever the error, the other recordings go on
        return Prepared(item, error=reason_of(error, item))


def reason_of(error: Exception, item: Item) -> str:
    """Return the reason of a failure, in one line."""
    if isinstance(error, MasktoolsError):
        text = str(error)
    elif isinstance(error, OSError):
        text = f"{item.location}: {error.strerror or error}"
    else:
        text = f"{item.location}: internal error ({type(error).__name__}: {error})"
    return " ".join(text.split())


@contextmanager
def opened(item: Item) -> Iterator[Source]:
    """Yield the recording of an item that is a file, or its part, read piece by piece.

    Raises:
        AudioError: the file is missing, damaged, no audio, or ends before the part starts.
    """
    from masktools.features import Source as Read

    with open_recording(item.location) as recording:
        start, stop = span_of(item, recording)
        rate, name = recording.sample_rate, str(recording.path)
        yield Read(lambda first, last: recording.read(start + first, start + last), stop - start, rate, name)


@dataclass(frozen=True)
class Worker:
    """Embeds recordings with one model, which is loaded once in each process, when it is first needed.

    ``worker(items)`` returns a row for each item. ``prepare`` and ``embed`` are its two halves, for callers that decode
    in one thread while another computes.

    Attributes:
        model: a name at hand, a folder, or ``owner/name`` on the hub.
        settings: settings of the extraction.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto (fp32 on a CPU), fp32, bf16, fp16 or int8.
        threads: CPU threads of the model, at most.
        batch_size: windows computed at once.
    """

    model: str = "mini"
    settings: ExtractionSettings = field(default_factory=ExtractionSettings)
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    batch_size: int | None = None

    @property
    def encoder(self) -> Encoder:
        """The model.

        Raises:
            BundleError: no such model, or one that is incomplete, altered or of another format.
            ParameterError: a value out of its range, or an unknown name.
            DeviceError: a device or a precision that this machine does not offer.
        """
        return _loaded(self.model, self.device, self.precision, self.threads, self.batch_size)

    @property
    def identity(self) -> str:
        """Identity of the model for fingerprints: the hash of the weights, and the precision unless it is full."""
        from masktools.core.runtime import precision_of

        precision = precision_of(self.encoder.pipeline.precision)
        return self.encoder.identity if precision == "fp32" else f"{self.encoder.identity} {precision}"

    @property
    def n_decoders(self) -> int:
        """Number of threads that decode recordings."""
        from masktools.core.runtime import usable_cores

        return max(1, min(_DECODERS, usable_cores() // 2))

    def check(self) -> None:
        """Load the model, and embed a short silence as a test.

        Raises:
            MasktoolsError: errors of ``encoder``, or settings that the model does not support.
        """
        encoder = self.encoder
        encoder.encode(np.zeros(encoder.sample_rate // 10, np.float32), encoder.sample_rate, **self._options())

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        """Return a row for each item, in order. A failed item has a row with the reason.

        Raises:
            MasktoolsError: errors of ``check``.
            RuntimeError: the device is out of memory.
        """
        rows: dict[str, Row] = {}
        short: list[Prepared] = []
        for prepared in ahead(self.prepare, items, self.n_decoders):
            if prepared.is_short:
                short.append(prepared)
            else:
                rows[prepared.item.key] = self.embed([prepared])[0]
        rows |= {row.key: row for row in self.embed(short)}
        return [rows[item.key] for item in items]

    def prepare(self, item: Item) -> Prepared:
        """Return an item decoded, unless it is long; errors are kept in it. Thread-safe."""
        return prepare(item, self._at_model_rate)

    def embed(self, batch: Sequence[Prepared]) -> list[Row]:
        """Return a row for each prepared item, in order; those in memory are computed in batches.

        Raises:
            RuntimeError: the device is out of memory.
        """
        held = [one for one in batch if one.source is not None]
        try:
            encoded = self._encode([one.source for one in held if one.source is not None]) if held else []
            found = {one.item.key: self._row(one, embedding) for one, embedding in zip(held, encoded, strict=True)}
        except Exception as error:  # one of the batch failed: compute each alone
            if _out_of_memory(error):
                raise
            found = {}
        return [found[one.item.key] if one.item.key in found else self._alone(one) for one in batch]

    def _alone(self, prepared: Prepared) -> Row:
        item = prepared.item
        if prepared.error is not None:
            return Row(item.key, error=prepared.error)
        try:
            if prepared.source is not None:
                return self._row(prepared, self._encode([prepared.source])[0])
            with opened(item) as source:
                return self._row(prepared, self._encode([source])[0])
        except (MasktoolsError, OSError) as error:
            return Row(item.key, error=reason_of(error, item))
        except Exception as error:  # an error of ours; the other recordings go on
            if _out_of_memory(error):
                raise
            return Row(item.key, error=reason_of(error, item))

    def _encode(self, sources: list[Source]) -> list[Embedding]:
        return self.encoder.encode(sources, **self._options())

    def _options(self) -> dict[str, Any]:
        layer, prefix = self.settings.layer, self.settings.prefix
        return {name: getattr(self.settings, name) for name in ("pool", "hop_s", "frames", "tokens")} | {
            "layer": np.array(layer) if isinstance(layer, tuple) else layer,
            "prefix": np.array(prefix, np.float32) if isinstance(prefix, tuple) else prefix,
        }

    def _row(self, prepared: Prepared, embedding: Embedding) -> Row:
        kind, layer = np.dtype(self.settings.dtype), self.settings.layer
        frames, tokens = embedding.frames, embedding.tokens
        several = layer == "all" or (isinstance(layer, tuple) and isinstance(layer[0], int))
        if frames is not None and several:
            frames = np.moveaxis(frames, 0, 1)  # frames first
        return Row(
            prepared.item.key,
            clip=None if embedding.clip is None else embedding.clip.astype(kind),
            frames=None if frames is None else frames.astype(kind),
            times_s=embedding.times_s,
            tokens=None if tokens is None else np.ascontiguousarray(tokens.T),
            duration_s=prepared.duration_s,
        )

    def _at_model_rate(self, source: Source) -> Source:
        """Return a source in memory, resampled if that changes neither its columns nor its times."""
        from masktools.features.windows import Source as Held
        from masktools.features.windows import Times, mono_blocks, parse_hop

        grid, rate = self.encoder.pipeline.grid, self.encoder.sample_rate
        hop = parse_hop(self.settings.hop_s, grid)
        wave = np.concatenate(list(mono_blocks(source, rate)))
        before, after = Times(grid, hop, source.n_samples, source.sample_rate), Times(grid, hop, len(wave), rate)
        shifts = range(hop.n_shifts)
        alike = all(before.n_columns(shift) == after.n_columns(shift) for shift in shifts)
        if not (alike and np.array_equal(before.seconds(), after.seconds())):
            rate, wave = source.sample_rate, source.read(0, source.n_samples).mean(axis=0, dtype=np.float32)
        return Held(lambda start, stop: wave[None, start:stop], len(wave), rate, source.name)


def _loaded(*options: Any) -> Encoder:
    with _LOADING:  # threads that ask at once all get the same model
        return _load(*options)


@functools.lru_cache(maxsize=1)
def _load(model: str, device: str, precision: str, threads: int | None, batch_size: int | None) -> Encoder:
    from masktools.features import Encoder as Pretrained

    return Pretrained.from_pretrained(model, device=device, precision=precision, threads=threads, batch_size=batch_size)


def _out_of_memory(error: Exception) -> bool:
    return type(error).__name__ == "OutOfMemoryError"  # torch's own class


Compute = Callable[[Sequence[Item]], list[Row]]


def rows_in_processes(
    chunks: Iterable[Sequence[Item]], work: Compute, n_jobs: int
) -> Generator[tuple[list[Row], bool], None, None]:
    """Yield the rows of each chunk as soon as they are computed, with True since they are whole chunks.

    A chunk whose process died twice is computed again one by one: the recording that kills it gets a row that
    says so.
    """
    for chunk, rows in in_processes(chunks, work, n_jobs, n_ahead=1):
        if rows is not None:
            yield rows, True
        elif len(chunk) > 1:
            yield from rows_in_processes([[item] for item in chunk], work, 1)
        else:
            yield [Row(chunk[0].key, error=f"{chunk[0].location}: {KILLED}")], True


CHUNK = 32
"""Recordings in a chunk."""

_PAUSE_S, _HELD_BYTES = 30.0, 1 << 26  # time between two partial saves of a chunk; bytes of rows that are kept at once

Progress = Callable[[int, int], object]
"""Called with (recordings done, recordings in total)."""


@runtime_checkable
class Work(Protocol):
    """Anything that embeds recordings: a ``Worker``."""

    @property
    def n_decoders(self) -> int:
        """Number of threads that decode recordings."""
        ...

    def prepare(self, item: Item) -> Prepared:
        """Return an item decoded."""
        ...

    def embed(self, batch: Sequence[Prepared]) -> list[Row]:
        """Return a row for each prepared item."""
        ...

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        """Return a row for each item."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Anything that stores rows: a ``Store``."""

    def finished(self) -> set[str]:
        """Return the keys of the recordings that need no more work."""
        ...

    def add(self, rows: Sequence[Row]) -> None:
        """Store some recordings."""
        ...


def run_local(
    items: Sequence[Item],
    worker: Work,
    store: Sink,
    progress: Progress | None = None,
    *,
    n_jobs: int = 1,
    fail_fast: bool = False,
) -> None:
    """Embed the remaining recordings, and store them.

    Args:
        items: all recordings, in order.
        worker: worker that embeds; with several jobs it must be picklable.
        store: store of the rows.
        progress: called with (recordings done, recordings in total), those of earlier runs included.
        n_jobs: number of processes.
        fail_fast: whether the first failure ends the run.

    Raises:
        AudioError: with ``fail_fast``: the reason of the first failure.
    """
    finished = store.finished()
    chunks = [left for chunk in chunks_of(items) if (left := [item for item in chunk if item.key not in finished])]
    rows = _here(chunks, worker) if n_jobs == 1 else rows_in_processes(chunks, worker, n_jobs)
    store_rows(rows, store, len(items) - sum(map(len, chunks)), len(items), progress, fail_fast)


def store_rows(
    rows: Generator[tuple[list[Row], bool], None, None],
    store: Sink,
    done: int,
    total: int,
    progress: Progress | None,
    fail_fast: bool,
) -> None:
    """Store rows as they come, at the end of every chunk at least, and report progress.

    Args:
        rows: pairs of some rows, and whether they end a chunk.
        store: store of the rows.
        done: recordings that were finished before.
        total: recordings in total.
        progress: see ``run_local``.
        fail_fast: see ``run_local``.

    Raises:
        AudioError: with ``fail_fast``: the reason of the first failure.
    """
    held: list[Row] = []
    stored_at = time.monotonic()
    if progress is not None:
        progress(done, total)
    try:
        for new, is_whole in rows:
            bad = next((row for row in new if row.error is not None), None) if fail_fast else None
            held += [row for row in new if row.error is None] if bad else new
            done += len(new)
            if bad is not None:
                raise AudioError(bad.error or "")
            n_bytes = sum(array.nbytes for row in held for array in row.arrays.values())
            if is_whole or time.monotonic() - stored_at > _PAUSE_S or n_bytes > _HELD_BYTES:
                store.add(held)
                held, stored_at = [], time.monotonic()
            if progress is not None:
                progress(done, total)
    finally:
        rows.close()
        if held:
            store.add(held)


def chunks_of(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield the list in chunks."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def _here(chunks: Sequence[Sequence[Item]], worker: Work) -> Generator[tuple[list[Row], bool], None, None]:
    """Yield rows as they are computed, and whether they end a chunk."""
    items = (item for chunk in chunks for item in chunk)
    with closing(ahead(worker.prepare, items, worker.n_decoders)) as every:
        for chunk in chunks:
            short: list[Prepared] = []
            for prepared in islice(every, len(chunk)):
                if prepared.is_short:
                    short.append(prepared)
                else:
                    yield worker.embed([prepared]), False
            yield worker.embed(short), True

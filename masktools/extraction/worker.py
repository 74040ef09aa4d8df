"""What embeds recordings, in whichever process or machine: made of plain values, so that it travels."""

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from masktools.errors import MasktoolsError
from masktools.extraction.ahead import ahead
from masktools.extraction.decoding import Prepared, opened, prepare, reason_of
from masktools.extraction.rows import Row
from masktools.extraction.settings import ExtractionSettings
from masktools.extraction.sources import Item

if TYPE_CHECKING:
    from masktools.features import Embedding, Encoder, Source
else:
    Embedding = Encoder = Source = Any  # who lists recordings need not wait for torch

__all__ = ["Row", "Worker"]

_DECODERS = 4  # threads at most
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Worker:
    """Embeds recordings with one model, which is loaded once in each process, when it is first needed.

    ``worker(items)`` gives a row for each item. ``prepare`` and ``embed`` are its two halves, for who decodes
    recordings in one thread while another computes.

    Attributes:
        model: a name at hand, a folder, or ``owner/name`` on the hub.
        settings: what is wanted of each recording.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto (fp32 on a CPU), fp32, bf16, fp16 or int8.
        threads: CPU threads of the model at most.
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
        """What the vectors depend on beside the settings: the weights, and the precision unless it is full."""
        from masktools.runtime import precision_of

        precision = precision_of(self.encoder.pipeline.precision)
        return self.encoder.identity if precision == "fp32" else f"{self.encoder.identity} {precision}"

    @property
    def n_decoders(self) -> int:
        """How many threads decode recordings."""
        from masktools.runtime import usable_cores

        return max(1, min(_DECODERS, usable_cores() // 2))

    def check(self) -> None:
        """Load the model, and embed a moment of silence.

        Raises:
            MasktoolsError: what ``encoder`` raises, or settings that the model does not have.
        """
        encoder = self.encoder
        encoder.encode(np.zeros(encoder.sample_rate // 10, np.float32), encoder.sample_rate, **self._options())

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        """Return a row for each item, in order. What cannot be embedded has a row that says why.

        Raises:
            MasktoolsError: what ``check`` raises.
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
        """Return an item decoded, unless it is long; what is wrong with it stands in it. For any thread."""
        return prepare(item, self._at_model_rate)

    def embed(self, batch: Sequence[Prepared]) -> list[Row]:
        """Return a row for each prepared item, in order; those in memory are computed side by side.

        Raises:
            RuntimeError: the device is out of memory.
        """
        held = [one for one in batch if one.source is not None]
        try:
            encoded = self._encode([one.source for one in held if one.source is not None]) if held else []
            found = {one.item.key: self._row(one, embedding) for one, embedding in zip(held, encoded, strict=True)}
        except Exception as error:  # one of them brought it down: each alone
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
        except Exception as error:  # a fault of ours; the recordings after it shall not pay for it
            if _out_of_memory(error):
                raise
            return Row(item.key, error=reason_of(error, item))

    def _encode(self, sources: list[Source]) -> list[Embedding]:
        return self.encoder.encode(sources, **self._options())

    def _options(self) -> dict[str, Any]:
        settings = self.settings
        layer, prefix = settings.layer, settings.prefix
        return {
            "layer": np.array(layer) if isinstance(layer, tuple) else layer,
            "pool": settings.pool,
            "prefix": np.array(prefix, np.float32) if isinstance(prefix, tuple) else prefix,
            "hop_s": settings.hop_s,
            "frames": settings.frames,
            "tokens": settings.tokens,
        }

    def _row(self, prepared: Prepared, embedding: Embedding) -> Row:
        kind, layer = np.dtype(self.settings.dtype), self.settings.layer
        frames, tokens = embedding.frames, embedding.tokens
        several = layer == "all" or (isinstance(layer, tuple) and isinstance(layer[0], int))
        if frames is not None and several:
            frames = np.moveaxis(frames, 0, 1)  # moments first
        return Row(
            prepared.item.key,
            clip=None if embedding.clip is None else embedding.clip.astype(kind),
            frames=None if frames is None else frames.astype(kind),
            times_s=embedding.times_s,
            tokens=None if tokens is None else np.ascontiguousarray(tokens.T),
            duration_s=prepared.duration_s,
        )

    def _at_model_rate(self, source: Source) -> Source:
        """Return a source in memory: resampled, if that changes neither its columns nor its times."""
        from masktools.features.inputs import Source as Held
        from masktools.features.inputs import mono_blocks
        from masktools.features.windows import Times, parse_hop

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
    with _LOADING:  # threads that ask for a model at once shall all get the one
        return _load(*options)


@functools.lru_cache(maxsize=1)
def _load(model: str, device: str, precision: str, threads: int | None, batch_size: int | None) -> Encoder:
    from masktools.features import Encoder as Pretrained

    return Pretrained.from_pretrained(model, device=device, precision=precision, threads=threads, batch_size=batch_size)


def _out_of_memory(error: Exception) -> bool:
    return type(error).__name__ == "OutOfMemoryError"  # torch's own

"""One recording as the page sees and hears it: before, after its repairs, and what is between them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from masktools import io
from masktools.app.edits import Edits, pieces_of
from masktools.app.layers import BLOCK, COLUMN, N_ROWS, Layer, as_peaks, rows_of
from masktools.app.refusals import RefusalError
from masktools.app.store import STATE
from masktools.core.configs import from_dict, read_json
from masktools.review.panels import Scale, mean_levels, picture_of, spectrogram, to_png, top_level_db

BEFORE, AFTER, DIFFERENCE = "before", "after", "difference"
SIDES = (BEFORE, AFTER, DIFFERENCE)
MOST_COLUMNS, MOST_SECONDS, TILE, FIRST_HOP, MOST_LEVEL = 4096, 10, 256, 16, 20
_STORED_LEVEL = (COLUMN // FIRST_HOP).bit_length() - 1  # from which on the layers know all
_NEAR = 2 * BLOCK  # samples: columns that are narrower are read from the recording
_RANGE_DB = 90.0  # of the colours
_GLANCES = 64  # frames by which the colours are chosen
_PATIENCE_S = 0.05  # of the background, between two of its steps
_SOON = 32  # columns that are filled while one waits for a picture


class View:
    """A recording that is open: its samples, and its overview as far as it is known."""

    def __init__(self, folder: Path, path: Path) -> None:
        """Open a recording.

        Raises:
            AudioError: it cannot be read.
        """
        self.folder, self.path = folder, path
        self.recording = io.open_recording(path, tell=False, exact=False)
        self.lock, self._freshening = threading.RLock(), threading.Lock()
        self.share = 0.0  # that was surveyed
        self._n_asked = 0  # questions that a page waits for
        self.limit = self.recording.n_samples  # samples that can be read, of a recording that breaks off
        self.pieces: list[io.Piece] = []
        self._revision = -1
        self._holding: list[tuple[str, str, int]] = []
        self._layers: dict[str, Layer] = {}
        self._scale: Scale | None = None

    def close(self) -> None:
        """Close it."""
        with self.lock:
            self.recording.close()

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Let what is done in the background wait while a page is answered."""
        self._n_asked += 1
        try:
            yield
        finally:
            self._n_asked -= 1

    def give_way(self) -> None:
        """Wait a little, while a page waits for an answer."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._n_asked and time.monotonic() < deadline:
            time.sleep(_PATIENCE_S / 10)

    def settle(self) -> None:
        """Decode what was only sought in, so that its length and the place of its samples are true.

        Raises:
            AudioError: it cannot be read.
        """
        if not self.recording.is_exact:
            exact = io.open_recording(self.recording.path, tell=False)
            with self.lock:
                self.recording.close()
                self.recording, self._layers, self.limit = exact, {}, exact.n_samples

    def break_off(self, limit: int) -> None:
        """Read no further than to a sample from now on: what is behind it is silent."""
        with self.lock:
            self.recording.close()  # a decoder that has failed once fails everywhere
            self.recording = io.open_recording(self.path, tell=False)
            self.limit = limit

    def facts(self) -> dict[str, Any]:
        """Return what is known without reading all of it."""
        own = self.recording
        told: dict[str, Any] = {"rate": own.sample_rate, "samples": own.n_samples, "channels": own.n_channels}
        told |= {"format": own.format, "subtype": own.subtype, "exact": own.is_exact, "warnings": list(own.warnings)}
        return told

    @property
    def scale(self) -> Scale:
        """The colours, by some moments of the whole."""
        if self._scale is None:
            rows = rows_of("mel", self.recording.sample_rate)
            n = self.recording.n_samples
            glances = spectrogram(self.before, n, self.recording.sample_rate, rows, min(_GLANCES, n), None, 1)
            high_db = max(-80.0, top_level_db([mean_levels(glances)]))
            self._scale = Scale(high_db - _RANGE_DB, high_db)
        return self._scale

    def layer(self, side: str) -> Layer:
        """Return the overview of a side, before or after."""
        with self.lock:
            if side not in self._layers:
                own = self.recording
                size = (own.n_samples, own.n_channels, own.sample_rate)
                made = self._layers[side] = Layer(self.folder / "survey", side, *size)
                if side == AFTER:
                    made.like(self.layer(BEFORE))
                    for piece in self.pieces:
                        made.spoil(piece.start, piece.stop)
            return self._layers[side]

    def follow(self, revision: int) -> bool:
        """Take over what was decided since, and tell whether that changes what is heard."""
        with self.lock:
            if revision == self._revision:
                return False
            holding = from_dict(Edits, read_json(self.folder / STATE)["edits"]).holding()
            pairs = enumerate(zip(self._holding, holding, strict=False))
            shortest = min(len(self._holding), len(holding))
            n_same = next((n for n, (old, new) in pairs if old != new), shortest)
            self.pieces = pieces_of(self.folder, holding)
            if AFTER in self._layers:
                for piece in pieces_of(self.folder, [*self._holding[n_same:], *holding[n_same:]]):
                    self._layers[AFTER].spoil(piece.start, piece.stop)
            self._revision = revision
            changed, self._holding = holding != self._holding, holding
            return changed

    def freshen(self) -> bool:
        """Fill the overview of the repaired side where it is not true; tell whether that could be done to its end."""
        with self._freshening:
            revision = self._revision
            if not self.recording.is_exact or not self.layer(BEFORE).fresh.all():
                return False
            for _ in self.layer(AFTER).fill_stale(self.after):
                self.give_way()
                if self._revision != revision:
                    return False
            return True

    def marks(self) -> list[dict[str, Any]]:
        """Return where the repairs are, as a page that compares marks them: those of the whole are not."""
        rate, n = self.recording.sample_rate, self.recording.n_samples
        return [
            {"start_s": one.start / rate, "end_s": one.stop / rate, "channels": list(one.channels)}
            for one in self.pieces
            if one.stop - one.start < n
        ]

    def before(self, start: int, stop: int) -> np.ndarray:
        """Return samples (channels, stop - start) as they are in the file; zeros outside of it."""
        with self.lock:
            inside = self.recording.read(min(start, self.limit), min(stop, self.limit), finite=False)
        n_missing = stop - start - inside.shape[1]
        return np.pad(inside, ((0, 0), (0, n_missing))) if n_missing else inside

    def after(self, start: int, stop: int) -> np.ndarray:
        """Return samples with all repairs in their places."""
        return io.put_pieces(self.before(start, stop), start, self.pieces)

    def read(self, side: str, start: int, stop: int) -> np.ndarray:
        """Return samples of a side.

        Raises:
            RefusalError: there is no such side.
        """
        if side == DIFFERENCE:
            return np.nan_to_num(self.after(start, stop)) - np.nan_to_num(self.before(start, stop))
        if side not in SIDES:
            raise RefusalError(404, f"there is no side {side!r}: choose from {', '.join(SIDES)}")
        return self.after(start, stop) if side == AFTER else self.before(start, stop)

    def samples(self, side: str, start: int, count: int) -> bytes:
        """Return samples of a side, float32, one channel after the other."""
        own = self.recording
        if not 0 <= start < own.n_samples:
            raise RefusalError(422, f"from must lie in 0-{own.n_samples - 1}, got {start}", "from")
        if not 1 <= count <= MOST_SECONDS * own.sample_rate:
            raise RefusalError(422, f"count must lie in 1-{MOST_SECONDS * own.sample_rate}, got {count}", "count")
        wave = self.read(side, start, min(start + count, own.n_samples))
        return np.nan_to_num(wave, posinf=0.0, neginf=0.0).astype("<f4").tobytes()

    def peaks(self, side: str, start: int, stop: int, width: int) -> bytes:
        """Return the least and the greatest sample of each of so many columns, int16, (channel, column, 2)."""
        n = self.recording.n_samples
        if not 0 <= start < stop or not start < n:
            raise RefusalError(422, f"from and to must lie in 0-{n}, got {start}-{stop}", "from")
        if not 1 <= width <= MOST_COLUMNS:
            raise RefusalError(422, f"width must lie in 1-{MOST_COLUMNS}, got {width}", "width")
        edges = start + np.arange(width + 1) * (stop - start) // width
        inside = int(np.searchsorted(edges[:-1], n))
        if (stop - start) / width < _NEAR:
            found = self._near_peaks(side, edges[:inside], min(stop, n))
        elif side != DIFFERENCE and self._is_fresh(side, start, min(stop, n)):
            first = edges[:inside] // BLOCK
            blocks = self.layer(side).peaks[:, first[0] : -(-min(stop, n) // BLOCK)]
            starts = first - first[0]
            found = np.stack(
                [np.minimum.reduceat(blocks[..., 0], starts, 1), np.maximum.reduceat(blocks[..., 1], starts, 1)], 2
            )
        else:  # a glance at the beginning of each column
            found = np.zeros((self.recording.n_channels, inside, 2), "<i2")
            for at in range(inside):
                if side != DIFFERENCE or self._is_changed(int(edges[at]), int(edges[at + 1])):
                    first = max([int(edges[at]), *self._starts_in(int(edges[at]), int(edges[at + 1]))])
                    found[:, [at]] = self._near_peaks(side, np.array([first]), min(first + BLOCK, n))
        return np.pad(found, ((0, 0), (0, width - inside), (0, 0))).astype("<i2").tobytes()

    def _is_changed(self, start: int, stop: int) -> bool:
        return any(piece.start < stop and start < piece.stop for piece in self.pieces)

    def _starts_in(self, start: int, stop: int) -> list[int]:
        """Return where repairs begin, so that a glance at a column falls on them."""
        return [piece.start for piece in self.pieces if start < piece.start < stop]

    def _near_peaks(self, side: str, starts: np.ndarray, stop: int) -> np.ndarray:
        first = int(starts[0])
        return as_peaks(self.read(side, first, stop), np.minimum(starts - first, stop - first - 1))

    def _is_fresh(self, side: str, start: int, stop: int) -> bool:
        """Tell whether the overview knows a stretch; a few columns that it lacks are filled."""
        if not self.recording.is_exact:
            return False
        layer = self.layer(side)
        first, last = start // COLUMN, -(-stop // COLUMN)
        stale = first + np.flatnonzero(~layer.fresh[first:last])
        if 0 < len(stale) <= _SOON:
            for column in stale:
                layer.fill(lambda begin, end: self.read(side, begin, end), int(column), int(column) + 1)
            return True
        return not len(stale)

    def tile(self, side: str, channel: int, scale: str, level: int, index: int) -> tuple[bytes, bool]:
        """Return a picture, PNG, of 256 columns of 16 * 2**level samples, and whether it is the true one."""
        own = self.recording
        hop = FIRST_HOP << level
        start = index * TILE * hop
        if not 0 <= channel < own.n_channels or not 0 <= level <= MOST_LEVEL or not 0 <= start < own.n_samples:
            raise RefusalError(404, "there is no such part of the spectrogram")
        sides = (BEFORE, AFTER) if side == DIFFERENCE else (side,)
        is_true = level < _STORED_LEVEL or all(
            self._is_fresh(one, start, min(start + TILE * hop, own.n_samples)) for one in sides
        )
        levels = [self._levels(one, channel, scale, level, start, is_true)[None] for one in sides]
        is_signed = side == DIFFERENCE
        numbers = self.scale.show_difference(*levels) if is_signed else self.scale.show(levels[0][0])
        return to_png(picture_of(numbers, signed=is_signed), small=False), is_true and own.is_exact

    def _levels(self, side: str, channel: int, scale: str, level: int, start: int, is_true: bool) -> np.ndarray:
        """Return levels (rows, 256) of a tile; what lies behind the recording is silent."""
        own, hop = self.recording, FIRST_HOP << level
        stop = start + TILE * hop
        rows = rows_of(scale, own.sample_rate)

        def read(first: int, last: int) -> np.ndarray:
            return self.read(side, first, last)[channel : channel + 1]

        if level < _STORED_LEVEL or not is_true:
            most = None if is_true else 1
            return spectrogram(read, max(stop, own.n_samples), own.sample_rate, rows, TILE, (start, stop), most)[0]
        layer = self.layer(side)
        step = hop // COLUMN
        edges = np.minimum(start // COLUMN + step * np.arange(TILE + 1), layer.n_cols)
        n = int(np.searchsorted(edges, layer.n_cols))
        levels = np.full((N_ROWS, TILE), -120.0, np.float32)
        levels[:, :n] = layer.mean_levels(scale, channel, edges[: n + 1])
        return levels

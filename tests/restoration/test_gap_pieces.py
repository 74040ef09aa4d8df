"""Files of any length: what lies around the gaps is read, when its turn comes, and nothing else."""

from itertools import pairwise

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.core.gaps import Gap
from masktools.restoration.recordings import Signal
from masktools.solver import SolverConfig
from tests.restoration.jobs import inpaint, inpaint_pieces
from tests.tiny import SAMPLE_RATE, noise, tiny_pipeline

FEW = SolverConfig(n_steps=2)
HOUR = 3600 * SAMPLE_RATE


class Hour:
    """An hour of noise that is made where it is read, and counts what was read."""

    def __init__(self, n_channels=1):
        self.n_channels, self.reads = n_channels, []

    def __call__(self, start, stop):
        assert 0 <= start < stop <= HOUR
        self.reads.append((start, stop))
        block = 1 << 15
        blocks = [
            0.1 * np.random.default_rng(number).standard_normal((self.n_channels, block)).astype(np.float32)
            for number in range(start // block, -(-stop // block))
        ]
        first = start // block * block
        return np.concatenate(blocks, axis=1)[:, start - first : stop - first]


def test_of_an_hour_only_what_lies_around_the_gaps_is_read(pipeline):
    hour = Hour()
    gaps = [(600.0, 600.3), (5.0, 5.02), (3599.0, 3600.0), (1800.0, 1800.1)]
    pieces = list(inpaint_pieces(pipeline, Signal(hour, HOUR, 1, SAMPLE_RATE), gaps, method="auto", solver=FEW))
    assert [piece.start for piece in pieces] == [round(start_s * SAMPLE_RATE) for start_s, _ in sorted(gaps)]
    assert sum(stop - start for start, stop in hour.reads) < 40 * SAMPLE_RATE
    assert all(np.isfinite(piece.samples).all() and piece.samples.std() > 1e-3 for piece in pieces)


def test_pieces_come_as_they_are_asked_for_and_say_what_was_done(pipeline):
    hour = Hour(2)
    gaps = [(60.0, 60.3), (600.0, 600.3)]
    filling = inpaint_pieces(pipeline, Signal(hour, HOUR, 2, SAMPLE_RATE), gaps, solver=FEW)
    assert not hour.reads
    piece = next(filling)
    assert max(stop for _, stop in hour.reads) < 100 * SAMPLE_RATE
    assert piece.samples.shape[0] == len(piece.channels) == 2
    assert [gap["start_s"] for gap in filling.report()["gaps"]] == [60.0]
    assert len(list(filling)) == 1
    assert filling.report()["n_forwards"] == 2 * 2 * FEW.n_steps


@pytest.mark.parametrize("method", ["auto", "copy"])
def test_pieces_are_what_inpainting_an_array_puts_into_it(pipeline, method):
    samples = noise(8, n_channels=2)
    gaps = [Gap(0.5, 0.52), Gap(1.0, 1.3, (0,)), Gap(1.2, 1.5, (1,)), Gap(1.4, 1.41, (0,)), Gap(6.0, 6.6)]
    whole = inpaint(pipeline, samples, SAMPLE_RATE, gaps, method=method, solver=FEW)
    pieced = samples.copy()
    pieces = list(inpaint_pieces(pipeline, Signal.of(samples, SAMPLE_RATE), gaps, method=method, solver=FEW))
    for piece in pieces:
        pieced[list(piece.channels), piece.start : piece.start + piece.samples.shape[1]] = piece.samples
    np.testing.assert_array_equal(pieced, whole.samples)
    starts = [(piece.start, piece.channels) for piece in pieces]
    assert all(one < other for one, other in pairwise(starts))


def test_a_fill_does_not_depend_on_gaps_far_after_it_nor_on_the_batch(pipeline):
    samples = noise(16)
    few = inpaint(pipeline, samples, SAMPLE_RATE, [(1, 1.3), (6, 6.1)], method="auto", solver=FEW)
    more = inpaint(
        tiny_pipeline(batch_size=1), samples, SAMPLE_RATE, [(1, 1.3), (6, 6.1), (14, 14.4)], method="auto", solver=FEW
    )
    until = 12 * SAMPLE_RATE
    np.testing.assert_array_equal(few.samples[:, :until], more.samples[:, :until])


def test_progress_goes_on_to_the_end(pipeline):
    seen = []
    gaps = [(0.5, 0.51), (1.0, 1.3), (6.0, 6.1)]
    inpaint(
        pipeline, noise(8), SAMPLE_RATE, gaps, method="auto", n_candidates=2, solver=FEW,
        progress=lambda done, of: seen.append(done / of),
    )  # fmt: skip
    assert seen == sorted(seen)
    assert len(seen) > 6
    assert seen[-1] == 1


def test_a_reader_must_return_what_it_is_asked_for(pipeline):
    for wrong, got in ((np.zeros((2, 5)), r"float64 of shape \(2, 5\)"), (np.zeros((1, 9), np.int16), "int16")):
        signal = Signal(lambda a, b, w=wrong: w, 99_999, 1, SAMPLE_RATE)
        filling = inpaint_pieces(pipeline, signal, [(1, 1.5)], solver=FEW)
        with pytest.raises(ParameterError, match=f"the reader must return float32 or float64 of shape .* got {got}"):
            next(filling)


def test_no_more_ranks_are_kept_than_there_are_candidates(pipeline):
    with pytest.raises(ParameterError, match=r"n_ranks must lie in \[1, 2\], the candidates, got 3"):
        inpaint_pieces(pipeline, Signal(Hour(), HOUR, 1, SAMPLE_RATE), [(1, 1.5)], n_candidates=2, n_ranks=3)

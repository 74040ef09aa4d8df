"""Streams of clips: what they promise of their clips, of their shares, and of going on where they stopped."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.training.clips import ClipStream, WaveAugmentation, fixed_clips
from masktools.training.shards import AudioCache
from masktools.training.streams import Stream, StreamLoader, drawn_index, shared_indices, weighted_by_kind

PLAIN = WaveAugmentation(gain_db=0.0, mix_share=0.0)


class Numbers(Stream):
    """Samples that are their own numbers."""

    def sample(self, index):
        return {"value": 10 * index}


def batches(n_batches, batch_size, n_workers, rank=0, n_ranks=1, start=0):
    """Return the numbers of each batch that a process loads."""
    stream = Numbers(0)
    stream.share_out(rank, n_ranks, batch_size)
    loader = StreamLoader(stream, batch_size, n_workers, lambda: start)
    return [batch["index"].tolist() for batch in islice(loader, n_batches)]


@given(
    start=st.integers(0, 100),
    n_ranks=st.integers(1, 4),
    n_workers=st.integers(1, 3),
    batch_size=st.integers(1, 5),
    n_steps=st.integers(1, 4),
)
@settings(max_examples=50, deadline=None)
def test_the_processes_of_a_step_see_together_what_one_would_see(start, n_ranks, n_workers, batch_size, n_steps):
    per_step = batch_size * n_ranks
    for step in range(n_steps):
        turn, worker = divmod(step, n_workers)
        seen = []
        for rank in range(n_ranks):
            own = shared_indices(start, rank, n_ranks, worker, n_workers, batch_size)
            seen += islice(own, turn * batch_size, (turn + 1) * batch_size)
        assert sorted(seen) == list(range(start + step * per_step, start + (step + 1) * per_step))


def test_the_number_of_workers_changes_nothing():
    assert batches(4, 3, n_workers=0) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert batches(4, 3, n_workers=2) == batches(4, 3, n_workers=0)


def test_a_loader_begins_where_training_stands():
    assert batches(2, 2, 0, rank=1, n_ranks=2, start=8) == [[9, 11], [13, 15]]
    stream = Numbers(0)
    stream.seek(5)
    assert next(iter(StreamLoader(stream, 2)))["value"].tolist() == [50, 60]


@given(weights=st.lists(st.floats(0, 10), min_size=1, max_size=8), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_what_weighs_nothing_is_never_drawn(weights, seed):
    if sum(weights) > 0:
        rng = np.random.default_rng(seed)
        assert all(weights[drawn_index(np.cumsum(weights), rng)] > 0 for _ in range(20))


def test_a_clip_depends_on_the_seed_and_its_number_alone(cache_folder):
    cache = AudioCache(cache_folder)
    first, again, other = (ClipStream(cache, "train", 8192, seed) for seed in (1, 1, 2))
    walked = [clip["wave"] for clip in islice(first, 6)]
    assert torch.equal(again.sample(5)["wave"], walked[5])
    assert torch.equal(again.sample(2)["wave"], walked[2])
    assert not torch.equal(other.sample(2)["wave"], walked[2])
    assert len({float(wave.sum()) for wave in walked}) == 6


def test_clips_have_their_length_stay_within_full_scale_and_carry_their_caption(cache_folder):
    lively = WaveAugmentation(gain_db=30.0, mix_share=0.5, speed=1.3)
    for clip in islice(ClipStream(AudioCache(cache_folder), "train", 30_000, augmentation=lively), 40):
        assert clip["wave"].shape == (30_000,)
        assert clip["wave"].dtype == torch.float32
        assert clip["wave"].abs().max() <= 0.991
        assert clip["caption"] in {"A hum.", "A blip."}


def test_short_recordings_fill_a_clip_together(cache_folder):
    stream = ClipStream(AudioCache(cache_folder), "train", 40_000, augmentation=PLAIN)
    blips = [c["wave"] for c in islice(stream, 40) if c["caption"] == "A blip."]
    assert blips
    assert min((blip.abs() > 0.01).float().mean() for blip in blips) > 0.5


def test_without_augmentation_a_clip_is_a_piece_of_a_recording(cache_folder):
    cache = AudioCache(cache_folder)
    whole = [cache.wave(recording) for recording in cache.split("train")]
    for clip in islice(ClipStream(cache, "train", 8192, augmentation=PLAIN), 10):
        wave = clip["wave"].numpy()
        starts = [(w, i) for w in whole for i in np.flatnonzero(w[: len(w) - 8191] == wave[0])]
        assert any(np.array_equal(w[i : i + 8192], wave) for w, i in starts)


def test_speed_changes_the_pitch_within_its_limits(cache_folder):
    cache = AudioCache(cache_folder)
    stream = ClipStream(cache, "train", 16_384, augmentation=WaveAugmentation(0.0, 0.0, 1.25))
    tones_hz = np.array([200.0 + 100 * index for index in range(6)])
    ratios = []
    for clip in islice(stream, 40):
        if clip["caption"] == "A hum.":
            spectrum = np.abs(np.fft.rfft(clip["wave"].numpy() * np.hanning(16_384)))
            peak_hz = spectrum.argmax() * cache.sample_rate / 16_384
            ratios.append(min((peak_hz / tones_hz[::2]).tolist(), key=lambda ratio: abs(np.log(ratio))))
    assert max(ratios) > 1.05
    assert min(ratios) < 0.95
    assert all(1 / 1.26 < ratio < 1.26 for ratio in ratios)


def test_kinds_can_be_left_out_but_not_all(cache_folder):
    cache = AudioCache(cache_folder)
    with pytest.raises(ParameterError, match="kind_weights must leave some recording of split 'train', got .'tone': 0"):
        ClipStream(cache, "train", 100, kind_weights={"tone": 0.0})
    with pytest.raises(ParameterError, match="n_samples must be at least 1, got 0"):
        ClipStream(cache, "train", 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Numbers(0).seek(-1), "sample_index must be at least 0, got -1"),
        (lambda: Numbers(0).share_out(2, 2, 1), "0 <= rank < n_ranks must hold, got 2 and 2"),
        (lambda: Numbers(0).share_out(0, 1, 0), "batch_size must be at least 1, got 0"),
        (lambda: WaveAugmentation(gain_db=-1.0), "gain_db must be at least 0 dB, got -1 dB"),
        (lambda: WaveAugmentation(mix_share=2.0), r"mix_share must lie in \[0, 1\], got 2"),
        (lambda: WaveAugmentation(speed=0.5), r"speed must lie in \[1, 4\], got 0.5"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_validation_clips_are_the_same_at_each_call(cache_folder):
    cache = AudioCache(cache_folder)
    first, again = (fixed_clips(cache, "valid", 8192, 2) for _ in range(2))
    assert all(torch.equal(a["wave"], b["wave"]) for a, b in zip(first, again, strict=True))
    long = fixed_clips(cache, "valid", 10_000_000, 1)
    assert len(long) == 1
    assert long[0]["wave"].shape == (10_000_000,)
    assert long[0]["wave"][:1000].any()
    assert not long[0]["wave"][-1000:].any(), "silence follows the longest recording"


@pytest.mark.parametrize("weights", [{"tone": 0.0, "noise": 0}, {"tone": -1.0}, {"tone": float("nan")}, {"tone": "1"}])
def test_weights_of_kinds_leave_something_to_draw(weights):
    with pytest.raises(ParameterError, match="kind_weights"):
        weighted_by_kind(np.ones(2), ["tone", "noise"], weights)
    assert weighted_by_kind(np.ones(2), ["tone", "noise"], {"tone": 0.0}).tolist() == [0.0, 1.0]

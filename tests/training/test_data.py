"""Training audio: what a cache keeps, what it refuses, and what the stream of clips promises."""

from itertools import islice

import numpy as np
import pytest
import torch

from masktools.errors import ParameterError
from masktools.training.data import AudioCache, AudioData, ClipStream, build_cache, fixed_clips, read_manifest


def test_a_cache_holds_the_recordings_at_one_rate_and_names_the_broken_one(cache_folder):
    cache = AudioCache(cache_folder)
    assert len(cache.recordings) == 8
    assert cache.recordings[0].n_samples == pytest.approx(2 * 22_050, abs=2)
    assert [path.endswith("broken.wav") for path, _ in cache.skipped] == [True]
    wave = cache.wave(cache.recordings[0])
    assert np.sqrt((wave**2).mean()) == pytest.approx(np.sqrt(0.02 + 0.0004), rel=0.02)


def test_rows_of_non_commercial_licences_are_left_out_unless_asked_for(manifest):
    assert len(read_manifest(manifest)) == 9
    assert len(read_manifest(manifest, non_commercial=True)) == 10


def test_a_cache_is_made_once_and_refuses_other_settings(manifest, cache_folder):
    assert len(build_cache([manifest], cache_folder).recordings) == 8
    with pytest.raises(ParameterError, match="holds a cache of other manifests or settings"):
        build_cache([manifest], cache_folder, sample_rate=16_000)


def test_the_stream_is_the_same_for_a_seed_and_another_for_another(cache_folder):
    cache = AudioCache(cache_folder)
    streams = [ClipStream(cache, "train", 8192, seed) for seed in (1, 1, 2)]
    first, again, other = (torch.stack([c["wave"] for c in islice(s, 4)]) for s in streams)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_clips_have_their_length_stay_within_full_scale_and_carry_their_caption(cache_folder):
    for clip in islice(ClipStream(AudioCache(cache_folder), "train", 30_000, gain_db=30, mix_share=0.5), 40):
        assert clip["wave"].shape == (30_000,)
        assert clip["wave"].abs().max() <= 0.991
        assert clip["caption"] in {"A hum.", "A blip."}


def test_short_recordings_fill_a_clip_together(cache_folder):
    stream = ClipStream(AudioCache(cache_folder), "train", 40_000, mix_share=0)
    blips = [c["wave"] for c in islice(stream, 40) if c["caption"] == "A blip."]
    assert blips
    assert min((blip.abs() > 0.01).float().mean() for blip in blips) > 0.5


def test_validation_clips_are_the_same_at_each_call(cache_folder):
    cache = AudioCache(cache_folder)
    first, again = (fixed_clips(cache, "valid", 8192, 2) for _ in range(2))
    assert all(torch.equal(a["wave"], b["wave"]) for a, b in zip(first, again, strict=True))


def test_the_data_module_gives_batches_of_waves(cache_folder):
    data = AudioData(str(cache_folder), n_samples=8192, batch_size=3)
    data.setup()
    assert next(iter(data.train_dataloader()))["wave"].shape == (3, 8192)
    assert next(iter(data.val_dataloader()))["wave"].shape[1] == 8192


def test_what_is_missing_is_said(tmp_path, cache_folder):
    with pytest.raises(ParameterError, match="no audio cache in"):
        AudioCache(tmp_path)
    with pytest.raises(ParameterError, match=r"no manifest at .*nothing.csv"):
        read_manifest(tmp_path / "nothing.csv")
    (tmp_path / "bad.csv").write_text("file,split\na,train\n")
    with pytest.raises(ParameterError, match="must have the columns path and split, missing: path"):
        read_manifest(tmp_path / "bad.csv")
    with pytest.raises(ParameterError, match="no recording of split 'test'.* it has train, valid"):
        AudioCache(cache_folder).split("test")
    with pytest.raises(ParameterError, match="no recording of split 'valid' lasts 10000000 samples"):
        fixed_clips(AudioCache(cache_folder), "valid", 10_000_000, 1)

"""Clips are drawn evenly and by chance, and what cannot be measured is named."""

import csv

import numpy as np
import pytest
import soundfile

from masktools.core.errors import ParameterError
from masktools.evaluation.clips import Clip, Clips, LeftOut, left_out_of, read_clips
from masktools.training.shards import build_cache
from tests.tiny import SAMPLE_RATE, noise

FIELDS = ("path", "split", "kind", "labels", "caption", "origin", "bandwidth_hz")


def source(folder, rows, fields=FIELDS):
    """Write a manifest and its recordings; each row says its length and level besides."""
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({"split": "test", **row})
            if row.get("seconds"):
                wave = noise(row["seconds"], row.get("rate", SAMPLE_RATE), seed=len(row["path"]))
                soundfile.write(folder / row["path"], wave[0] * row.get("gain", 1.0), row.get("rate", SAMPLE_RATE))
    return folder / "manifest.csv"


def many(kind, n, **more):
    return [
        {"path": f"{kind}{'-r' * bool(more)}{number}.wav", "kind": kind, "seconds": 1, **more} for number in range(n)
    ]


@pytest.fixture
def manifest(tmp_path):
    rows = [*many("music", 6), *many("speech", 2), *many("music", 3, origin="rendered")]
    rows += [{"path": "train.wav", "kind": "music", "seconds": 1, "split": "train"}]
    return source(tmp_path, rows)


def counts(clips):
    groups = [clip.group for clip in clips]
    return {group: groups.count(group) for group in dict.fromkeys(groups)}


def test_clips_are_spread_evenly_over_kinds_and_origins(manifest):
    assert counts(read_clips(manifest, n=6)) == {"music": 2, "music, rendered": 2, "speech": 2}


def test_where_a_group_is_small_the_others_give_more(manifest):
    assert counts(read_clips(manifest, n=9)) == {"music": 4, "music, rendered": 3, "speech": 2}
    assert counts(read_clips(manifest, n_each=3)) == {"music": 3, "music, rendered": 3, "speech": 2}
    assert len(read_clips(manifest)) == 11


def test_the_same_seed_draws_the_same_clips(manifest):
    names = [[clip.name for clip in read_clips(manifest, n=3, seed=seed)] for seed in (0, 0, 1, 2, 3)]
    assert names[0] == names[1]
    assert len({tuple(chosen) for chosen in names}) > 1


def test_a_clip_is_the_middle_of_its_recording(tmp_path):
    ramp = np.linspace(-0.9, 0.9, 3 * SAMPLE_RATE, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", ramp, SAMPLE_RATE, "FLOAT")
    (clip,) = read_clips(tmp_path, seconds=1)
    np.testing.assert_allclose(clip.wave, ramp[SAMPLE_RATE : 2 * SAMPLE_RATE], atol=1e-6)
    (clip,) = read_clips(tmp_path, seconds=1, sample_rate=11_025)
    assert (clip.sample_rate, len(clip.wave), clip.duration_s) == (11_025, 11_025, 1.0)
    assert clip.wave[2000:-2000].mean() == pytest.approx(0, abs=1e-3)


def test_a_clip_knows_what_its_manifest_says(tmp_path):
    row = {"path": "a.wav", "kind": "music", "seconds": 1, "labels": "piano;solo", "caption": "A piano."}
    rows = [row | {"origin": "rendered", "bandwidth_hz": 8000}, {"path": "b.wav", "seconds": 1}]
    rendered, plain = sorted(read_clips(source(tmp_path, rows)), key=lambda clip: clip.name)
    assert (rendered.labels, rendered.caption, rendered.bandwidth_hz) == (("piano", "solo"), "A piano.", 8000.0)
    assert (rendered.origin, rendered.group) == ("rendered", "music, rendered")
    assert (plain.kind, plain.origin, plain.bandwidth_hz, plain.labels) == ("recordings", "real", None, ())


def test_a_cache_gives_the_clips_of_its_manifest(tmp_path, manifest):
    build_cache([manifest], tmp_path / "cache")
    direct, cached = read_clips(manifest, n=5, seconds=0.5), read_clips(tmp_path / "cache", n=5, seconds=0.5)
    assert [(clip.name, clip.group) for clip in direct] == [(clip.name, clip.group) for clip in cached]
    for one, other in zip(direct, cached, strict=True):
        np.testing.assert_allclose(one.wave, other.wave, atol=1e-4)
    assert {len(clip.wave) for clip in read_clips(tmp_path / "cache", 16_000, seconds=0.333)} == {5328}


def test_a_folder_without_splits_is_taken_as_a_whole(tmp_path):
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", noise(1)[0], SAMPLE_RATE)
    assert len(read_clips(tmp_path)) == len(read_clips(tmp_path, split="all")) == 3
    (tmp_path / "test").mkdir()
    (tmp_path / "a.wav").rename(tmp_path / "test" / "a.wav")
    assert [clip.name for clip in read_clips(tmp_path)] == ["test/a.wav"]
    assert len(read_clips(tmp_path, split="all")) == 3


def test_what_cannot_be_measured_is_left_out_and_named(tmp_path):
    rows = [{"path": "good.wav", "seconds": 1}, {"path": "short.wav", "seconds": 0.4}, {"path": "missing.wav"}]
    manifest = source(tmp_path, [*rows, {"path": "quiet.wav", "seconds": 1, "gain": 1e-5}, {"path": "bad.wav"}])
    (tmp_path / "bad.wav").write_text("no audio")
    clips = read_clips(manifest, seconds=0.8)
    assert [clip.name for clip in clips] == ["good.wav"]
    assert {one.name: one.fault for one in clips.left_out} == {
        "short.wav": "short",
        "missing.wav": "broken",
        "quiet.wav": "silent",
        "bad.wav": "broken",
    }
    assert [one.reason for one in clips.left_out if one.fault == "short"] == ["0.4 s of the 0.8 s that are wanted"]
    assert len(read_clips(manifest, seconds=0.8, min_seconds=0.3)) == 2
    assert len(read_clips(manifest, n=2)) == 2  # others take the place of those left out
    with pytest.raises(ParameterError, match=r"a recording to measure .* but (\d \w+, )+.*short.* and none is left"):
        read_clips(manifest, seconds=2)


def test_clips_are_a_sequence_that_remembers_what_was_left_out():
    clip = Clip("a", noise(1)[0], SAMPLE_RATE)
    out = LeftOut("b", "broken", "cut off")
    clips = Clips((clip, clip), (out,))
    assert list(clips) == [clip, clip]
    assert (clips[0], len(clips[:1]), left_out_of(clips[:1])) == (clip, 1, (out,))
    assert left_out_of([clip]) == ()
    kept = Clips.keeping(
        [clip, Clip("c", clip.wave, SAMPLE_RATE)], "odd", lambda one: "odd" * (one.name == "a") or None, ""
    )
    assert [one.name for one in kept] == ["c"]
    assert kept.left_out == (LeftOut("a", "odd", "odd"),)
    with pytest.raises(ParameterError, match="at least one clip that is even, got none of 1"):
        Clips.keeping([clip], "odd", lambda _: "odd", "that is even")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tset"}, "unknown split 'tset': choose from train, valid, test, all .did you mean 'test'"),
        ({"split": "valid"}, "no recording of split 'valid' in .*: it has test, train"),
        ({"kinds": ["musik"]}, "unknown kind of recording 'musik': choose from music, speech"),
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"n_each": 0}, "n_each must be at least 1, got 0"),
        ({"sample_rate": 0}, "sample_rate must be at least 1, got 0"),
        ({"seconds": 0.1}, "seconds must be a number of at least 0.25 s, got 0.1"),
        ({"min_seconds": float("nan")}, "min_seconds must be a number of at least 0.25 s, got nan"),
        ({"seconds": 1.0, "min_seconds": 2.0}, "min_seconds must be at most seconds, got 2 and 1"),
    ],
)
def test_a_wrong_wish_says_what_is_wrong(manifest, arguments, message):
    with pytest.raises(ParameterError, match=message):
        read_clips(manifest, **arguments)


def test_a_source_that_is_none_says_so(tmp_path):
    with pytest.raises(ParameterError, match="no source at"):
        read_clips(tmp_path / "nothing")


@pytest.mark.parametrize("wave", [np.zeros(3), np.zeros((1, 3), np.float32), np.zeros(0, np.float32)])
def test_the_wave_of_a_clip_is_mono_float32(wave):
    with pytest.raises(ParameterError, match="wave of a clip must be float32 of shape .t,. and not empty, got"):
        Clip("a", wave, SAMPLE_RATE)


def test_several_sources_are_taken_together(tmp_path):
    folders = []
    for number, split in enumerate(("test", "train", "test")):
        folder = tmp_path / f"pack{number}"
        folder.mkdir()
        folders.append(source(folder, [{"path": f"{number}.wav", "split": split, "kind": "music", "seconds": 1}]))
    assert len(read_clips(folders)) == 2
    assert len(read_clips(folders, split="train")) == 1
    with pytest.raises(ParameterError, match=r"no recording of split 'valid' in .*pack0.*, .*pack2"):
        read_clips(folders, split="valid")

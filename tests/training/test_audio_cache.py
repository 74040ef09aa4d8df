"""The cache of decoded recordings: what it keeps, what it survives, and what it refuses."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from masktools.core.errors import ParameterError
from masktools.training.shards import AudioCache, Recording, build_cache, decoded

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from masktools.training.shards import build_cache

def progress(done, total):
    if 0 < done < total:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    build_cache([sys.argv[1]], sys.argv[2], n_workers=int(sys.argv[3]), progress=progress)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of forty very short recordings, one of them damaged."""
    place = tmp_path_factory.mktemp("forty")
    rng = np.random.default_rng(0)
    for number in range(40):
        soundfile.write(place / f"{number:02d}.wav", 0.1 * rng.standard_normal(200 + 10 * number), 22_050)
    (place / "07.wav").write_bytes(b"not audio at all")
    return place


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    """The files of the cache that one process makes at once."""
    target = tmp_path_factory.mktemp("undisturbed")
    build_cache([folder], target)
    return content(target)


def content(target):
    """Return the files of a cache, name -> bytes."""
    return {path.name: path.read_bytes() for path in target.iterdir()}


def test_a_cache_holds_the_recordings_at_one_rate_and_names_the_broken_one(cache_folder):
    cache = AudioCache(cache_folder)
    assert len(cache) == 8
    assert cache.recordings[0].n_samples == pytest.approx(2 * 22_050, abs=2)
    assert [path.endswith("broken.wav") for path, _ in cache.skipped] == [True]
    wave = cache.wave(cache.recordings[0])
    assert np.sqrt((wave**2).mean()) == pytest.approx(np.sqrt(0.02 + 0.0004), rel=0.02)


def test_recordings_lie_end_to_end_and_are_read_in_part(cache_folder):
    cache = AudioCache(cache_folder)
    ends = [recording.start + recording.n_samples for recording in cache.recordings]
    assert [recording.start for recording in cache.recordings] == [0, *ends[:-1]]
    recording, wave = cache.item(3)
    assert np.array_equal(cache.wave(recording, 5, 7), wave[5:12])
    assert len(cache.wave(recording, recording.n_samples - 2, 10)) == 2


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_build_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(folder, undisturbed, tmp_path, n_workers):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    target = tmp_path / "cache"
    words = [sys.executable, str(script), str(folder), str(target), str(n_workers)]
    killed = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert not (target / "index.json").exists()
    seen = []
    cache = build_cache([folder], target, n_workers=n_workers, progress=lambda *step: seen.append(step))
    assert seen[0][0] >= 8, "what was done before is not done again"
    assert seen[-1] == (40, 40)
    assert content(target) == undisturbed
    assert len(cache) == 39


def test_processes_whose_starter_was_killed_end_too(folder, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "print('going', flush=True); input()"))
    words = [sys.executable, str(script), str(folder), str(tmp_path / "cache"), "2"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes) as starter:
        assert starter.stdout.readline() == b"going\n"
        children = Path(f"/proc/{starter.pid}/task/{starter.pid}/children")
        if not children.exists():
            pytest.skip("this system does not list the children of a process")
        workers = [int(child) for child in children.read_text().split()]
        starter.kill()
    assert workers
    deadline = time.monotonic() + 120  # they see it at once, where there is time to see it
    while any(is_alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_alive(worker) for worker in workers)


def is_alive(process):
    """Tell whether a process runs; one that ended and was not collected yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_cache_is_made_once_and_refuses_other_settings(manifest, cache_folder):
    assert len(build_cache([manifest], cache_folder)) == 8
    with pytest.raises(ParameterError, match="holds a cache of other recordings or settings"):
        build_cache([manifest], cache_folder, sample_rate=16_000)


def test_caches_of_before_open_and_recordings_of_them_are_real(cache_folder, tmp_path):
    index = json.loads((cache_folder / "index.json").read_text())
    known = ("path", "start", "n_samples", "split", "kind", "labels", "caption")
    index["recordings"] = [{name: row[name] for name in known} for row in index["recordings"]]
    del index["n_missing"]
    (tmp_path / "index.json").write_text(json.dumps(index))
    (tmp_path / "waves.int16").write_bytes((cache_folder / "waves.int16").read_bytes())
    recording = AudioCache(tmp_path).recordings[0]
    assert (recording.origin, recording.bandwidth_hz, recording.other_captions) == ("real", 0.0, ())


def test_what_a_manifest_says_is_kept(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 22_050)
    (tmp_path / "manifest.csv").write_text("path,split,origin,bandwidth_hz\na.wav,test,rendered,9000\n")
    (recording,) = build_cache([tmp_path], tmp_path / "cache").recordings
    assert (recording.split, recording.origin, recording.bandwidth_hz) == ("test", "rendered", 9000.0)


def test_a_recording_is_called_by_its_captions_or_its_labels():
    recording = Recording("a", 0, 1, "train", "music", "drum_loop;slow", "")
    assert recording.descriptions == ("drum loop slow",)
    assert Recording("a", 0, 1, "train", "", "", "").descriptions == ("sound",)
    assert Recording("a", 0, 1, "train", "", "x", "A", other_captions=("B", "")).descriptions == ("A", "B")


def test_channels_are_averaged_and_rates_converted(tmp_path):
    time_s = np.arange(48_000) / 48_000
    tone = np.sin(2 * np.pi * 440 * time_s)
    soundfile.write(tmp_path / "stereo.wav", np.stack([0.4 * tone, 0.2 * tone], 1), 48_000)
    wave = decoded(tmp_path / "stereo.wav", 22_050)
    assert wave.shape == (22_050,)
    assert wave.dtype == np.float32
    assert wave[1000:-1000].std() == pytest.approx(0.3 / np.sqrt(2), rel=0.01)


def test_a_cache_goes_to_another_process_without_its_samples(cache_folder):
    cache = AudioCache(cache_folder)
    message = pickle.dumps(cache)
    assert len(message) < 1000
    copy = pickle.loads(message)
    assert np.array_equal(copy.item(0)[1], cache.item(0)[1])


def test_what_is_missing_is_said(tmp_path, cache_folder):
    with pytest.raises(ParameterError, match=r"no audio cache in .*: index.json or waves.int16 is missing"):
        AudioCache(tmp_path)
    with pytest.raises(ParameterError, match="no recording of split 'test'.* it has train, valid"):
        AudioCache(cache_folder).split("test")
    (tmp_path / "broken.wav").write_bytes(b"nothing")
    with pytest.raises(ParameterError, match="the audio cache in .* is empty: none of its recordings"):
        build_cache([tmp_path], tmp_path / "cache")

"""On a cluster the same comes out as here, whoever is killed on the way; what cannot work is told at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools import io
from masktools.core.errors import ClusterError, ParameterError
from masktools.extraction import Item, Row, Worker, find_items, open_store, run_local
from masktools.extraction.items import pack_items, pack_row, unpack_items, unpack_row
from masktools.extraction.ray_engine import Cluster, Places, _check_patience, _told, cluster, run_ray
from masktools.pipeline import hub
from tests.extraction.fakes import FakeWorker, items
from tests.extraction.ray_runs import N_ITEMS, SETTINGS
from tests.tiny import noise, tiny_pipeline

ROOT = Path(__file__).parents[2]


def started(*arguments):
    """Return a process that does a run of ``ray_runs``; its warnings are Ray's own, and no error of ours."""
    command = [sys.executable, "-m", "tests.extraction.ray_runs", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(process):
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said[-3000:]


@pytest.mark.slow
def test_a_killed_worker_changes_nothing_and_the_file_is_that_of_the_local_run(tmp_path):
    pytest.importorskip("ray")
    hub.save_bundle(tiny_pipeline(), tmp_path / "model", "a card")
    (tmp_path / "music").mkdir()
    for number in range(40):
        io.write(tmp_path / f"music/{number}.wav", noise(0.3 + number % 3, seed=number), 22_050)
    (tmp_path / "music" / "39.wav").write_bytes(b"no audio")
    finished(started("embed", tmp_path))
    assert (tmp_path / "died").exists()
    found = find_items([tmp_path / "music"])
    worker = Worker(str(tmp_path / "model"), SETTINGS, device="cpu", threads=1)
    fingerprint = SETTINGS.fingerprint(worker.identity)
    store = open_store(tmp_path / "local.npz", [item.key for item in found], SETTINGS, fingerprint)
    run_local(found, worker, store)
    assert store.close().n_rows == 39
    with np.load(tmp_path / "local.npz") as local, np.load(tmp_path / "ray.npz") as ray:
        assert set(local) == set(ray)
        for name in local:
            np.testing.assert_array_equal(ray[name], local[name], err_msg=name)
    assert (tmp_path / "ray.npz.errors.jsonl").read_text() == (tmp_path / "local.npz.errors.jsonl").read_text()


@pytest.mark.slow
def test_a_killed_driver_is_gone_on_with_and_one_item_that_kills_workers_is_told(tmp_path):
    pytest.importorskip("ray")
    killed = started("pretend", tmp_path, "150")
    deadline = time.monotonic() + 300
    parts = tmp_path / "ray.npy.parts"
    while not list(parts.glob("part-*")) and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    stored = {int(number) for part in parts.glob("part-*") for number in np.load(part)["index"]}
    assert 0 < len(stored) < N_ITEMS
    (tmp_path / "log").rename(tmp_path / "first log")
    finished(started("pretend", tmp_path, "150"))
    asked = {int(number) for number in (tmp_path / "log").read_text().split()}
    assert not asked & stored
    assert asked | stored == set(range(N_ITEMS)) - {150}
    kept = [number for number in range(N_ITEMS) if number != 150]
    np.testing.assert_array_equal(np.load(tmp_path / "ray.npy"), np.repeat(np.float32(kept), 3).reshape(-1, 3))
    assert "150.wav: the process at work on it was killed" in (tmp_path / "ray.npy.errors.jsonl").read_text()


class Kept:
    """A store in memory."""

    def __init__(self, rows=()):
        self.rows = {row.key: row for row in rows}

    def finished(self):
        return set(self.rows)

    def add(self, rows):
        self.rows |= {row.key: row for row in rows}


def test_where_nothing_is_left_no_cluster_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    told = []
    done = Kept([Row(item.key) for item in items(3)])
    run_ray(items(3), FakeWorker(), done, lambda *counts: told.append(counts), address="127.0.0.1:1")
    assert told == [(3, 3)]


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ParameterError, match=r'pip install "masktools\[ray\]", or say --engine local'):
        run_ray(items(1), FakeWorker(), Kept())


@pytest.fixture
def imaginary_ray(monkeypatch):
    """Stand in for Ray where it would not be asked to do anything."""
    ray = SimpleNamespace(is_initialized=lambda: False, data=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", ray.data)
    return ray


def test_an_address_where_nobody_listens_is_told_at_once(imaginary_ray):
    with pytest.raises(ClusterError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 \(connection refused\)"):
        run_ray(items(1), FakeWorker(), Kept(), address="127.0.0.1:1")
    with pytest.raises(ParameterError, match="must be host:port, ray://host:port or auto, got 'nowhere'"):
        run_ray(items(1), FakeWorker(), Kept(), address="nowhere")


def test_a_cluster_that_refuses_is_told(imaginary_ray):
    asked = []

    def init(**options):
        asked.append(options["address"])
        raise RuntimeError("Version mismatch:\n 1 and 2")

    imaginary_ray.init, imaginary_ray.shutdown = init, lambda: None
    with pytest.raises(ClusterError, match=r"at auto could not be joined: Version mismatch: 1 and 2 \(this machine"):
        run_ray(items(1), FakeWorker(), Kept(), address="auto")
    with pytest.raises(ClusterError, match="Ray could not be started on this machine: Version mismatch"):
        run_ray(items(1), FakeWorker(), Kept())
    assert asked == ["auto", "local", "local", "local"], "a busy machine gets more than one try of its own"


def test_ray_is_asked_to_tell_nobody_and_the_environment_is_given_back(imaginary_ray, monkeypatch):
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    asked = {}
    imaginary_ray.init = lambda **options: asked.update(options, stats=os.environ["RAY_USAGE_STATS_ENABLED"])
    imaginary_ray.cluster_resources = lambda: {"CPU": asked["num_cpus"]}
    imaginary_ray.shutdown = lambda: None
    with cluster(None, n_workers=64) as joined:
        assert joined.n_cpus >= 64
    assert asked["stats"] == "0"
    assert not asked["include_dashboard"]
    assert asked["_node_ip_address"] == "127.0.0.1"
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ


@settings(max_examples=30, deadline=None)
@given(n_cpus=st.integers(1, 4096), n_gpus=st.integers(0, 64), n_workers=st.none() | st.integers(1, 5000))
def test_workers_never_take_all_cpus_or_more_gpus_than_there_are(n_cpus, n_gpus, n_workers):
    places = Places.among(n_cpus, n_gpus, n_workers)
    assert 0 <= places.n_cpus * places.n_workers < n_cpus
    assert places.n_gpus * places.n_workers <= n_gpus


def test_a_cluster_without_cpus_and_no_workers_are_refused():
    with pytest.raises(ClusterError, match="the cluster has no CPU"):
        Places.among(0, 0)
    with pytest.raises(ParameterError, match="at least one worker, got 0"):
        Places.among(2, 0, 0)


def test_who_waits_in_vain_is_told_what_is_missing():
    ray = SimpleNamespace(available_resources=lambda: {"CPU": 0.5})
    joined, places = Cluster(ray, False, 8.0, 2.0), Places(2, 4.0, 1.0)
    _check_patience(joined, places, n_signs=0, idle_s=299)
    with pytest.raises(ClusterError, match="each needs 4 CPUs and 1 GPUs, and of the cluster's 8 CPUs and 2 GPUs 0.5"):
        _check_patience(joined, places, n_signs=0, idle_s=301)
    with pytest.raises(ClusterError, match="nothing has got on for 3600 s: .*go on with --resume"):
        _check_patience(joined, places, n_signs=1, idle_s=3601)


def test_of_what_ray_tells_the_last_line_is_passed_on():
    told = _told(RuntimeError("ray::MapWorker\n  File x\nBundleError: no such model\n"))
    assert str(told).startswith("the job on the cluster failed: BundleError: no such model; what has been stored")


@settings(max_examples=20, deadline=None)
@given(st.text(st.characters(exclude_categories=()), min_size=1), st.none() | st.floats(0, 1e6))
def test_items_travel_unchanged_whatever_they_are_called(name, start_s):
    sent = [Item(name, name, start_s=start_s), Item("m", "t.tar", name, first_byte=512, n_bytes=3)]
    assert unpack_items(pack_items(sent)) == sent


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_travel_bit_for_bit(dtype):
    rng = np.random.default_rng(0)
    row = Row("\u00e9\udc80", rng.random((3, 8)).astype(dtype), rng.random((5, 8)).astype(dtype), rng.random(5))
    got = unpack_row(pack_row(row))
    assert (got.key, got.tokens, got.error) == (row.key, None, None)
    for name in ("clip", "frames", "times_s"):
        np.testing.assert_array_equal(getattr(got, name), getattr(row, name), strict=True)
    assert unpack_row(pack_row(Row("k", error="bad"))).error == "bad"

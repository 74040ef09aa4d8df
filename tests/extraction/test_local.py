"""The local engine: every recording once, short ones beside each other, and always in the same company."""

import threading
import time

import pytest

from masktools.core.errors import AudioError
from masktools.extraction import Row, run_local
from masktools.extraction.worker import ahead, rows_in_processes
from tests.extraction.fakes import FakeWorker, items, row


class Kept:
    """A store that remembers what it was given."""

    def __init__(self, finished=()):
        self.done, self.rows = set(finished), []

    def finished(self):
        return self.done

    def add(self, rows):
        self.rows += rows


def keys(rows):
    return [one.key for one in rows]


def test_every_recording_has_one_row(monkeypatch):
    monkeypatch.setattr("masktools.extraction.worker.CHUNK", 8)
    store, seen = Kept(), []
    run_local(items(30), FakeWorker(), store, lambda done, total: seen.append((done, total)))
    assert sorted(keys(store.rows)) == sorted(item.key for item in items(30))
    assert seen[0] == (0, 30)
    assert seen[-1] == (30, 30)
    assert seen == sorted(seen)


def test_short_ones_have_the_same_company_after_any_interruption(monkeypatch):
    monkeypatch.setattr("masktools.extraction.worker.CHUNK", 8)
    whole = FakeWorker()
    run_local(items(30), whole, Kept())
    company = {tuple(batch) for batch in whole.embedded}
    for n_stored in range(len(whole.embedded)):
        stored = {key for batch in whole.embedded[:n_stored] for key in batch}
        again = FakeWorker()
        run_local(items(30), again, Kept(stored))
        assert {tuple(batch) for batch in again.embedded if batch} <= company


def test_an_interruption_keeps_what_is_done():
    class Interrupted(FakeWorker):
        def embed(self, batch):
            if len(self.embedded) == 3:
                raise KeyboardInterrupt
            return super().embed(batch)

    store, worker = Kept(), Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run_local(items(30), worker, store)
    assert keys(store.rows) == [key for batch in worker.embedded for key in batch]
    assert len(store.rows) == 3


def test_the_first_bad_recording_ends_a_run_that_shall_fail():
    store = Kept()
    with pytest.raises(AudioError, match="/nowhere/5.wav is no good"):
        run_local(items(6), FakeWorker(), store, fail_fast=True)
    assert not [one for one in store.rows if one.error]
    assert items(6)[5].key not in keys(store.rows)


def test_parts_of_a_slow_chunk_are_stored_before_it_ends(monkeypatch):
    monkeypatch.setattr("masktools.extraction.worker._PAUSE_S", 0.0)
    worker, sizes = FakeWorker(), []

    class Watched(Kept):
        def add(self, rows):
            sizes.append(len(rows))

    run_local(items(16), worker, Watched())
    assert sizes == [1, 1, 1, 1, 12]  # each long one, then the short ones together


def test_processes_give_the_same_rows():
    here, there = Kept(), Kept()
    run_local(items(40), FakeWorker(), here)
    run_local(items(40), FakeWorker(), there, n_jobs=2)
    assert sorted(keys(there.rows)) == sorted(keys(here.rows))
    by_key = {one.key: one for one in here.rows}
    for one in there.rows:
        assert one.error == by_key[one.key].error
        assert one.error or (one.clip == by_key[one.key].clip).all()


def deadly(chunk):
    import os
    import signal

    if any(item.key == "3.wav" for item in chunk):
        os.kill(os.getpid(), signal.SIGKILL)
    return [row(item) for item in chunk]


def test_a_process_that_dies_takes_no_other_recording_along():
    chunks = [items(8)[:4], items(8)[4:]]
    rows = {one.key: one for new, _ in rows_in_processes(chunks, deadly, 2) for one in new}
    assert set(rows) == {item.key for item in items(8)}
    assert "was killed: too little memory?" in rows["3.wav"].error
    assert rows["live/1.wav"].error is None


class Sized:
    def __init__(self, value, n_bytes):
        self.value, self.n_bytes = value, n_bytes


@pytest.mark.parametrize(("n_bytes", "most"), [(1, 64), (1 << 26, 4)])
def test_no_more_is_decoded_ahead_than_fits(n_bytes, most):
    taken, lock = [], threading.Lock()

    def make(value):
        with lock:
            taken.append(value)
        return Sized(value, n_bytes)

    found, furthest = [], 0
    for result in ahead(make, range(200), 2):
        found.append(result.value)
        if len(found) > 70:  # by then it is known how large they are
            time.sleep(0.0005)
            furthest = max(furthest, len(taken) - len(found))
    assert found == list(range(200))
    assert furthest <= most


def test_what_is_wrong_in_a_thread_is_told_here():
    def broken(value):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        next(ahead(broken, [1], 1))


def test_rows_say_nothing_that_they_do_not_know():
    assert Row("a").clip is None
    assert Row("a").error is None

"""Extraction on a Ray cluster: the local engine, chunk by chunk, in as many processes as the cluster has room for.

A job of Ray Data: chunks of items go to workers with a model each, rows come back and are stored by the calling
process. Recordings are decoded where they are embedded: an item has a hundred bytes, its decoded audio
megabytes, and decoding takes a tenth of a CPU worker's time. A GPU worker is given CPUs for it.

A worker that dies is restarted with its chunk. A chunk whose worker dies twice is computed item by item, and the item
that kills its process gets a row that says so.
"""

import logging
import os
import platform
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from masktools.core.errors import ClusterError, ParameterError
from masktools.extraction.items import Item, Row, pack_items, pack_row, unpack_items, unpack_row
from masktools.extraction.worker import Progress, Sink, Work, Worker, chunks_of, run_local, store_rows

_REACH_S = 10.0  # timeout for an address that does not answer
_STARTS = 3  # attempts to start a local cluster: Ray gives itself 30 s, too little on a busy machine
_SHARE = 0.9  # of the CPUs that workers take: Ray's own helper tasks need a share, too
_STORE_BYTES = 1 << 29  # object store for results, on this machine


@dataclass(frozen=True)
class Places:
    """Workers of a cluster: their number and the resources of each, in Ray's units."""

    n_workers: int
    n_cpus: float
    n_gpus: float

    @classmethod
    def among(cls, n_cpus: float, n_gpus: float, n_workers: int | None = None) -> "Places":
        """Return the workers for a cluster: one for each GPU, or for each CPU where there is none.

        All workers together take less than all CPUs, each a fraction if need be, so that none ever waits for resources
        that
        another one holds.

        >>> Places.among(2, 0), Places.among(64, 8)
        (Places(n_workers=2, n_cpus=0.9, n_gpus=0.0), Places(n_workers=8, n_cpus=4.0, n_gpus=1.0))

        Args:
            n_cpus: CPUs of the cluster.
            n_gpus: GPUs of the cluster; 0 if they are not to be used.
            n_workers: number of workers, at least 1; None for the default.

        Raises:
            ParameterError: no worker.
            ClusterError: a cluster without CPUs.
        """
        if n_workers is not None and n_workers < 1:
            raise ParameterError(f"there must be at least one worker, got {n_workers}")
        if n_cpus <= 0:
            raise ClusterError("the cluster has no CPU: wait until a machine has joined it")
        wanted = n_workers or max(1, int(n_gpus or n_cpus))
        each = min(4.0 if n_gpus else 1.0, int(1000 * _SHARE * n_cpus / wanted) / 1000)
        return cls(wanted, each, min(1.0, int(1000 * n_gpus / wanted) / 1000) if n_gpus else 0.0)


@dataclass(frozen=True)
class Cluster:
    """A cluster with an open connection."""

    ray: Any  # the package
    is_own: bool  # started on this machine, and stopped afterwards
    n_cpus: float
    n_gpus: float


@contextmanager
def cluster(address: str | None, n_workers: int | None = None) -> Iterator[Cluster]:
    """Connect to a cluster, and disconnect afterwards; where Ray runs in this process already, it is used and kept.

    Without an address, a local one is started: closed to others, without a dashboard, and without usage reports.

    Args:
        address: host:port of a running cluster, ray://host:port, or auto for the one on this machine.
        n_workers: workers of a local cluster, if more than CPUs.

    Raises:
        ParameterError: Ray is not installed.
        ClusterError: it cannot be reached, or started.
    """
    with _wishes(_ALWAYS if address is not None else {**_ALWAYS, **_ALONE}):
        try:
            import ray
            import ray.data
        except ImportError:
            raise ParameterError(
                'the engine ray needs the package: pip install "masktools[ray]", or say --engine local'
            ) from None
        with _only_errors():
            if ray.is_initialized():
                yield _described(ray, False)
                return
            if address is not None:
                _check_reachable(address)
            _join(ray, address, n_workers)
            try:
                yield _described(ray, address is None)
            finally:
                ray.shutdown()


_ALWAYS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a late call would start another cluster
}
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # also makes Ray on Linux use 127.0.0.1 only
_SILENT = {"log_to_driver": False, "logging_level": logging.ERROR}


def _join(ray: Any, address: str | None, n_workers: int | None) -> None:
    for n_left in reversed(range(1 if address else _STARTS)):
        try:
            with _silence():
                ray.init(**(_own(n_workers) if address is None else {"address": address}), **_SILENT)
            return
        except Exception as error:  # Ray raises errors of many kinds here
            ray.shutdown()
            if not n_left:
                raise ClusterError(_refused(address, error)) from error


def _own(n_workers: int | None) -> dict[str, Any]:
    """Return the options of a local cluster. It counts one CPU more than its workers need, for Ray's own tasks."""
    from masktools.core.runtime import usable_cores

    return {
        "address": "local",
        "num_cpus": max(usable_cores(), n_workers or 1) + 1,
        "include_dashboard": False,
        "object_store_memory": _STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
    }


def _described(ray: Any, is_own: bool) -> Cluster:
    there = ray.cluster_resources()
    return Cluster(ray, is_own, there.get("CPU", 0.0) - is_own, there.get("GPU", 0.0))


def _refused(address: str | None, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    if address is None:
        return f"Ray could not be started on this machine: {reason}"
    return (
        f"the Ray cluster at {address} could not be joined: {reason}"
        " (this machine must have its versions of Ray and of Python, and its RAY_AUTH_MODE and RAY_AUTH_TOKEN)"
    )


def _check_reachable(address: str) -> None:
    """Raise where no server listens at an address: Ray itself would go on trying for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        raise ParameterError(f"the address of a cluster must be host:port, ray://host:port or auto, got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ClusterError(
            f"no Ray cluster answers at {address} ({reason}): is it up (ray status), and the address that of its head?"
        ) from error


@contextmanager
def _wishes(wishes: dict[str, str]) -> Iterator[None]:
    """Set environment variables of Ray for a while; those that are set already are kept."""
    own = {name: wish for name, wish in wishes.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


@contextmanager
def _only_errors() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress the messages that Ray's library prints to stderr; errors are raised."""
    try:
        stream = sys.__stderr__.fileno() if sys.__stderr__ is not None else -1
        before = os.dup(stream)
    except (OSError, ValueError):  # there is no stderr
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream)
        yield
    finally:
        os.dup2(before, stream)
        os.close(before)


_TRIES = 2  # attempts at a whole chunk
_TICK_S = 1.0
_START_PATIENCE_S, _PATIENCE_S = 300.0, 3600.0  # timeouts for the start of a worker, and for progress
_GPU_CHUNKS = 4  # chunks at once: one is decoded while another is computed


def run_ray(
    items: Sequence[Item],
    worker: Work,
    store: Sink,
    progress: Progress | None = None,
    *,
    address: str | None = None,
    n_workers: int | None = None,
    fail_fast: bool = False,
) -> None:
    """Embed the remaining recordings on a cluster, and store them: the rows are those of ``run_local``.

    Args:
        items: all recordings, in order; every machine must reach their locations.
        worker: worker that embeds; it is sent to every machine, where masktools must be installed, too.
        store: store of the rows; it is used in this process only.
        progress: called with (recordings done, recordings in total), those of earlier runs included.
        address: address of a running cluster; None for one of this machine alone.
        n_workers: processes; None for one for each GPU, or for each CPU where there is none.
        fail_fast: whether the first failure ends the run.

    Raises:
        ParameterError: Ray is missing, or an invalid address.
        ClusterError: the cluster cannot be reached, has no room for a worker, or makes no progress; finished rows
            are stored.
        AudioError: with ``fail_fast``: the reason of the first failure.
    """
    finished = store.finished()
    chunks = [chunk for chunk in chunks_of(items) if any(item.key not in finished for item in chunk)]
    n_done = sum(item.key in finished for item in items)
    if not chunks:
        if progress is not None:
            progress(n_done, len(items))
        return
    packed = [
        (pack_items(chunk), [number for number, item in enumerate(chunk) if item.key in finished]) for chunk in chunks
    ]
    with cluster(address, n_workers) as joined:
        places = Places.among(joined.n_cpus, joined.n_gpus, n_workers)
        ledger = joined.ray.remote(num_cpus=0)(_Ledger).remote()
        arriving = _arriving(_batches(joined, packed, worker, ledger, places))
        watched = _watched(arriving, joined, ledger, places)
        store_rows(((rows, True) for rows in watched), store, n_done, len(items), progress, fail_fast)


class _Collected:
    """A sink that keeps rows in memory."""

    def __init__(self, finished: set[str]) -> None:
        self._finished, self.rows = finished, list[Row]()

    def finished(self) -> set[str]:
        return self._finished

    def add(self, rows: Sequence[Row]) -> None:
        self.rows += rows


class _Ledger:
    """Log of the tasks that workers start and finish; a single actor, that outlives them."""

    def __init__(self) -> None:
        self._n_tries: dict[str, int] = {}
        self._open: set[str] = set()
        self._n_signs = 0

    def begin(self, name: str) -> tuple[int, bool]:
        """Note the start of a task; return the number of starts, and whether an earlier one did not finish."""
        self._n_signs += 1
        was_open = name in self._open
        self._open.add(name)
        self._n_tries[name] = self._n_tries.get(name, 0) + 1
        return self._n_tries[name], was_open

    def end(self, name: str) -> None:
        """Note the end of a task."""
        self._n_signs += 1
        self._open.discard(name)

    def n_signs(self) -> int:
        """Return the number of starts and ends so far."""
        return self._n_signs


class _Actor:
    """A worker process of the cluster, with its model."""

    def __init__(self, worker: Work, identity: str | None, ledger: Any) -> None:
        import ray

        self._ray, self._worker, self._ledger = ray, worker, ledger
        ray.get(ledger.begin.remote("worker"))
        if isinstance(worker, Worker):
            worker.check()
            if worker.identity != identity:
                raise ClusterError(
                    f"{worker.model!r} on {platform.node()} must be what it is where the run was started, got"
                    f" {worker.identity!r} and {identity!r}: let all machines have the same model, and say --precision"
                )

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[bytes]]]:
        """Yield the packed rows of packed chunks."""
        items = [unpack_items(packed) for packed in batch["items"]]
        finished = {
            chunk[number].key for chunk, numbers in zip(items, batch["finished"], strict=True) for number in numbers
        }
        name = f"chunk {items[0][0].key}"
        n_tries, _ = self._ray.get(self._ledger.begin.remote(name))
        every = [item for chunk in items for item in chunk]
        rows = self._whole(every, finished) if n_tries <= _TRIES else self._one_by_one(every, finished)
        self._ledger.end.remote(name)
        for row in rows:
            yield {"row": [pack_row(row)]}

    def _whole(self, items: list[Item], finished: set[str]) -> list[Row]:
        kept = _Collected(finished)
        run_local(items, self._worker, kept)
        return kept.rows

    def _one_by_one(self, items: list[Item], finished: set[str]) -> Iterator[Row]:
        for item in items:
            if item.key in finished:
                continue
            name = f"item {item.key}"
            _, killed_before = self._ray.get(self._ledger.begin.remote(name))
            if killed_before:
                yield Row(item.key, error=f"{item.location}: the process at work on it was killed: too little memory?")
            else:
                yield self._worker([item])[0]
                self._ray.get(self._ledger.end.remote(name))


def _batches(
    joined: Cluster, packed: list[tuple[str, list[int]]], worker: Work, ledger: Any, places: Places
) -> Iterator[list[Row]]:
    """Yield rows as they arrive."""
    import ray.data

    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    size = _GPU_CHUNKS if places.n_gpus else 1
    with ray.data.DataContext.current(context):
        rows = [{"items": text, "finished": numbers} for text, numbers in packed]
        dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map_batches(
            _Actor,
            fn_constructor_args=(worker, worker.identity if isinstance(worker, Worker) else None, ledger),
            batch_size=size,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=places.n_workers, initial_size=places.n_workers),
            num_cpus=places.n_cpus,
            num_gpus=places.n_gpus or None,
        )
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield [unpack_row(value.as_py()) for value in batch["row"]]


def _arriving(batches: Iterator[list[Row]]) -> "queue.Queue[list[Row] | BaseException | None]":
    """Return a bounded queue of batches, then an error or None; a full queue slows the cluster down."""
    arriving: queue.Queue[list[Row] | BaseException | None] = queue.Queue(2)

    def pass_on() -> None:
        try:
            for rows in batches:
                arriving.put(rows)
            arriving.put(None)
        except BaseException as error:
            arriving.put(error)

    threading.Thread(target=pass_on, name="rows of the cluster", daemon=True).start()
    return arriving


def _watched(
    arriving: "queue.Queue[list[Row] | BaseException | None]", joined: Cluster, ledger: Any, places: Places
) -> Iterator[list[Row]]:
    """Yield batches as they arrive, and raise when there is no progress."""
    n_signs, since = 0, time.monotonic()
    while True:
        try:
            rows = arriving.get(timeout=_TICK_S)
        except queue.Empty:
            rows = []
            n_now = _signs(joined, ledger, n_signs)
            if n_now == n_signs:
                _check_patience(joined, places, n_signs, time.monotonic() - since)
                continue
            n_signs = n_now
        since = time.monotonic()
        if rows is None:
            return
        if isinstance(rows, BaseException):
            raise _told(rows) from rows
        if rows:
            yield rows


def _signs(joined: Cluster, ledger: Any, before: int) -> int:
    try:
        return joined.ray.get(ledger.n_signs.remote(), timeout=_TICK_S)
    except joined.ray.exceptions.GetTimeoutError:
        return before


def _check_patience(joined: Cluster, places: Places, n_signs: int, idle_s: float) -> None:
    if n_signs and idle_s > _PATIENCE_S:
        raise ClusterError(
            f"nothing has got on for {_PATIENCE_S:g} s: what has been stored is kept, go on with --resume"
        )
    if not n_signs and idle_s > _START_PATIENCE_S:
        needed = f"{places.n_cpus:g} CPUs" + (f" and {places.n_gpus:g} GPUs" if places.n_gpus else "")
        free = joined.ray.available_resources()
        raise ClusterError(
            f"no worker could start within {_START_PATIENCE_S:g} s: each needs {needed}, and of the cluster's"
            f" {joined.n_cpus:g} CPUs and {joined.n_gpus:g} GPUs {free.get('CPU', 0):g} and {free.get('GPU', 0):g}"
            " are free: wait until others have finished, or ask for fewer workers"
        )


def _told(error: BaseException) -> Exception:
    """Return the error of a job in one line: the innermost of Ray's messages."""
    if isinstance(error, ClusterError):
        return error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return ClusterError(f"the job on the cluster failed: {last}; what has been stored is kept, go on with --resume")

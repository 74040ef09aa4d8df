"""A Ray cluster to work on: one that runs already, or one of this machine alone, for as long as it is needed."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from masktools.errors import ClusterError, ParameterError

__all__ = ["Cluster", "Places", "cluster"]

_REACH_S = 10.0  # until an address that does not answer is given up
_STARTS = 3  # of a cluster of our own: Ray gives itself 30 s, which a machine that is busy may not have
_SHARE = 0.9  # of the CPUs that workers take: Ray's own helpers must find a place, too
_STORE_BYTES = 1 << 29  # of results on their way, on this machine


@dataclass(frozen=True)
class Places:
    """Where workers go: how many there are, and what each of them takes, in Ray's units."""

    n_workers: int
    n_cpus: float
    n_gpus: float

    @classmethod
    def among(cls, n_cpus: float, n_gpus: float, n_workers: int | None = None) -> "Places":
        """Return the places that a cluster has: one for each GPU, or for each CPU where there is none.

        All workers together take less than all CPUs, each a fraction if need be: none ever waits for a place that
        another one holds.

        >>> Places.among(2, 0), Places.among(64, 8)
        (Places(n_workers=2, n_cpus=0.9, n_gpus=0.0), Places(n_workers=8, n_cpus=4.0, n_gpus=1.0))

        Args:
            n_cpus: of the cluster.
            n_gpus: of the cluster; 0 if they are not to be used.
            n_workers: so many, at least 1.

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
    """A cluster that is connected to."""

    ray: Any  # the package
    is_own: bool  # of this machine alone, and gone afterwards
    n_cpus: float
    n_gpus: float


@contextmanager
def cluster(address: str | None, n_workers: int | None = None) -> Iterator[Cluster]:
    """Yield a cluster, and leave it afterwards; where Ray runs in this process already, it is used and left running.

    Without an address it is one of this machine: closed to others, without a dashboard, and it tells nobody.

    Args:
        address: host:port of a running cluster, ray://host:port, or auto for the one on this machine.
        n_workers: of a cluster of this machine, if there are to be more than CPUs.

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
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a call that comes after the end would start a cluster of its own
}
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # by this it also knows, on Linux, that it may use 127.0.0.1 only
_SILENT = {"log_to_driver": False, "logging_level": logging.ERROR}


def _join(ray: Any, address: str | None, n_workers: int | None) -> None:
    for n_left in reversed(range(1 if address else _STARTS)):
        try:
            with _silence():
                ray.init(**(_own(n_workers) if address is None else {"address": address}), **_SILENT)
            return
        except Exception as error:  # Ray raises what it likes here
            ray.shutdown()
            if not n_left:
                raise ClusterError(_refused(address, error)) from error


def _own(n_workers: int | None) -> dict[str, Any]:
    """Return how Ray is started here. It counts one CPU more than its workers need: no helper of its own ever waits."""
    from masktools.runtime import usable_cores

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
    """Raise where nobody listens: Ray itself would go on trying for minutes."""
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
    """Tell Ray what it reads from the environment; what whoever started this process has set there stands."""
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
    """Keep off the error stream what Ray's own library greets with; what is wrong is raised."""
    try:
        stream = sys.__stderr__.fileno() if sys.__stderr__ is not None else -1
        before = os.dup(stream)
    except (OSError, ValueError):  # there is none
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream)
        yield
    finally:
        os.dup2(before, stream)
        os.close(before)

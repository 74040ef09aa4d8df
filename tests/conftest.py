"""What every test lives with: no network, two threads, shape checks, and no models but its own."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before torch is imported
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # the cores are those of other tests: who waits for a thread sleeps
os.environ["HF_HUB_OFFLINE"] = "1"

import ipaddress
import socket
import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from types import FunctionType

import jaxtyping
import pytest
from beartype import BeartypeConf, FrozenDict, beartype

ROOT = Path(__file__).parent.parent
# Instrumented modules and rewritten tests are compiled once, not in every worker of every run.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Two processes that fill one empty numba cache take each other's machine code and crash (its index is written before
# its data): librosa, which only tests use, has one for each worker.
os.environ["NUMBA_CACHE_DIR"] = str(ROOT / "build" / "numba" / os.environ.get("PYTEST_XDIST_WORKER", "alone"))
# Every annotation of these parts is checked while tests run; the rest of masktools meets tensors only through them.
UNCHECKED = {"adapters", "cli", "demo", "training", "bundled"}  # adapters are classes of other libraries
CHECKED = sorted(
    f"masktools.{path.stem}"
    for path in (ROOT / "masktools").iterdir()
    if path.stem not in UNCHECKED and not path.stem.startswith("_") and (path.is_dir() or path.suffix == ".py")
)


@cache
def strictness():
    """Return how annotations are checked: of weights by name none is looked at, for it may be read from a disk."""
    from torch import Tensor

    return BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict({Mapping[str, Tensor]: Mapping}))


def checked(item, shapes=jaxtyping.jaxtyped):
    """Have annotations checked: of functions, and of the fields of dataclasses when one is made."""
    if is_dataclass(item):
        item.__init__ = checked(item.__init__)
    if not isinstance(item, FunctionType):
        return item
    function = beartype(conf=strictness())(item)
    # Sizes of axes are remembered during a call, which costs more than most functions: only where there are any.
    return shapes(function, typechecker=None) if "jaxtyping" in str(item.__annotations__) else function


jaxtyping.jaxtyped = lambda typechecker: checked  # what the hook puts before all that it finds
jaxtyping.install_import_hook(CHECKED, None)


class NetworkUsedError(RuntimeError):
    """A test, or something under it, tried to leave this machine."""


def _is_local(family: int, address: object) -> bool:
    if family == getattr(socket, "AF_UNIX", None):
        return True
    host = address[0] if isinstance(address, tuple) else address
    if host in ("localhost", "", None):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse every connection that would leave the machine (loopback is torch's own)."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded(method):
        def call(self, address):
            if not _is_local(self.family, address):
                raise NetworkUsedError(f"a test asked for a connection to {address!r}: tests run offline")
            return method(self, address)

        return call

    def look_up(host, *args, **kwargs):
        if not _is_local(socket.AF_INET, host):
            raise NetworkUsedError(f"a test asked for the address of {host!r}: tests run offline")
        return getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded(connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.fixture(autouse=True)
def only_its_own_models(monkeypatch):
    """Hide the models of whoever runs the tests."""
    monkeypatch.delenv("MASKTOOLS_MODELS", raising=False)


@pytest.fixture(autouse=True)
def two_threads():
    """Keep torch at two threads at most, and give back what a test changed."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = min(2, torch.get_num_threads())
    torch.set_num_threads(before)
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(config, items):
    """Skip what needs a GPU where there is none, and what takes minutes unless it is asked for.

    Files that use librosa come first, and so to one worker: to compile it takes 20 seconds where no cache is filled.
    """
    compiled = {path for path in {item.path for item in items} if b"librosa" in path.read_bytes()}
    items.sort(key=lambda item: item.path not in compiled)
    asked = config.getoption("markexpr") or ""
    for mark, reason in (("site", "executes the site: make test-site"), ("slow", "takes long: make test-slow")):
        if mark not in asked:
            for item in items:
                if item.get_closest_marker(mark):
                    item.add_marker(pytest.mark.skip(reason=reason))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))

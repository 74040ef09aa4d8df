"""What is free is given back where the C library can, and nothing happens where it cannot."""

import ctypes
import sys
from types import SimpleNamespace

import pytest

from masktools.packing import give_back


@pytest.mark.parametrize(("platform", "wanted"), [("linux", [0]), ("darwin", [])])
def test_memory_is_given_back_on_linux(monkeypatch, platform, wanted):
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(malloc_trim=asked.append))
    monkeypatch.setattr(sys, "platform", platform)
    give_back()
    assert asked == wanted


def test_a_c_library_without_it_is_no_error(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    give_back()

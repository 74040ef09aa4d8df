"""All works where there is no network at all: server, worker and browser in a namespace that has loopback alone."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.browser.conftest import FLAGS, App, find_browser, until

UP = ["unshare", "--net", "--map-root-user"]
PROXY = "http://192.0.2.1:3128"  # of the addresses that nobody has: to be asked would be to fail


def may_unshare() -> bool:
    return shutil.which("unshare") is not None and not subprocess.run([*UP, "true"], capture_output=True).returncode


@pytest.mark.browser
@pytest.mark.skipif(not may_unshare(), reason="this user may not make a network of their own")
def test_a_gap_is_repaired_without_any_network(tape, tmp_path):
    env = {**os.environ, "http_proxy": PROXY, "https_proxy": PROXY, "HTTP_PROXY": PROXY}
    command = [*UP, sys.executable, "-m", "tests.app.browser.test_alone", str(tape), str(tmp_path), find_browser()]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, env=env, cwd=root, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["unreachable", "done", "0"]


def bring_up_loopback() -> None:
    """Switch on the one interface that a new namespace has."""
    get, put, up = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        named = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack_from("16sh", fcntl.ioctl(sock, get, named))
        fcntl.ioctl(sock, put, struct.pack("16sh14x", b"lo", flags | up))


def main(tape: str, folder: str, chromium: str) -> None:
    """Repair a gap on the page, and print what came of it, and how many requests were for others."""
    from playwright.sync_api import sync_playwright

    bring_up_loopback()
    with socket.socket() as outside:
        print("unreachable" if outside.connect_ex(("192.0.2.1", 80)) else "reached")
    app = App(Path(folder), tape)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page, asked = browser.new_page(), []
        home = app.address.split("/#")[0]
        page.on("request", lambda one: one.url.startswith((home, "blob:")) or asked.append(one.url))
        page.goto(app.address)
        states = "[...document.querySelectorAll('#repairs td.state')].map((cell) => cell.textContent)"
        until(page, f"{states}.length === 2")
        page.keyboard.press("n")
        page.keyboard.press("Enter")
        until(page, f"{states}[0] === 'done'", 150)
        print("done")
        print(len(asked), *asked)
        browser.close()
    app.end()


if __name__ == "__main__":
    main(*sys.argv[1:])

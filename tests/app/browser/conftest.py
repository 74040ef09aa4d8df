"""A real browser, one server with made recordings, and pages that must stay silent and at home."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE, SECONDS = 22_050, 12
GAPS = ((66_150, 67_032), (165_375, 166_257))  # samples; 40 ms, which need no model
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--host-resolver-rules=MAP hub.test 127.0.0.1"]
LONG_MS = 60_000


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and "page" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


def find_browser() -> str:
    """Return Chromium; without it a test fails in CI, and is skipped elsewhere."""
    for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        if (path := shutil.which(name)) is not None:
            return path
    return missing("chromium-headless-shell (Debian's package of that name)")


def missing(what: str):
    """Fail in CI, where everything has to be there, and skip elsewhere."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {what}")


def made_music(seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """Return tones with gaps (samples, 2), whose sides differ."""
    t = np.arange(round(seconds * rate)) / rate
    left = sum(0.1 * np.sin(2 * np.pi * hz * t + hz) for hz in (110, 220, 331, 554, 1320, 2093))
    wave = np.stack([left, np.roll(left, 97) * 0.8], axis=1) * (0.7 + 0.3 * np.sin(t))[:, None]
    for start, stop in GAPS:
        wave[start:stop] = 0.0
    return wave


@pytest.fixture(scope="session")
def browser():
    if not all(map(find_spec, ("playwright", "starlette", "uvicorn", "axe_playwright_python"))):
        missing("the extras app and dev")
    from playwright import sync_api

    path = find_browser()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def until(page, holds: str, seconds: float = 60.0) -> None:
    """Wait until an expression holds in a page (the page itself must not evaluate texts, so that nobody else can)."""
    end = time.monotonic() + seconds
    while not page.evaluate(holds):
        if time.monotonic() > end:
            seen = page.evaluate(
                "document.querySelector('#repairs tbody')?.innerText + said.textContent + lost.textContent"
            )
            pytest.fail(f"it never came to be that {holds}; there is {seen!r}")
        page.wait_for_timeout(30)


class App:
    """A server of the app."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "masktools", "app", *options, "--no-browser", "--port", "0"]
        command += ["--sessions", str(folder / "sessions"), "--allow-host", "hub.test"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        self.complaints: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        line = self.process.stdout.readline()
        self.address = re.search(r"http://\S+", line).group()
        self.port = int(re.search(r":(\d+)/", self.address).group(1))
        self.token = self.address.partition("token=")[2]

    def _listen(self) -> None:
        with self.process.stderr as said:
            self.complaints.extend(said)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()
        self._listener.join(5)


@pytest.fixture(scope="session")
def tape(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tapes") / "tape.wav"
    soundfile.write(path, made_music(), RATE, "PCM_24")
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory, tape, browser):
    app = App(tmp_path_factory.mktemp("app"), str(tape))
    yield app
    complaints = list(app.complaints)
    app.end()
    assert not complaints, "the server said something on the side: " + "".join(complaints)


EXPECTED = (
    "The Cross-Origin-Opener-Policy header",  # a plain name without TLS cannot have it honoured
    "Failed to load resource: the server responded with a status of 409",  # another page was first: it is tried again
    "Failed to load resource: net::ERR_",  # the server has ended, as it does when a file is saved in place
)


def is_complaint(said) -> bool:
    """Tell what is wrong with a page from what is so."""
    return said.type in ("error", "warning") and not said.text.startswith(EXPECTED)


@pytest.fixture
def visit(browser):
    """Return a function that opens a page; in the end none may have complained or asked anybody else."""
    contexts, complaints = [], []

    def visit(address: str, width: int = 1280, height: int = 800, prepare=None, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(LONG_MS)
        home = address.split("/#")[0]
        page.on("console", lambda said: is_complaint(said) and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith((home, "blob:")) or complaints.append(asked.url))
        if prepare is not None:
            prepare(page)
        page.goto(address)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not complaints


AS_NEW = """async () => {
  const { askJson } = await import('./net.js');
  const tape = (await askJson('api/recordings')).find((one) => one.named), path = `api/recordings/${tape.id}`;
  while ((await askJson(path)).surveyed < 1) await new Promise((done) => setTimeout(done, 50));
  await askJson(`${path}/regions`, { method: 'PUT', json: [] });
  while ((await askJson(path)).cursor) await askJson(`${path}/undo`, { method: 'POST' });
}"""


@pytest.fixture
def page(visit, server):
    """A page with the tape open, surveyed, and nothing done to it."""
    page = visit(server.address)
    until(page, "document.querySelector('#name').textContent === 'tape.wav'")  # it has entered
    page.evaluate(AS_NEW)
    until(page, "document.querySelectorAll('#repairs tbody tr').length === 2")
    return page

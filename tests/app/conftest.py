"""A server of the page that a test can ask, with a recording that has damage."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from http.client import HTTPConnection
from json import dumps, loads

import numpy as np
import pytest
from starlette.testclient import TestClient

from masktools import io
from masktools.app.guard import Guard, Keys
from masktools.app.routes import make_app
from masktools.app.service import Service
from masktools.app.settings import Settings
from masktools.app.store import Store

RATE = 22_050
GAPS = ((20_000, 20_800), (70_000, 70_400))
PORT = 8123


def run_apart(awaitable, seconds=60.0):
    """Run a coroutine in a thread of its own: in this one a browser's loop may be at work."""

    async def waited():
        return await asyncio.wait_for(awaitable, seconds)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, waited()).result()


def damaged(seconds=6.0, rate=RATE, channels=2, gaps=GAPS):
    """Return a sound with a second of silence at its end, and with gaps."""
    n = round(seconds * rate)
    t = np.arange(n) / rate
    tones = [0.3 * np.sin(2 * np.pi * hz * t) + 0.05 * np.sin(2 * np.pi * 7 * hz * t) for hz in (220.0, 331.0)]
    wave = np.stack((tones * channels)[:channels]).astype(np.float32)
    wave += np.random.default_rng(1).normal(0, 0.003, wave.shape).astype(np.float32)
    for start, stop in gaps:
        wave[:, start:stop] = 0.0
    return wave


@pytest.fixture(scope="session")
def tape(tmp_path_factory):
    """A wave file with two gaps."""
    path = tmp_path_factory.mktemp("tapes") / "tape.wav"
    io.write(path, damaged(), RATE, "PCM_16")
    return path


class Page:
    """A page of the server, which has entered."""

    def __init__(self, client, keys):
        self.client = client
        client.headers["x-masktools"] = "1"
        entered = client.post("/api/enter", json={"token": keys.token})
        assert entered.status_code == 204
        client.headers["cookie"] = entered.headers["set-cookie"].split(";")[0]

    def get(self, path, **more):
        return self.client.get(f"/api/{path}", **more)

    def json(self, path):
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path, content=None, **more):
        return self.client.post(f"/api/{path}", json={} if content is None else content, **more)

    def put(self, path, content, **more):
        return self.client.put(f"/api/{path}", content=content, **more)

    def done(self, path, content, seconds=120):
        """Submit a job and return it when it is over."""
        taken = self.post(path, content)
        assert taken.status_code == 202, taken.text
        return self.until(lambda: self.json(f"jobs/{taken.json()['job']}"), over, seconds)

    @staticmethod
    def until(ask, is_it, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if is_it(answer := ask()):
                return answer
            time.sleep(0.05)
        raise AssertionError(f"it did not come: {answer}")

    def surveyed(self, name):
        return self.until(lambda: self.json(f"recordings/{name}"), lambda state: state["surveyed"] == 1)


def over(job):
    return job["state"] not in ("queued", "running")


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sessions")


@pytest.fixture(scope="module")
def service(store_folder, tape):
    store = Store(store_folder)
    store.open_file(tape)
    return Service(store, Keys("masktools-8123"), Settings(cancel_s=(0.5, 0.5)))


@pytest.fixture(scope="module")
def page(service):
    """A page of a server on which one recording is open."""
    with page_of(service) as page:
        yield page


@contextmanager
def page_of(service):
    app = make_app(service, {"index.html": (b"<!doctype html>", "text/html")})
    app.router.lifespan_context = lifespan_of(service)
    with TestClient(Guard(app, service.keys, PORT), base_url=f"http://127.0.0.1:{PORT}") as client:
        yield Page(client, service.keys)


def lifespan_of(service):
    @asynccontextmanager
    async def lifespan(_):
        await service.start()
        yield
        await service.end()

    return lifespan


@pytest.fixture(scope="module")
def recording(page, tape):
    """The name of the recording, surveyed."""
    (listed,) = [one for one in page.json("recordings") if one["name"] == tape.name]
    page.surveyed(listed["id"])
    return listed["id"]


class Command:
    """`masktools app` as a program of its own."""

    def __init__(self, *args, folder):
        command = [sys.executable, "-m", "masktools", "app", "--no-browser", "--port", "0", "--sessions", folder, *args]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        found = re.search(r"http://127.0.0.1:(\d+)/#token=(\S+)", line)
        assert found, line + self.process.stderr.read()
        self.port, self.cookie = int(found[1]), ""
        status, headers, _ = self.ask("POST", "enter", {"token": found[2]})
        assert status == 204
        self.cookie = headers["set-cookie"].split(";")[0]

    def ask(self, method, path, content=None, **headers):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = content if isinstance(content, bytes | None) else dumps(content)
        connection.request(method, f"/api/{path}", body, {"X-Masktools": "1", "Cookie": self.cookie, **headers})
        with closing(connection), connection.getresponse() as answer:
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def json(self, path):
        status, _, content = self.ask("GET", path)
        assert status == 200, content
        return loads(content)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.communicate(timeout=30)


@pytest.fixture
def command():
    """Starts servers, and ends them."""
    started = []

    def start(*args, folder):
        started.append(Command(*args, folder=folder))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)
        one.process.stdout.close()
        one.process.stderr.close()

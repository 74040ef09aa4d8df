"""The Space, called by gradio's own client and seen by a browser, both on loopback: `make test-space`."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile

from tests.house.source import ROOT
from tests.tiny import noise

pytestmark = [pytest.mark.space, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Serve the Space in a process of its own, as the hub does, and yield its client."""
    pytest.importorskip("gradio", reason="needs gradio, in an environment of its own")
    gradio_client = pytest.importorskip("gradio_client")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    told["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))
    server = subprocess.Popen([sys.executable, str(ROOT / "spaces" / "app.py")], env=os.environ | told)
    try:
        until = time.monotonic() + 300
        while server.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.5)
        yield gradio_client.Client(f"http://127.0.0.1:{port}", verbose=False), gradio_client.handle_file
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def clip(tmp_path):
    samples = noise(3.0, 44_100, 2).T
    samples[44_100:57_330] = 0.0
    soundfile.write(tmp_path / "clip.wav", samples, 44_100, "PCM_24")
    return tmp_path / "clip.wav"


def path_of(told):
    return told if isinstance(told, str) else told.get("path") or told["value"]


def test_gaps_are_found_filled_and_shown(client, clip):
    talk, file = client
    table, note = talk.predict(file(str(clip)), api_name="/find")
    rows = table["data"] if isinstance(table, dict) else table
    assert np.allclose(np.array(rows, float), [[1.0, 1.3]], atol=0.01)
    assert "1 gap found" in note
    before, after, picture, report = talk.predict(
        file(str(clip)), {"headers": ["start", "end"], "data": [[1.0, 1.3]]}, False, 0, api_name="/restore"
    )
    given, _ = soundfile.read(path_of(before))
    made, rate = soundfile.read(path_of(after))
    assert (made.shape, rate) == (given.shape, 44_100), "stereo stays stereo"
    assert np.array_equal(made[:43_000], given[:43_000])
    assert np.abs(made[46_000:56_000]).max() > 0.01
    assert report["gaps"][0]["start_s"] == pytest.approx(1.0)
    assert path_of(picture)


def test_sound_is_made_of_a_text(client):
    talk, _ = client
    made, rate = soundfile.read(path_of(talk.predict("The sound of rain.", 1, 0, api_name="/make")))
    assert rate == 22_050
    assert abs(len(made) - rate) < 10
    assert np.abs(made).max() > 0.01


def test_a_recording_becomes_vectors(client, clip):
    talk, file = client
    with np.load(path_of(talk.predict(file(str(clip)), "last", api_name="/embed"))) as found:
        assert found["clip"].shape == (192,)
        assert len(found["frames"]) == len(found["times_s"]) == 16


def test_what_is_too_long_or_no_sound_is_told_in_one_line(client, tmp_path):
    talk, file = client
    soundfile.write(tmp_path / "long.wav", np.zeros(61 * 8000), 8000)
    with pytest.raises(Exception, match="the clip must last at most 60 s, got 61 s"):
        talk.predict(file(str(tmp_path / "long.wav")), api_name="/find")
    (tmp_path / "words.wav").write_text("no sound")
    with pytest.raises(Exception, match=r"words.wav"):
        talk.predict(file(str(tmp_path / "words.wav")), api_name="/find")


@pytest.fixture
def page(client):
    """Yield the page in a browser that reaches this machine alone; ``page.foreign`` are the addresses it asked for."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium-headless-shell")
    talk, _ = client
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.foreign, page.errors = [], []
        page.on("pageerror", lambda error: page.errors.append(str(error)))

        def watch(route):
            here = urlsplit(route.request.url).hostname in ("127.0.0.1", "localhost")
            route.continue_() if here else (page.foreign.append(route.request.url), route.abort())

        page.route("**/*", watch)
        page.goto(talk.src, wait_until="load")
        page.get_by_role("button", name="Restore", exact=True).wait_for()
        page.wait_for_timeout(5000)  # until it talks to its server; what is put in before gets no answer
        yield page
        browser.close()


def test_a_visitor_restores_a_clip_and_nothing_is_asked_for_elsewhere(page, clip):
    page.locator("input[type=file]").first.set_input_files(clip)
    page.get_by_text("1 gap found").wait_for()
    page.get_by_role("button", name="Restore", exact=True).click()
    page.locator("img[src*='comparison.png']").wait_for()
    assert page.get_by_text("After", exact=True).first.is_visible()
    page.get_by_role("tab", name="Make").click()
    page.get_by_role("button", name="Make", exact=True).click()
    page.locator("a[href*='made.wav'], audio[src*='made.wav']").first.wait_for(state="attached")
    assert page.foreign == []
    assert page.errors == []

"""The same page in Firefox, where there is one: seen, repaired by keys, heard as samples, without a complaint.

Firefox is driven by WebDriver BiDi, the protocol that it speaks of its own accord.
"""

import asyncio
import re
import shutil
import subprocess

import pytest

from tests.app.browser.conftest import App
from tests.app.conftest import run_apart

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
STATES = "[...document.querySelectorAll('#repairs td.state')].map((cell) => cell.textContent).join()"
PAINTED = """(() => {
  const canvas = document.querySelector('#stage canvas');
  const { data } = canvas.getContext('2d').getImageData(0, canvas.height * 0.8, canvas.width, 1);
  return new Set(data).size > 20;
})()"""
SILENT = """(async () => {
  const { Graph } = await import('./graph.js');
  const context = new OfflineAudioContext(1, 4096, 44100), graph = new Graph(context);
  const wave = context.createBuffer(1, 4096, 44100);
  wave.copyToChannel(Float32Array.from({ length: 4096 }, (_, at) => Math.sin(at)), 0);
  graph.choose('difference', 0);
  graph.schedule(wave, wave, 0, 0, 4096);
  const made = (await context.startRendering()).getChannelData(0).slice(512);
  return Math.max(...made.map(Math.abs));
})()"""


class Bidi:
    """A browser at the other end of a socket."""

    def __init__(self, socket):
        self.socket, self.n, self.complaints = socket, 0, []

    async def ask(self, method, **params):
        self.n += 1
        await self.socket.send_json({"id": self.n, "method": method, "params": params})
        while True:
            told = await self.socket.receive_json()
            if told.get("method") == "log.entryAdded" and told["params"]["level"] in ("error", "warn"):
                self.complaints.append(told["params"]["text"])
            if told.get("id") == self.n:
                assert told["type"] == "success", told
                return told["result"]

    async def visit(self, address):
        await self.ask("session.new", capabilities={})
        await self.ask("session.subscribe", events=["log.entryAdded"])
        self.page = (await self.ask("browsingContext.getTree"))["contexts"][0]["context"]
        await self.ask("browsingContext.setViewport", context=self.page, viewport={"width": 1280, "height": 800})
        await self.ask("browsingContext.navigate", context=self.page, url=address, wait="complete")

    async def evaluate(self, code):
        target = {"context": self.page}
        told = await self.ask("script.evaluate", expression=code, target=target, awaitPromise=True)
        assert told["type"] == "success", told
        return told["result"].get("value")

    async def press(self, key):
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        actions = [{"type": "key", "id": "keys", "actions": keys}]
        await self.ask("input.performActions", context=self.page, actions=actions)

    async def until(self, code, seconds=90):
        async with asyncio.timeout(seconds):
            while not await self.evaluate(code):
                await asyncio.sleep(0.1)


async def check(socket_address, address):
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(f"{socket_address}/session") as socket:
        page = Bidi(socket)
        await page.visit(address)
        await page.until(f"{STATES} === 'found,found'")
        await page.until(PAINTED)
        await page.press("n")
        await page.press("\ue006")
        await page.until(f"{STATES} === 'done,found'", 150)
        await page.until("document.querySelector('input[name=side][value=after]').checked")
        assert await page.evaluate(SILENT) == 0
        assert await page.evaluate("document.documentElement.scrollWidth") == 1280
        assert page.complaints == []
        await page.ask("browser.close")


@pytest.mark.slow
@pytest.mark.skipif(FIREFOX is None, reason="needs Firefox")
def test_a_gap_is_repaired_by_keys_in_firefox(tape, tmp_path):
    pytest.importorskip("aiohttp")
    app = App(tmp_path, str(tape))
    command = [FIREFOX, "--headless", "--no-remote", "--profile", str(tmp_path), "--remote-debugging-port", "0"]
    firefox = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        said = next(line for line in firefox.stderr if "WebDriver BiDi listening" in line)
        run_apart(check(re.search(r"ws://\S+", said).group(), app.address), 300)
    finally:
        firefox.terminate()
        firefox.communicate(timeout=30)
        app.end()

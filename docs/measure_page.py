"""Measure the page of the app in a real browser: how soon it paints, how smoothly it moves, how much memory it takes.

    python docs/measure_page.py [RECORDING] [--browser PATH]
    python docs/measure_page.py --picture docs/pictures/page.png

Without a recording an hour of stereo is made; a picture is of the demonstration's music, with a gap filled. Needs the
extras app and dev, and chromium-headless-shell. Prints JSON.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import Page, sync_playwright

RATE, GAPS = 44_100, 10
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
# The longest time in which the page could not have answered: a timer of 10 ms that came late.
WATCH = """() => {
  performance.setResourceTimingBufferSize(20000);
  window.longest = 0;
  let before = performance.now();
  setInterval(() => {
    const now = performance.now();
    window.longest = Math.max(window.longest, now - before - 10);
    before = now;
  }, 10);
}"""
MOVE = """async (way) => {
  const { view } = await import('./stage.js');
  const middle = view.width / 2, times = [];
  for (let n = 0; n < 90; n++) {
    if (way === 'pan') view.pan(n < 45 ? 40 : -40);
    else view.zoom(n < 45 ? 1.12 : 1 / 1.12, middle);
    await new Promise(requestAnimationFrame);
    times.push(performance.now());
  }
  return 1000 * (times.length - 1) / (times[times.length - 1] - times[0]);
}"""
TILES = """() => performance.getEntriesByType('resource')
  .filter((one) => one.name.includes('/tiles/') && one.transferSize && one.requestStart)
  .map((one) => one.responseEnd - one.requestStart).sort((one, other) => one - other)"""


def make_hour(path: Path, seconds: float = 3600.0) -> None:
    """Write an hour of made music in stereo, with gaps."""
    n, rng = round(seconds * RATE), np.random.default_rng(0)
    gaps = [(n * number // (GAPS + 1), RATE * (20 + 15 * number) // 100) for number in range(1, GAPS + 1)]
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for start in range(0, n, 60 * RATE):
            t = (start + np.arange(min(60 * RATE, n - start))) / RATE
            tones = sum(
                0.08 * np.sin(2 * np.pi * hz * t) * (0.6 + 0.4 * np.sin(0.3 * hz * t)) for hz in (110, 220, 331, 660)
            )
            block = np.stack([tones, 0.8 * tones], axis=1) + 0.01 * rng.standard_normal((len(t), 2))
            for first, length in gaps:
                block[max(0, first - start) : max(0, first + length - start)] = 0.0
            file.write(block)


def make_music(path: Path) -> None:
    """Write the music of the demonstration with its gaps."""
    from masktools.demo.recordings import RECORDINGS, with_gaps

    music = next(recording for recording in RECORDINGS if recording.name == "music")
    samples, rate = music.play()
    soundfile.write(path, with_gaps(samples, rate, music.gaps).T, rate, "PCM_16")


def draw(page: Page, address: str, path: Path) -> None:
    """Fill the first gap, hear the repaired side, and write a picture of that."""
    from PIL import Image

    page.goto(address)
    states = "[...document.querySelectorAll('#repairs td.state')].map((cell) => cell.textContent).join()"
    while "found" not in page.evaluate(states):
        page.wait_for_timeout(200)
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    while "done" not in page.evaluate(states):
        page.wait_for_timeout(200)
    page.keyboard.press("Escape")
    page.evaluate("import('./stage.js').then(({ view }) => view.zoom(1.6, 0.35 * view.width))")
    page.wait_for_timeout(7000)
    path.write_bytes(page.screenshot())
    Image.open(path).convert("RGB").quantize(160, dither=Image.Dither.NONE).save(path, optimize=True)


def memory_mb(pattern: str) -> float:
    """Return the proportional memory of what this program has started whose command line has a pattern, in MB."""
    parents, lines = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue

    def is_ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and is_ours(parents[pid]))

    found = [pid for pid, line in lines.items() if re.search(pattern, line) and is_ours(pid)]
    smaps = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in found]
    return round(sum(int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) for text in smaps) / 1000, 1)


def measure(page: Page, address: str) -> dict[str, object]:
    """Return what one visit shows."""
    page.add_init_script(f"({WATCH})()")
    page.goto(address)
    while not page.evaluate("performance.getEntriesByName('overview').length"):
        page.wait_for_timeout(20)
    painted = "performance.getEntriesByType('paint').map((one) => one.startTime)[0]"
    found: dict[str, object] = {
        "first_paint_s": round(page.evaluate(painted) / 1000, 3),
        "overview_s": round(page.evaluate("performance.getEntriesByName('overview')[0].startTime") / 1000, 3),
    }
    start = time.monotonic()
    while page.evaluate("import('./state.js').then(({ app }) => app.recording.surveyed)") < 1:
        page.wait_for_timeout(200)
    found["surveyed_after_s"] = round(time.monotonic() - start, 1)
    page.wait_for_timeout(1500)
    page.evaluate("import('./stage.js').then(({ view }) => view.zoom(60))")
    page.wait_for_timeout(1500)
    found |= {f"{way}_frames_a_second": round(page.evaluate(MOVE, way), 1) for way in ("zoom", "pan")}
    page.wait_for_timeout(1000)
    tiles = page.evaluate(TILES)
    found |= {"tiles": len(tiles), "tile_p95_ms": round(float(np.percentile(tiles, 95)), 1)}
    found["longest_block_ms"] = round(page.evaluate("window.longest"), 1)
    found["renderer_browsing_mb"] = memory_mb("type=renderer")
    page.keyboard.press("Space")
    page.wait_for_timeout(12_000)
    found["renderer_playing_mb"] = memory_mb("type=renderer")
    late = "import('./transport.js').then(({ player }) => player.position() / player.source.rate)"
    found["played_s_in_12"] = round(page.evaluate(late), 2)
    found["server_and_reader_mb"] = memory_mb(r"masktools app|masktools\.app\.reader")
    return found


def main() -> None:
    """Start a server and a browser, and print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", nargs="?", type=Path)
    parser.add_argument("--picture", type=Path, help="draw a picture instead of measuring")
    parser.add_argument("--browser", default=shutil.which("chromium-headless-shell"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recording = args.recording or Path(folder) / ("music.wav" if args.picture else "hour.wav")
        if args.recording is None:
            (make_music if args.picture else make_hour)(recording)
        command = [sys.executable, "-m", "masktools", "app", str(recording), "--no-browser", "--port", "0"]
        command += ["--sessions", f"{folder}/sessions"]
        begun = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
            address = re.search(r"http://\S+", server.stdout.readline()).group()
            listening_s = round(time.monotonic() - begun, 2)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=args.browser, args=FLAGS)
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                found: dict[str, object] = {"listening_s": listening_s, "load": os.getloadavg()[0]}
                if args.picture:
                    draw(page, address, args.picture)
                else:
                    found |= measure(page, address)
                browser.close()
            server.terminate()
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

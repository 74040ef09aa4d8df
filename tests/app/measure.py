"""What the page's server takes on this machine: `python -m tests.app.measure [FILE]`; without a file, of a made hour.

Prints a line a figure of docs/app.md. Linux only: memory is the proportional set size of the processes.
"""

import argparse
import json
import os
import re
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from masktools import io
from tests.app.conftest import Command

RATE, GAPS, GAP_S = 44_100, 10, 0.7


def make(path, minutes):
    """Write a made stereo recording with ten gaps."""
    rng, n = np.random.default_rng(0), round(60 * minutes * RATE)
    starts = [(2 * number + 1) * n // (2 * GAPS) for number in range(GAPS)]
    with io.open_writer(path, RATE, 2, "PCM_16") as out:
        for first in range(0, n, 1 << 18):
            t = np.arange(first, min(n, first + (1 << 18))) / RATE
            tone = 0.2 * np.sin(2 * np.pi * (220 * t + 40 * np.sin(t / 7)))
            wave = (np.stack([tone, tone]) + rng.normal(0, 0.02, (2, len(t)))).astype(np.float32)
            for start in starts:
                wave[:, max(0, start - first) : max(0, start + round(GAP_S * RATE) - first)] = 0
            out.write(wave)


def pss_mib(pid):
    """Return the memory of a process; 0 when it is gone."""
    try:
        return int(re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())[1]) / 1024
    except OSError:
        return 0.0


def children(pid):
    """Return the processes that a process has started, by what runs in them."""
    found = {}
    for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
        found[words[-2].decode().rpartition(".")[2]] = int(one)
    return found


def cpu_s(pid):
    """Return the seconds of computing that a process has used."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


class Watch(threading.Thread):
    """Notes the most memory that server and reader take together."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.most, self.ends = pid, {}, False
        self.start()

    def run(self):
        while not self.ends:
            now = {"server": pss_mib(self.pid)} | {name: pss_mib(pid) for name, pid in children(self.pid).items()}
            for name, value in now.items():
                self.most[name] = max(self.most.get(name, 0.0), value)
            both = now["server"] + now.get("reader", 0.0)
            self.most["server + reader"] = max(self.most.get("server + reader", 0.0), both)
            time.sleep(0.1)


def timed(act):
    """Return seconds, and what came out."""
    started = time.perf_counter()
    made = act()
    return time.perf_counter() - started, made


def said(name, value, unit=""):
    print(f"{name:<52} {value:>9.2f} {unit}", flush=True)


def tiles_ms(server, name, samples, n, rng, sides=("before",)):
    """Return how long tiles at random zooms and places take."""
    took = []
    for _ in range(n):
        level = int(rng.integers(2, 15))
        index = int(rng.integers(0, max(1, samples // (256 * 16 << level))))
        side, scale = rng.choice(sides), rng.choice(["mel", "linear"])
        path = f"recordings/{name}/tiles/{side}/{rng.integers(2)}/{scale}/{level}/{index}.png"
        seconds, (status, _, _) = timed(lambda path=path: server.ask("GET", path))
        took.append(1000 * seconds if status == 200 else np.inf)
    return np.percentile(took, (50, 95))


def main():
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--upload", type=Path, metavar="FILE", help="a recording that is sent, too")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="masktools-measure-") as made:
        folder = Path(made)
        path = args.file or folder / "hour.wav"
        if args.file is None:
            make(path, args.minutes)
        seconds, server = timed(lambda: Command(path, folder=folder / "sessions"))
        said("start to a listening server", seconds, "s")
        watch = Watch(server.process.pid)
        modules = Path(f"/proc/{server.process.pid}/maps").read_text()
        said("torch in the server (0: no)", "libtorch" in modules)
        name = server.json("recordings")[0]["id"]
        seconds, state = timed(lambda: server.json(f"recordings/{name}"))
        n = state["samples"]
        said("state of the recording", seconds, "s")
        seconds, _ = timed(lambda: server.ask("GET", f"recordings/{name}/peaks?from=0&to={n}&width=1200"))
        said("overview of 1,200 columns, while it is surveyed", seconds, "s")
        level = max(8, int(np.ceil(np.log2(n / 256 / 16 / 5))))
        seconds, _ = timed(lambda: server.ask("GET", f"recordings/{name}/tiles/before/0/mel/{level}/0.png"))
        said("first tile of the whole, while it is surveyed", seconds, "s")
        began = time.perf_counter()
        p50, p95 = tiles_ms(server, name, n, 40, rng)
        said("tile while it is surveyed, median", p50, "ms")
        said("tile while it is surveyed, 95 %", p95, "ms")
        while server.json(f"recordings/{name}")["surveyed"] < 1:
            time.sleep(0.2)
        said("surveyed and probed", time.perf_counter() - began + seconds, "s")
        said("computing of the reader until then", cpu_s(children(server.process.pid)["reader"]), "s")
        found = server.json(f"recordings/{name}")["damage"]
        said("places of damage", len(found))
        p50, p95 = tiles_ms(server, name, n, 200, rng)
        said("tile, median", p50, "ms")
        said("tile, 95 %", p95, "ms")
        took = [
            timed(lambda: server.ask("GET", f"recordings/{name}/peaks?from=0&to={n}&width=1200"))[0] for _ in range(10)
        ]
        said("overview of 1,200 columns, median", 1000 * float(np.median(took)), "ms")
        marks = [{"start": one["start"], "end": one["end"]} for one in found]
        asked = {"kind": "inpaint", "regions": marks, "settings": {"method": "linear"}}
        job = json.loads(server.ask("POST", f"recordings/{name}/jobs", asked)[2])["job"]
        while (done := server.json(f"jobs/{job}"))["state"] in ("queued", "running"):
            time.sleep(0.2)
        assert done["state"] == "done", done
        assert server.ask("POST", f"recordings/{name}/edits", {"job": job})[0] == 200
        p50, p95 = tiles_ms(server, name, n, 200, rng, ("after", "difference"))
        said("tile of after and difference, 95 %", p95, "ms")
        seconds, _ = timed(
            lambda: server.ask("GET", f"recordings/{name}/samples/after?from={n // 2}&count={5 * state['rate']}")
        )
        said("five seconds of samples", 1000 * seconds, "ms")
        if args.upload is not None:
            before = pss_mib(server.process.pid)
            grown = Watch(server.process.pid)
            with args.upload.open("rb") as file:
                size = args.upload.stat().st_size
                status = upload(server, file, size)
            grown.ends = True
            said(f"upload of {size >> 20} MiB: {status}; the server grows by", grown.most["server"] - before, "MiB")
        watch.ends = True
        for what, most in sorted(watch.most.items()):
            said(f"memory of {what}, at most", most, "MiB")
        server.end()
        server.process.stdout.close()
        server.process.stderr.close()


def upload(server, file, size):
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", server.port, timeout=600)
    headers = {"X-Masktools": "1", "Cookie": server.cookie, "Content-Length": str(size)}
    seconds, _ = timed(lambda: connection.request("PUT", "/api/recordings?name=sent.wav", file, headers))
    said("upload", seconds, "s")
    return connection.getresponse().status


if __name__ == "__main__":
    main()

"""Fresh processes: memory of a job, and start-up time of a command."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from masktools import io
from masktools.benchmark.measurements import Measurement, Value, interleaved, spread_of
from masktools.benchmark.models import RunSettings, synthetic_clip
from masktools.core.configs import parse_json
from masktools.core.errors import MasktoolsError
from masktools.pipeline import Progress, watched

_STATUS, _REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _status(field: str) -> int | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def resident_bytes() -> int | None:
    """Return the resident memory of this process; None where the system does not report it."""
    return _status("VmRSS")


def peak_bytes() -> int:
    """Return the peak memory of this process, since ``reset_peak`` where that works."""
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def reset_peak() -> bool:
    """Reset the peak, and return whether the system supports it."""
    try:
        _REFS.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def main() -> None:
    """Load a model and run the job given by the first argument, JSON, and write time and memory to standard output."""
    spec: dict[str, Any] = parse_json(sys.argv[1])
    import torch

    import masktools
    from masktools.benchmark.models import Variant
    from masktools.benchmark.timing import prepared

    imported = resident_bytes() or peak_bytes()
    model = masktools.load(
        spec["model"], spec["device"], spec["precision"], threads=spec["threads"], batch_size=spec["batch"]
    )
    device = model.pipeline.device
    found = {
        "imported_bytes": imported,
        "load_peak_bytes": peak_bytes(),
        "loaded_bytes": resident_bytes() or peak_bytes(),
    }
    if device.type == "cuda":
        found["device_bytes"] = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
    variant = Variant(spec["precision"], spec["batch"], spec["steps"], spec["threads"])
    call = prepared(spec["job"], model, variant, spec["seed"])
    reset_peak()
    call.run()
    found["peak_bytes"] = peak_bytes()
    found["private_bytes"] = _status("RssAnon") or found["peak_bytes"]
    if device.type == "cuda":
        found["device_peak_bytes"] = torch.cuda.max_memory_allocated(device)
    sys.stdout.write(json.dumps(found) + "\n")


_PLACE = Path(__file__).resolve().parents[2]


def run_python(words: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command line in a fresh Python, and return its result.

    Raises:
        MasktoolsError: it failed; the message holds its last line.
    """
    paths = [str(_PLACE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)  # noqa: S603
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MasktoolsError(f"a process of the benchmark failed with code {done.returncode}: {last}")
    return done


_CHILD = "from masktools.benchmark.processes import main; main()"


def measure_memory(model: str, settings: RunSettings, progress: Progress | None = None) -> tuple[Measurement, ...]:
    """Return the memory of processes that load a model as users do, and generate.

    Args:
        model: the name of a model at hand, or the folder of a bundle.
        settings: jobs and variants.
        progress: called with (processes done, processes in total).

    Raises:
        MasktoolsError: a process failed.
    """
    found: list[Measurement] = []
    pairs = dict.fromkeys((name, size) for name in settings.precisions for size in settings.batches)
    for precision, batch in watched(list(pairs), progress):
        spec = {
            "model": model,
            "device": settings.device,
            "precision": precision,
            "threads": settings.threads[0],
            "batch": batch,
            "job": "generate",
            "steps": settings.steps[0],
            "seed": settings.seed,
        }
        done = run_python(["-c", _CHILD, json.dumps(spec)])
        figures = {name: float(value) for name, value in parse_json(done.stdout.splitlines()[-1]).items()}
        case: dict[str, Value] = {"precision": precision, "batch": batch}
        found.append(Measurement("memory", "generate", case, figures))
    return tuple(found)


_IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)", re.MULTILINE)
_SECONDS, _RATE = 10.0, 44_100
_NAMED = 5  # packages with the longest imports


def measure_start_up(model: str, settings: RunSettings, progress: Progress | None = None) -> tuple[Measurement, ...]:
    """Return the times of fresh processes: Python alone, the help, imports, and a gap of 0.5 s filled in 10 s.

    Everything is run once before, so that files are in the system's cache. The share of imports in a command's time
    is measured in one more run of it, with Python's import timing.

    Args:
        model: the name of a model at hand, or the folder of a bundle.
        settings: device and repeats.
        progress: called with (processes done, processes in total).

    Raises:
        MasktoolsError: a command failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        io.write(folder / "in.wav", synthetic_clip(_SECONDS, _RATE), _RATE)
        chosen = ["--model", model, "--device", settings.device]
        inpaint = ["inpaint", "in.wav", "--gaps", "4.0-4.5", "-o", "out.wav", "--overwrite", *chosen]
        commands = {
            "python": ["-c", "pass"],
            "masktools --help": ["-m", "masktools", "--help"],
            "import masktools": ["-c", "import masktools"],
            "import torch": ["-c", "import torch"],
            "import masktools.model": ["-c", "import masktools.model"],
            "masktools inpaint, 10 s": ["-m", "masktools", *inpaint],
        }
        device = torch.device("cpu")  # the processes time themselves
        calls = {name: lambda words=words: run_python(words, folder) for name, words in commands.items()}
        times = interleaved(calls, settings.repeats, device, progress=progress)
        found: list[Measurement] = []
        for name, words in commands.items():
            began = time.perf_counter()
            told = run_python(["-X", "importtime", *words], folder).stderr
            own_s = time.perf_counter() - began
            imports = imports_by_package(told)
            import_s = sum(imports.values())
            share = import_s / own_s
            figures = {"import_s": share * spread_of(times[name]).median, "import_share": share}
            slowest = sorted(imports, key=lambda package: -imports[package])[:_NAMED]
            note = ", ".join(f"{package} {imports[package]:.2f} s" for package in slowest if imports[package] >= 0.01)
            case: dict[str, Value] = {"python": sys.version.split()[0]}
            found.append(Measurement.of_times("start-up", name, case, times[name], figures, note))
    return tuple(found)


def imports_by_package(told: str) -> dict[str, float]:
    """Return the seconds of imports, by package, from the output of ``python -X importtime``.

    >>> imports_by_package("import time:   1500 |   2000 | a.b")
    {'a': 0.0015}
    """
    seconds: dict[str, float] = {}
    for own_us, module in _IMPORT.findall(told):
        package = module.split(".")[0]
        seconds[package] = seconds.get(package, 0.0) + int(own_us) / 1e6
    return seconds

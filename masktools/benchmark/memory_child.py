"""What a fresh process needs in memory to load a model and do one job: run in a process of its own."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from masktools.jsons import parse_json

__all__ = ["main", "peak_bytes", "reset_peak", "resident_bytes"]

_STATUS, _REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _status(field: str) -> int | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def resident_bytes() -> int | None:
    """Return what this process has in memory now; None where the system does not tell."""
    return _status("VmRSS")


def peak_bytes() -> int:
    """Return what this process has had in memory at most, since ``reset_peak`` where that works."""
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def reset_peak() -> bool:
    """Have the peak counted anew from now on, and tell whether the system can."""
    try:
        _REFS.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def main() -> None:
    """Load and do what the first argument, JSON, asks for, and write what it took to the standard output."""
    spec: dict[str, Any] = parse_json(sys.argv[1])
    import torch

    import masktools
    from masktools.benchmark.jobs import Variant, prepared

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

"""List a manifest of a million recordings: python docs/measure_listing.py FILE [--make], in a process of its own.

With --make the manifest is written first; else it is read, and the CPU seconds and the most memory in MiB are said.
"""

import resource
import sys
import time
from pathlib import Path

from masktools.extraction import Item, find_items, write_manifest

N = 1_000_000


def most_memory() -> float:
    """Return the most memory that this process has taken, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # elsewhere that of the process it was forked from counts, too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[2:] == ["--make"]:
        names = [f"{number // 1000:04d}/recording {number:07d}.flac" for number in range(N)]
        write_manifest(sys.argv[1], [Item(name, f"/collection/audio/{name}") for name in names])
    else:
        start = time.process_time()
        if len(find_items([sys.argv[1]])) != N:
            raise SystemExit("not all recordings were found")
        print(f"{time.process_time() - start:.1f} {most_memory():.0f}")

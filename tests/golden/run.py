"""Run the golden cases and store digests of all they write, or say what differs from digests stored before.

    python tests/golden/run.py new.json                      # run everything
    python tests/golden/run.py new.json --only inpaint,bwe   # cases whose names begin so
    python tests/golden/run.py new.json --against old.json   # and say what differs; exit code 1 if anything does

It runs the ``masktools`` that Python finds, so that two states of the code are compared by PYTHONPATH. Exact digests
hold on one machine with one set of libraries: make both files on the same one.
"""

import argparse
import contextlib
import io
import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.golden.cases import CALLS, COMMANDS
from tests.golden.digests import digest_array, digest_file, digest_text
from tests.golden.recordings import write_recordings

_SKIPPED = ("events.out", "hparams", "metrics.csv", "config.yaml", "checksums")


def run_command(lines: str | list[str], folder: Path) -> dict[str, Any]:
    """Run command lines in a folder, and return exit codes, digests of what was said and of every new file."""
    from masktools.cli.main import main

    before = set(folder.rglob("*"))
    said = []
    for line in [lines] if isinstance(lines, str) else lines:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(shlex.split(line))
        told = "" if line.startswith("train") else out.getvalue()  # training tells times and rates throughout
        said.append({"code": code, "out": digest_text(told, folder)})
        if code not in (0, 3, 4):
            said[-1]["error"] = err.getvalue()[-300:]
    written = sorted(path for path in folder.rglob("*") if path.is_file() and path not in before)
    files = {
        str(path.relative_to(folder)): digest_file(path, folder)
        for path in written
        if not any(word in path.name for word in _SKIPPED)
    }
    return {"said": said, "files": files}


def run_case(name: str, recordings: Path, model: Any) -> dict[str, Any]:
    """Run one case in a folder of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / "work"
        shutil.copytree(recordings, folder)
        with contextlib.chdir(folder):
            if name in CALLS:
                return {key: digest_array(value) for key, value in CALLS[name](model, folder).items()}
            return run_command(COMMANDS[name], folder)


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Return a line for every leaf in which two results differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{where}/{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line for n, (a, b) in enumerate(zip(old, new, strict=True)) for line in differences(a, b, f"{where}/{n}")
        ]
    return [] if old == new else [f"{where}: {old} -> {new}"]


def main() -> int:
    """Run the cases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", default="", help="beginnings of names, with commas between them")
    parser.add_argument("--against", type=Path)
    args = parser.parse_args()

    import torch

    import masktools

    torch.set_num_threads(1)
    chosen = [name for name in (*COMMANDS, *CALLS) if name.startswith(tuple(args.only.split(",")))]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        recordings = Path(temporary)
        write_recordings(recordings)
        model = masktools.load("mini", threads=1)
        for name in chosen:
            try:
                results[name] = run_case(name, recordings, model)
            except Exception as error:  # a case that fails is a difference, not the end of the run
                results[name] = {"failed": f"{type(error).__name__}: {error}"}
            print(f"{name}: {'failed' if 'failed' in results[name] else 'done'}", file=sys.stderr, flush=True)
    args.output.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if not args.against:
        return 0
    old = json.loads(args.against.read_text(encoding="utf-8"))
    found = [line for name in chosen for line in differences(old.get(name), results[name], name)]
    print("\n".join(found) or f"{len(chosen)} cases, no difference")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

"""The files of the page: JavaScript that parses, none of it long, and nothing in line that the policy would refuse."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[3] / "masktools" / "app" / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_every_script_parses():
    code = "\n".join(
        ["import { readFileSync } from 'node:fs'; import { SourceTextModule } from 'node:vm';"]
        + [f"new SourceTextModule(readFileSync({str(path)!r}, 'utf8'));" for path in SCRIPTS]
    )
    command = ["node", "--experimental-vm-modules", "--no-warnings", "--input-type=module"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_no_file_is_long(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400
    if path.suffix == ".js":
        assert lines[0].startswith("/** "), "the first line says what a file is"


def test_nothing_is_in_line_and_nothing_from_elsewhere():
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            path.name
        )


def test_every_import_and_every_file_that_is_named_is_there():
    names = {path.name for path in STATIC.iterdir()}
    for path in SCRIPTS:
        for name in re.findall(r"from '\./([\w.]+)'", path.read_text(encoding="utf-8")):
            assert name in names, f"{path.name} imports {name}"
    for name in re.findall(r"(?:href|src)=\"([\w.]+)\"", (STATIC / "index.html").read_text(encoding="utf-8")):
        assert name in names

"""The site and the pages behind it: what they show runs, notebooks hold no outputs, links lead somewhere.

Pages and notebooks are executed by `make test-site` (-m site); the whole site is built by `make docs`.
"""

import ast
import html
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from urllib.parse import unquote

import pytest
import soundfile

from masktools.cli.main import COMMANDS, main
from masktools.demo.recordings import low_passed, play_music, with_gaps
from tests.house.source import ROOT
from tests.house.test_readme import BLOCK, PAGES

DOCS = ROOT / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
GALLERY = sorted((DOCS / "gallery").glob("plot_*.py"))
# Of these pages all blocks of Python run one after the other, as a reader would type them.
RUN = [ROOT / "README.md", DOCS / "start.md", DOCS / "api" / "settings.md", *sorted((DOCS / "guides").glob("*.md"))]
NEED_MORE = {
    "app",
    "train",
    "cache",
    "push",
    "bundle",
    "convert",
    "evaluate",
    "sweep",
    "bench",
    "demo",
    "embed",
    "restore",
}


def test_there_are_five_notebooks_and_none_holds_an_output():
    assert len(NOTEBOOKS) == 5
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs"), path.name
            assert cell.get("execution_count") is None, path.name


def test_gallery_and_notebooks_are_python():
    for path in GALLERY:
        ast.parse(path.read_text(encoding="utf-8"))
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            if cell["cell_type"] == "code":
                ast.parse(re.sub(r"^!.*$", "pass", "".join(cell["source"]), flags=re.MULTILINE))


def test_links_between_pages_lead_to_files():
    built = {"auto", "cards", "cli"}  # are made by the build
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if "://" in target or built & set(target.split("/")):
                continue
            place = page.parent / target
            assert place.exists() or place.with_name(place.name + ".md").exists(), f"{page.name} links to {target}"


def test_every_command_has_a_page_that_says_what_its_help_says(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("site_settings", DOCS / "conf.py")
    settings = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(settings)
    monkeypatch.setattr(settings, "HERE", tmp_path)
    settings.write_commands()
    pages = {path.stem for path in (tmp_path / "cli").glob("*.md")} - {"index"}
    assert pages == {name for name, command in COMMANDS.items() if not command.hidden}
    assert "--gaps WHICH" in (tmp_path / "cli" / "inpaint.md").read_text(encoding="utf-8")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Return a folder with the recordings that the pages name."""
    music, rate = play_music()
    music = music[:, : 5 * rate]
    for name in ("damaged", "tape"):
        soundfile.write(tmp_path / f"{name}.wav", with_gaps(music, rate, [(1.2, 1.55), (3.0, 3.2)]).T, rate)
    soundfile.write(tmp_path / "dull.wav", low_passed(music, rate, 4000.0).T, rate)
    for name in ("speech", "music", "beat", "clean"):
        soundfile.write(tmp_path / f"{name}.wav", music.T, rate)
    (tmp_path / "labels.txt").write_text("1.2\t1.5\tgap\n\\\t3000\t6000\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


BUILT = DOCS / "_build" / "html"
FOREIGN = re.compile(
    r"""<(?:script|img|audio|iframe|source)\b[^>]*\bsrc=["']?https?:|<link\b[^>]*\bhref=["']?https?:"""
)


@pytest.mark.site
def test_the_built_site_is_whole_without_a_network():
    """No dead link, nothing from elsewhere, every picture and sound in it, at most 40 MB."""
    if not BUILT.exists():
        pytest.skip("make docs builds it")
    names: dict = {}

    def has(target, fragment):
        if target not in names:
            names[target] = set(re.findall(r'\bid="([^"]+)"', target.read_text(encoding="utf-8")))
        return fragment in names[target]

    dead = []
    for page in BUILT.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not FOREIGN.search(text), page
        assert "data:audio/" not in text, page
        for link in map(html.unescape, re.findall(r"""(?:href|src)=["']([^"'\s]+)["']""", text)):
            path, _, fragment = link.partition("#")
            if re.match(r"(https?|data|mailto|javascript):", link):
                continue
            target = page.parent / unquote(path.split("?")[0]) if path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (fragment and target.suffix == ".html" and not has(target, unquote(fragment))):
                dead.append(f"{page.relative_to(BUILT)}: {link}")
    assert dead == []
    assert len(list((BUILT / "_sounds").glob("*.opus"))) >= 20
    for sheet in BUILT.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import [\"']https?:", sheet.read_text(encoding="utf-8")), sheet
    assert sum(path.stat().st_size for path in BUILT.rglob("*") if path.is_file()) < 40e6


def blocks_of(page, *languages):
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


@pytest.mark.site
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", [page for page in RUN if blocks_of(page, "python")], ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page, desk):
    known: dict = {}
    for text in blocks_of(page, "python"):
        exec(compile(text, page.name, "exec"), known)


@pytest.mark.site
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", [page for page in RUN if blocks_of(page, "sh")], ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page, desk):
    for text in blocks_of(page, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["masktools"] and words[1] not in NEED_MORE and not any(w.endswith("/") for w in words):
                overwrite = ["--overwrite"] if {"-o", "--ab"} & set(words) else []
                assert main([*words[1:], *overwrite]) == 0, line


@pytest.mark.site
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    """Run the cells in one process; lines that begin with ! are commands."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    command = re.compile(r"^!(.*)$", re.MULTILINE)
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    source = command.sub(lambda found: f"run_command(f{found[1]!r})", source)
    head = (
        "import subprocess\ndef run_command(line):\n    subprocess.run(line, shell=True, check=True)\n"
        "import sys\nif importlib_found('matplotlib'):\n    import matplotlib; matplotlib.use('Agg')\n"
    ).replace("importlib_found", "__import__('importlib.util').util.find_spec")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "masktools").write_text(f'#!/bin/sh\nexec {sys.executable} -m masktools "$@"\n')
    (programs / "masktools").chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "STEPS": "3"}
    environment["RECIPES"] = str(ROOT / "recipes")
    done = subprocess.run(
        [sys.executable, "-c", head + source], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]

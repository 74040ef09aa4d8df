"""Settings of the site: `make docs` builds it, without a network, and every warning is an error.

What is built from the package itself is written here first: a page for each command, from its --help, and one for the
card of each model. What sounds in pages is kept once, as an Opus file beside them, and no page asks for anything that
is not in the site.
"""

import base64
import hashlib
import re
import sys
from io import BytesIO
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]  # the package, and what is named conf here

from masktools import __version__  # noqa: E402

project, author, release = "masktools", "The masktools developers", __version__
copyright = author
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto/*.ipynb", "auto/*.py", "auto/*.codeobj.json", "gallery/README.txt"]
suppress_warnings = ["config.cache", "misc.highlighting_failure"]

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring, napoleon_numpy_docstring = True, False
python_display_short_literal_types = True
maximum_signature_line_length = 100

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams, nb_output_stderr = True, "remove"  # progress; what goes wrong ends the build

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto",
    "filename_pattern": r"plot_",
    "capture_repr": ("_repr_html_",),
    "image_scrapers": ("conf.draw_thumbnail", "matplotlib"),
    "write_computation_times": False,  # its page loads scripts from elsewhere
    "show_memory": False,
    "min_reported_time": 1e6,  # seconds: how long it took says more of the machine than of the example
    "thumbnail_size": (400, 240),
    "show_signature": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "masktools"
html_static_path, html_css_files, html_favicon = ["_static"], ["site.css"], "_static/mark.svg"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "masktools", "image_light": "_static/mark.svg", "image_dark": "_static/mark.svg"},
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}


def write_commands() -> None:
    """Write a page for each command, with what its --help says."""
    from masktools.cli.main import COMMANDS, make_parser

    folder = HERE / "cli"
    folder.mkdir(exist_ok=True)
    shown = [name for name, command in COMMANDS.items() if not command.hidden]
    for name in shown:
        parser = next(action.choices[name] for action in make_parser(name)._actions if isinstance(action.choices, dict))
        about, _, options = parser.format_help().partition("\n\n")
        page = f"# masktools {name}\n\n{COMMANDS[name].help[0].upper()}{COMMANDS[name].help[1:]}.\n\n"
        write_if_new(folder / f"{name}.md", f"{page}```text\n{about}\n\n{options.rstrip()}\n```\n")
    rows = "".join(f"| [{name}]({name}.md) | {COMMANDS[name].help} |\n" for name in shown)
    tree = "\n".join(shown)
    write_if_new(
        folder / "index.md",
        "# Commands\n\nEvery command says with `--help` what stands here. Exit codes are told in [exit codes]"
        f"(../exit-codes.md).\n\n| command | what it does |\n|---|---|\n{rows}\n"
        f"```{{toctree}}\n:hidden:\n\n{tree}\n```\n",
    )


def write_cards() -> None:
    """Write a page for each model in the package, with its card as it is for people."""
    from masktools.pipeline.bundles import CARD, list_models, without_head

    folder = HERE / "cards"
    folder.mkdir(exist_ok=True)
    for name, place in list_models().items():
        write_if_new(folder / f"{name}.md", without_head((place / CARD).read_text(encoding="utf-8")))


_PICTURE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
_PLOTTED = (0.075, 0.2, 0.9, 0.78)  # left, top, right and bottom of the spectrogram in it, without its axes


def draw_thumbnail(block, block_vars, gallery_conf) -> str:
    """Keep the spectrogram that a result shows, for the overview of the gallery; the page has it already."""
    shown = getattr(block_vars["example_globals"].get("___"), "_repr_html_", None)
    found = _PICTURE.search(shown()) if shown else None
    if found:
        from PIL import Image

        picture = Image.open(BytesIO(base64.b64decode(found[1]))).convert("RGB")
        edges = [round(size * part) for size, part in zip(2 * picture.size, _PLOTTED, strict=True)]
        picture.crop(edges).resize((400, 240)).save(next(block_vars["image_path_iterator"]))
    return ""


def write_if_new(path: Path, text: str) -> None:
    """Write a text where it is another one, so that Sphinx reads again only what changed."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


_SOUND = re.compile(r"data:audio/(?:wav|ogg);base64,([A-Za-z0-9+/=]+)")
_OPUS_RATE = 48_000


def keep_sounds(app, exception) -> None:
    """Put every sound that pages hold into an Opus file beside them, once, and name it there."""
    if exception or app.builder.name != "html":
        return
    out = Path(app.outdir)
    sounds = out / "_sounds"
    sounds.mkdir(exist_ok=True)
    for page in out.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if "data:audio/" in text:
            up = "../" * (len(page.relative_to(out).parts) - 1)
            told = _SOUND.sub(lambda found, up=up: f"{up}_sounds/{kept(found[1], sounds)}", text)
            page.write_text(told, encoding="utf-8")


def kept(encoded: str, folder: Path) -> str:
    """Return the name of the Opus file that holds a sound."""
    import soundfile
    import soxr

    content = base64.b64decode(encoded)
    name = f"{hashlib.sha256(content).hexdigest()[:16]}.opus"
    if not (folder / name).exists():
        samples, rate = soundfile.read(BytesIO(content), dtype="float32", always_2d=True)
        resampled = soxr.resample(samples, rate, _OPUS_RATE).clip(-1.0, 1.0)
        soundfile.write(folder / name, resampled, _OPUS_RATE, format="OGG", subtype="OPUS")
    return name


_NOTE = re.compile(r"(Source|Differs):")
_MARKUP = re.compile(r"(``.*?``|`[^`]*`)")


def plain_words(app, what, name, obj, options, lines) -> None:
    """Make of a docstring what reStructuredText takes for it.

    Fences and indented blocks are as they are, bars and stars are no markup, and a note of where something is from goes
    on over its indented lines.
    """
    told: list[str] = []
    fenced = noted = literal = False
    for line in lines:
        indented, last = line.startswith("    "), told[-1] if told else ""
        if line.startswith("```"):
            fenced = not fenced
            told += ["::", ""] if fenced else [""]
        elif fenced:
            told.append(f"    {line}")
        elif indented and not last.strip() and told and not literal and not _in_section(told):
            literal = True
            told += ["::", "", line]
        elif literal and (indented or not line):
            told.append(line)
        else:
            literal = False
            noted = bool(_NOTE.match(line)) or (noted and indented)
            told.append(_escaped(line.strip() if noted else line))
    lines[:] = told


def _in_section(lines) -> bool:
    """Whether the last line at the margin opens a section, such as Args."""
    at_margin = [line for line in lines if line and not line.startswith(" ")]
    return bool(at_margin) and (at_margin[-1].endswith(":") or at_margin[-1].startswith(">>>"))


def _escaped(line: str) -> str:
    parts = _MARKUP.split(line)
    parts[::2] = [re.sub(r"(?<![\\:])([|*])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [part if part.startswith("``") else f"`{part}`" for part in parts[1::2]]
    return "".join(parts)


def setup(app) -> None:
    """Write what comes from the package, and see to words and sounds."""
    write_commands()
    write_cards()
    app.connect("autodoc-process-docstring", plain_words, priority=100)  # before napoleon
    app.connect("build-finished", keep_sounds)

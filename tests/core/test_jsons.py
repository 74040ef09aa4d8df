"""JSON from outside: whatever is wrong with it is one error, and one line for whoever brought it."""

import json

import pytest

from masktools.core.configs import DEEPEST, parse_json, read_json
from masktools.core.errors import BundleError, ParameterError
from masktools.core.gaps import read_gaps
from masktools.pipeline.hub import load_bundle, save_bundle
from masktools.restoration.regions import read_regions
from tests.tiny import tiny_pipeline

DEEP = {
    "lists": "[" * 100_000,
    "objects": '{"a":' * 100_000,
    "lists that close": "[" * 100_000 + "]" * 100_000,
    "not so deep": "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
    "many digits": "[" + "9" * 5000 + "]",
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_what_goes_too_far_is_no_json(text):
    for form in (text, text.encode()):
        with pytest.raises(json.JSONDecodeError):
            parse_json(form)


def test_what_is_long_but_flat_is_read():
    rows = [{"start_s": number, "tags": ["a", {"b": []}]} for number in range(10_000)]
    assert parse_json(json.dumps(rows)) == rows
    assert parse_json("[" * DEEPEST + "]" * DEEPEST) is not None


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("reader", [read_gaps, read_regions, read_json], ids=lambda reader: reader.__name__)
def test_a_file_of_it_is_refused_in_one_line(reader, text, tmp_path):
    path = tmp_path / "deep.json"
    path.write_text(text)
    with pytest.raises(ParameterError, match=r"deep\.json") as told:
        reader(path)
    assert "\n" not in str(told.value)


def test_a_bundle_with_it_is_altered(tmp_path):
    folder = save_bundle(tiny_pipeline(), tmp_path / "tiny", "A card.")
    for name in ("config.json", "checksums.json"):
        kept = (folder / name).read_text()
        (folder / name).write_text(DEEP["lists"])
        with pytest.raises(BundleError, match=f"{name} is not JSON"):
            load_bundle(folder, "cpu")
        (folder / name).write_text(kept)
    part = folder / "tokenizer.safetensors"
    part.write_bytes((100_000).to_bytes(8, "little") + b"[" * 100_000)
    with pytest.raises(BundleError, match=r"tokenizer\.safetensors is not readable"):
        load_bundle(folder, "cpu", verify=False)

"""The head of a card, as the hub's own library reads it."""

import json
import os
import subprocess
import sys

import huggingface_hub
import pytest

from masktools.cli.main import main
from masktools.core.errors import ParameterError
from masktools.evaluation.report import Figure, Report
from masktools.pipeline import hub
from masktools.pipeline.bundles import (
    files_for_hub,
    has_head,
    list_models,
    renew_card,
    results_of,
    verify_files,
    with_head,
    without_head,
)
from tests.house.source import ROOT
from tests.tiny import tiny_pipeline

BODY = """# Tiny

## Training data

MIT and CC0-1.0 things.

## Licence

The weights are under CC-BY-SA-4.0; the code MIT.
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return hub.save_bundle(tiny_pipeline(), tmp_path_factory.mktemp("cards") / "tiny", BODY)


@pytest.fixture
def report(tmp_path):
    figures = (
        Figure("all, real", "default", "third_octave_db", 5.25, 5.0, 5.5, 48, None, "gap 1000 ms"),
        Figure("all, real", "copy", "third_octave_db", 6.0, None, None, 48, None, "gap 1000 ms"),
        Figure("music", "default", "third_octave_db", 4.0, None, None, 16, None, "gap 1000 ms"),
        Figure("all, real", "default", "fad", 0.5, None, None, 48, "mel statistics", "gap 1000 ms", "set"),
    )
    path = tmp_path / "report.json"
    Report("Gaps", {"protocol": "inpaint"}, figures).write(path)
    return path


def test_the_hub_reads_licence_library_task_and_tags(folder):
    card = huggingface_hub.ModelCard(with_head(folder))
    assert card.data.license == "cc-by-sa-4.0"
    assert (card.data.library_name, card.data.pipeline_tag) == ("masktools", "audio-to-audio")
    assert {"audio", "audio-inpainting", "specmaskgit", "feature-extraction"} <= set(card.data.tags)
    assert card.text.strip() == BODY.strip()
    assert card.data.eval_results is None


def test_the_hub_reads_what_was_measured_of_the_model_alone(folder, report):
    card = huggingface_hub.ModelCard(with_head(folder, "mit", ["someone/music"], [report]))
    assert (card.data.license, card.data.datasets) == ("mit", ["someone/music"])
    found = {(one.metric_name, one.metric_value, one.task_name) for one in card.data.eval_results}
    assert found == {
        ("third_octave_db, gap 1000 ms", 5.25, "inpaint"),
        ("fad, gap 1000 ms, mel statistics", 0.5, "inpaint"),
    }
    assert card.data.model_name == "tiny"


def test_each_figure_is_said_once_as_the_model_is_used_by_default():
    figure = {"group": "all, real", "metric": "third_octave_db", "case": "1000 ms", "embedder": None}
    figures = [figure | {"method": method, "value": value} for method, value in (("model", 9.0), ("default", 5.0))]
    (result,) = results_of({"settings": {"protocol": "inpaint"}, "figures": figures})
    assert [metric["value"] for metric in result["metrics"]] == [5.0]


def test_a_bundle_is_born_with_a_head(folder):
    card = (folder / "MODEL_CARD.md").read_text()
    assert has_head(card)
    assert without_head(card) == BODY
    assert with_head(folder) == card
    verify_files(folder)


def test_a_head_keeps_what_it_says_but_for_what_is_given(tmp_path, report):
    own = "---\n# by hand\nlicense: mit\nlanguage:\n- en\ntags: [a, b]\n---\n" + BODY
    folder = hub.save_bundle(tiny_pipeline(), tmp_path / "own", own)
    assert not has_head(BODY)
    assert with_head(folder) == own
    card = huggingface_hub.ModelCard(with_head(folder, "cc0-1.0", reports=[report]))
    assert (card.data.license, card.data.language, card.data.tags) == ("cc0-1.0", ["en"], ["a", "b"])
    assert len(card.data.eval_results) == 2
    assert card.text.strip() == BODY.strip()


def test_a_card_is_renewed_and_its_bundle_stays_whole(tmp_path, report):
    folder = hub.save_bundle(tiny_pipeline(), tmp_path / "tiny", BODY)
    renew_card(folder, reports=[report])
    renew_card(folder, reports=[report])
    verify_files(folder)
    card = huggingface_hub.ModelCard.load(folder / "MODEL_CARD.md")
    assert len(card.data.eval_results) == 2
    renew_card(folder, "# Another\n")
    verify_files(folder)
    assert without_head((folder / "MODEL_CARD.md").read_text()) == "# Another\n"
    assert huggingface_hub.ModelCard.load(folder / "MODEL_CARD.md").data.eval_results is None


def test_the_tool_writes_credits_and_figures_into_the_card_of_a_bundle(tmp_path, report):
    folder = hub.save_bundle(tiny_pipeline(), tmp_path / "tiny", BODY)
    (tmp_path / "head.md").write_text("# Tiny\n\n{n} recordings, {hours} hours.\n")
    (tmp_path / "m.csv").write_text(
        "path,split,kind,licence,author,duration_s\na.wav,train,music,CC-BY-4.0,Somebody,3600\nb.wav,test,music,MIT,Nobody,9\n"
    )
    words = [tmp_path / "head.md", tmp_path / "m.csv", "--into", folder, "--report", report]
    command = [sys.executable, ROOT / "docs" / "make_card.py", *words]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    verify_files(folder)
    card = huggingface_hub.ModelCard.load(folder / "MODEL_CARD.md")
    assert "1 recordings, 1.0 hours." in card.text
    assert "- CC-BY-4.0, Somebody: a.wav: 1 excerpt" in card.text
    assert "Nobody" not in card.text
    assert len(card.data.eval_results) == 2


def test_transformers_finds_what_its_feature_extractor_asks_for(folder):
    files = files_for_hub(folder)
    assert json.loads(files["preprocessor_config.json"])["sampling_rate"] == 22_050
    assert set(files) == {"README.md", "preprocessor_config.json"}


@pytest.mark.parametrize("content", [{}, [], {"settings": {"protocol": "x"}, "figures": []}])
def test_what_is_no_report_of_a_model_is_refused(content):
    with pytest.raises(ParameterError, match="report.json must be a report of `masktools evaluate`"):
        results_of(content, "report.json")


def test_the_card_can_be_seen_before_it_is_pushed(folder, report, capsys):
    assert main(["push", str(folder), "someone/tiny", "--report", str(report), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert huggingface_hub.ModelCard(shown).data.eval_results[0].metric_value == 5.25


@pytest.mark.parametrize("name", list_models())
def test_the_hub_reads_the_cards_of_the_models_in_the_package(name, capsys):
    path = list_models()[name] / "MODEL_CARD.md"
    card = huggingface_hub.ModelCard.load(path)
    assert main(["push", name, f"someone/{name}", "--dry-run"]) == 0
    assert capsys.readouterr().out == path.read_text(), "it goes to the hub as it is"
    assert card.data.library_name == "masktools"
    assert card.data.license
    assert card.data.pipeline_tag in ("audio-to-audio", "text-to-audio")
    assert "audio" in card.data.tags
    assert card.text.strip().startswith(f"# {name}\n")

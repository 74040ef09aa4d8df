import json
import shutil
import subprocess
import sys

import pytest

from probes.run import main
from tests.house.source import ROOT


def run(miniature, tiny_bundle, tmp_path, *options):
    """Probe the miniature with the tiny model, quickly, and return the exit code."""
    quick = ["--seeds", "1", "--max-epochs", "2", "--resamples", "10", "--cache", str(tmp_path / "cache")]
    model = ["--model", str(tiny_bundle), "--threads", "1"]
    return main(["mtat", str(miniature[0]), *quick, *model, *options])


def test_one_command_goes_from_the_data_set_to_the_table(miniature, tiny_bundle, tmp_path, capsys):
    json_file, markdown = tmp_path / "r.json", tmp_path / "t.md"
    code = run(miniature, tiny_bundle, tmp_path, "--seeds", "2", "--json", str(json_file), "--markdown", str(markdown))
    out, err = capsys.readouterr()
    assert code == 0
    assert "| tiny, learned prefix | paper |" in out
    assert "| SpecMaskGIT (the paper) | 91.5 | 40.5 |" in out
    assert "left out" not in err
    told = json.loads(json_file.read_text())
    (result,) = told["results"]
    assert (result["n_train"], result["n_valid"], result["n_test"]) == (50, 15, 25)
    assert {one["layer"] for one in result["sweep"]} == {"0", "1", "2"}
    assert len(result["scores"]["roc_auc"]["by_seed"]) == 2
    assert result["protocol"]["vectors"]["prefix"] == "learned"
    assert len(told["published_percent"]) == 6
    assert told["run"]["command"].startswith("python -m probes.run mtat ")
    assert "## Protocol" in markdown.read_text()


def test_rows_presets_and_windows_stand_side_by_side(miniature, tiny_bundle, tmp_path, capsys):
    options = ["--rows", "learned,condition,mel", "--preset", "paper,marble", "--trainings", "1", "--layers", "1,-1"]
    assert run(miniature, tiny_bundle, tmp_path, *options, "--windows", "prediction") == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| tiny", "| mean mel"))]
    results = [row for row in rows if " of " in row]
    assert [row.split(" | ")[:2] for row in results] == [
        [name, preset]
        for name in ("| tiny, learned prefix", "| tiny, condition prefix", "| mean mel spectrogram")
        for preset in ("paper", "marble")
    ]


def test_broken_and_missing_files_are_left_out_listed_and_told_by_the_exit_code(
    miniature, tiny_bundle, tmp_path, capsys
):
    root = tmp_path / "damaged"
    shutil.copytree(miniature[0], root)
    files = sorted(path for path in (root / "d").iterdir() if path.stat().st_size > 1000)
    files[0].write_bytes(b"")
    files[1].write_bytes(b"no mp3 at all" * 50)
    files[2].unlink()
    code = run((root,), tiny_bundle, tmp_path, "--split", "full", "--layers", "1", "--json", str(tmp_path / "r.json"))
    err = capsys.readouterr().err
    assert code == 3
    assert err.count("probes: left out: ") == 3
    (result,) = json.loads((tmp_path / "r.json").read_text())["results"]
    assert (len(result["left_out"]), result["n_test"]) == (3, 27)
    shutil.copy(miniature[0] / "d" / files[2].name, files[2])  # it is there again
    run((root,), tiny_bundle, tmp_path, "--split", "full", "--layers", "1")
    assert capsys.readouterr().err.count("probes: left out: ") == 2


def test_labels_that_cannot_be_scored_are_named_and_strict_fails(miniature, tiny_bundle, tmp_path, capsys):
    code = run(miniature, tiny_bundle, tmp_path, "--layers", "1", "--strict")
    err = capsys.readouterr().err
    assert code == 4
    assert "probes: warning: labels that cannot be scored, and count in no average: " in err


def test_shuffled_labels_are_marked_as_a_check(miniature, tiny_bundle, tmp_path):
    markdown = tmp_path / "t.md"
    run(miniature, tiny_bundle, tmp_path, "--layers", "1", "--shuffle-labels", "--markdown", str(markdown))
    assert "labels shuffled: a check, not a result" in markdown.read_text()


def test_verify_says_what_there_is_and_what_is_missing(miniature, tmp_path, capsys):
    assert main(["mtat", str(miniature[0]), "--verify"]) == 0
    out = capsys.readouterr().out
    assert "usable, but not what was published" in out
    for name in ("annotations_final.csv", "clip_info_final.csv"):
        shutil.copy(miniature[0] / name, tmp_path)
    assert main(["mtat", str(tmp_path), "--verify"]) == 3
    assert "missing audio folders: 0 of 16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["mtat"], "the following arguments are required: ROOT"),
        (["mtat", "ROOT", "--layers", "first"], "must be all, or numbers with commas, got 'first'"),
        (["mtat", "ROOT", "--preset", "papre"], "unknown preset 'papre'"),
        (["mtat", "ROOT", "--rows", "learnt"], "unknown row 'learnt'"),
        (["mtat", "ROOT", "--rows", ","], "at least one row must be named"),
        (["mtat", "ROOT", "--windows", "both"], "unknown windows 'both'"),
        (["mtat", "ROOT", "--layers", "7"], r"layers must lie in [-3, 2], got 7"),
        (["mtat", "ROOT", "--model", "gone"], "gone"),
        (["mtat", "nowhere"], "annotations_final.csv must be there"),
        (["mtat", "ROOT", "--json", "nowhere/r.json"], "the output's folder must exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(miniature, tiny_bundle, tmp_path, capsys, options, message):
    options = [str(miniature[0]) if word == "ROOT" else word for word in options]
    model = [] if "--model" in options else ["--model", str(tiny_bundle)]
    rest = ["--cache", str(tmp_path), *model] if len(options) > 1 else []
    assert main([*options, *rest]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.startswith("probes: error: ")
    assert err.count("\n") == 1
    assert not out


def test_help_names_every_data_set_without_loading_torch():
    code = "import sys; from probes.run import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "mtat" in done.stdout

"""`masktools repair`: regions of time and frequency are replaced, and the file is otherwise what it was."""

import json

import numpy as np
import pytest
import soundfile

from masktools.cli.edit import said_of_regions
from tests.cli.conftest import RATE

REGION = "0.4-0.8,2000-6000"
QUICK = ("--steps", 2)


def read(path):
    return soundfile.read(path, dtype="int32", always_2d=True)


@pytest.mark.parametrize("method", ["interpolate", "model"])
def test_only_the_time_of_the_region_changes(command, stereo, tmp_path, method):
    out = tmp_path / "out.flac"
    code, told, errors = command("repair", stereo, "-o", out, "--region", REGION, "--method", method, *QUICK)
    assert (code, errors) == (0, "")
    assert told.startswith(f"{out}: 0.400-0.800 s, 2000-6000 Hz from ")
    assert f"({method})" in told
    (before, rate), (after, same) = read(stereo), read(out)
    assert (rate, soundfile.info(out).subtype) == (same, "PCM_24")
    inside = slice(round(0.4 * rate), round(0.8 * rate))
    assert np.array_equal(np.delete(before, np.r_[inside], 0), np.delete(after, np.r_[inside], 0))
    assert not np.array_equal(before[inside], after[inside])


def test_a_wave_file_is_patched(command, wav, tmp_path):
    out = tmp_path / "out.wav"
    assert command("repair", wav, "-o", out, "--region", REGION)[0] == 0
    before, after = wav.read_bytes(), out.read_bytes()
    header = len(before) - 2 * round(1.5 * RATE)
    first, last = (header + 2 * round(share * RATE) for share in (0.4, 0.8))
    assert before[:first] == after[:first]
    assert before[last:] == after[last:]


def test_regions_come_from_text_labels_and_json(command, wav, tmp_path):
    labels, listing = tmp_path / "labels.txt", tmp_path / "regions.json"
    labels.write_text("0.4\t0.8\thum\n\\\t2000\t6000\n1\t1.2\t\n\\\t500\t900\n")
    box = {"start_s": 0.4, "end_s": 0.8, "low_hz": 2000, "high_hz": 6000}
    listing.write_text(json.dumps([box, {"polygon": [[1, 500], [1.2, 500], [1.2, 900], [1, 900]]}]))
    results = []
    for number, words in enumerate(
        (
            ("--region", f"{REGION};1-1.2,500-900"),
            ("--region", REGION, "--region", "1-1.2,500-900"),
            ("--regions", labels),
            ("--regions", listing),
        )
    ):
        out = tmp_path / f"{number}.wav"
        assert command("repair", wav, "-o", out, *words)[0] == 0
        results.append(out.read_bytes())
    assert len(set(results)) == 1


def test_the_report_says_what_was_done(command, wav, tmp_path):
    report = tmp_path / "report.json"
    words = ("--prompt", "rain", "--seed", 3, "--report", report, "--texture", "model", *QUICK)
    assert command("repair", wav, "-o", tmp_path / "out.wav", "--region", REGION, *words)[0] == 0
    said = json.loads(report.read_text())
    assert {"job": "repair", "seed": 3, "prompted": True, "n_steps": 2, "input": str(wav)}.items() <= said.items()
    assert said["regions"][0]["method"] == "model"


def test_an_interpolation_needs_no_model(command, wav, tmp_path):
    assert command("repair", wav, "-o", tmp_path / "out.wav", "--region", REGION, model=tmp_path / "none")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "the regions must be named by --region or by --regions FILE, got neither"),
        (("--region", REGION, "--regions", "a.txt"), "got both"),
        (("--region", "1-2"), "regions must be written start-end,low-high"),
        (("--region", "1-2,100-200"), "a region must lie within the recording, 0-1.5 s, got 1-2 s"),
        (("--region", "0-1,100-20000"), "within the band of the recording, 0-11025 Hz"),
        (("--regions", "none.txt"), "none.txt cannot be read as a list of regions"),
    ],
)
def test_what_is_no_region_is_one_line(command, wav, tmp_path, words, said):
    code, told, errors = command("repair", wav, "-o", tmp_path / "out.wav", *words)
    assert (code, told) == (2, "")
    assert said in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out.wav").exists()


def test_samples_beyond_full_scale_are_counted(command, tmp_path):
    loud = np.clip(1.2 * np.sign(np.sin(np.arange(RATE) * 0.05)), -1, 1)
    soundfile.write(tmp_path / "loud.wav", loud, RATE)
    report = tmp_path / "report.json"
    words = ("--region", "0.2-0.8,20-3000", "--method", "interpolate", "--report", report)
    code, _, errors = command("repair", tmp_path / "loud.wav", "-o", tmp_path / "out.wav", *words)
    assert code == 0
    assert "lay beyond full scale and were clipped" in errors
    assert "clipped" in json.loads(report.read_text())["warnings"][0]


def test_several_regions_are_listed_one_after_the_other():
    one = {"start_s": 0, "end_s": 1, "low_hz": 1, "high_hz": 2, "before_db": 1, "after_db": 2, "method": "model"}
    assert said_of_regions([one, one]).count("; ") == 1


def test_a_region_that_is_the_whole_recording_is_refused_and_nothing_is_written(command, wav, tmp_path):
    out = tmp_path / "out.wav"
    code, told, errors = command("repair", wav, "-o", out, "--region", f"0-1.5,0-{RATE // 2}")
    assert (code, told) == (2, "")
    assert errors.count("\n") == 1
    assert "leaves nothing to repair it from" in errors
    assert not list(tmp_path.glob("out*"))

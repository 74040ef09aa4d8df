"""The demonstration as a whole, with a model that only pretends and with a real one that has learned nothing."""

import json
import re
from types import SimpleNamespace
from unittest.mock import create_autospec

import numpy as np
import pytest
import torch

from masktools import io
from masktools.cli.main import main
from masktools.core.errors import AudioError, ParameterError
from masktools.demo.recordings import Recording
from masktools.demo.run import run_demo
from masktools.mel import MelConfig
from masktools.mel.spectrogram import TokenGrid
from masktools.model import Model
from masktools.pipeline import JOBS, Walk
from tests.tiny import tiny_pipeline

RATE = 22_050


def play():
    return np.random.default_rng(0).normal(0, 0.1, (2, 3 * RATE)).astype(np.float32), RATE


RECORDINGS = (Recording("hiss", "A hiss", play, ((1.0, 1.4),), 4000.0),)


class Pretender:
    """Fills with noise, adds noise, generates noise, and finds every recording as loud as it is."""

    name, threads = "pretender", 2

    def __init__(self):
        grid = TokenGrid.from_mel(MelConfig(f_max=11_025))
        self.pipeline = create_autospec(Walk, instance=True, jobs=frozenset(JOBS), conditioner=None, window_cols=53)
        self.pipeline.grid, self.pipeline.device = grid, torch.device("cpu")

    def noise(self, shape, seed):
        return np.random.default_rng(seed + 1).normal(0, 0.1, shape).astype(np.float32)

    def inpaint(self, samples, sample_rate, gaps, seed):
        assert samples.shape == (3 * RATE, 2)
        filled = samples.copy()
        for gap in gaps:
            start, stop = (round(edge_s * sample_rate) for edge_s in gap[:2])
            assert not samples[start:stop].any()
            filled[start:stop] = self.noise((stop - start, 2), seed)
        return SimpleNamespace(samples=filled)

    def bwe(self, samples, sample_rate, cutoff_hz, seed):
        return SimpleNamespace(samples=samples + 0.1 * self.noise(samples.shape, seed))

    def generate(self, prompt, n, seconds, seed):
        made = [self.noise(round(seconds * RATE), seed + number) for number in range(n)]
        return [SimpleNamespace(samples=wave, sample_rate=RATE) for wave in made]

    def embed(self, samples, sample_rate, frames):
        assert not frames
        return SimpleNamespace(clip=np.array([np.sqrt(np.mean(samples**2)), samples.ndim, 1.0], np.float32))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, lines = tmp_path_factory.mktemp("demo") / "new" / "folder", []
    report = run_demo(folder, Pretender(), 3, lines.append, RECORDINGS, ("Rain.", "A tune."))
    return folder, report, lines


def test_the_page_plays_files_that_are_there(made):
    folder, _, _ = made
    files = re.findall(r'src="([^"]+\.wav)"', (folder / "index.html").read_text(encoding="utf-8"))
    assert len(files) == 15
    others = {"index.html", "report.json", "hiss-comparison.html"}
    assert {path.name for path in folder.iterdir()} == {*files, *others}
    for name in files:
        audio = io.read(folder / name)
        assert audio.sample_rate == RATE
        assert audio.n_channels == (1 if name.startswith("generated") else 2)


def test_damaged_and_restored_versions_are_what_they_are_called(made):
    folder, _, _ = made
    original, gaps, filled, dull = (
        io.read(folder / f"hiss-{kind}.wav").samples for kind in ("original", "gaps", "filled", "low-passed")
    )
    gap = np.s_[:, RATE : round(1.4 * RATE)]
    assert not gaps[gap].any()
    assert np.abs(filled[gap]).max() > 0.1
    np.testing.assert_array_equal(np.delete(filled, gap[1], 1), np.delete(original, gap[1], 1))
    assert np.std(dull) < 0.7 * np.std(original)


def test_what_was_lost_is_found_and_nothing_else_changed_by_filling_it(made):
    _, report, lines = made
    (row,) = report["restored"]
    assert row["found_s"] == [pytest.approx(span, abs=1 / RATE) for span in row["lost_s"]]
    assert row["found_hz"] == pytest.approx(4_000, rel=0.05)
    assert row["n_changed"] == 0
    assert "Looked through: 2 of 2 gaps found to the millisecond, and 1 of 1 cutoffs within 5 %." in lines


def test_the_report_holds_what_was_measured(made):
    folder, report, _ = made
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == report
    assert report["model"] == "pretender"
    assert [row["method"] for row in report["gaps"]] == ["left empty", "best copy", "masktools"]
    assert [row["method"] for row in report["bands"]] == ["left empty", "copied up", "masktools"]
    assert report["gaps"][2]["lsd_db"] == pytest.approx(8, abs=1)
    assert report["gaps"][2]["n_changed"] == 0
    assert [row["prompt"] for row in report["sounds"]] == ["Rain.", "Rain.", "A tune.", "A tune."]
    assert [row["job"] for row in report["speed"]] == ["inpaint", "bwe", "restore", "generate", "embed"]
    # 0.4 s span 3 columns of 5 rows, for 2 channels; from 4 kHz on there are 2 rows of 17 columns.
    assert [row["n_tokens"] for row in report["speed"][:4]] == [30, 68, 0, 4 * 265]
    assert np.shape(report["cosines"]) == (6, 6)


def test_one_is_told_what_happens_what_was_measured_and_where_the_page_is(made):
    folder, _, lines = made
    assert lines[:2] == ["filling the gaps of hiss", "extending hiss above 4000 Hz"]
    assert any(line.startswith("Gaps: closer to the original than silence in 1 of 1") for line in lines)
    assert str(folder / "index.html") in lines[-1]


def test_it_can_be_made_again_in_the_same_place(made, tmp_path):
    folder, report, _ = made
    again = run_demo(folder, Pretender(), 3, recordings=RECORDINGS, prompts=("Rain.",))
    assert again["gaps"] == report["gaps"]
    assert not [path for path in folder.iterdir() if "part" in path.name]


def test_a_real_model_does_all_four_jobs(tmp_path):
    report = run_demo(tmp_path, Model(tiny_pipeline(n_cols=27)), recordings=RECORDINGS, prompts=("rain",))
    assert report["gaps"][2]["n_changed"] == 0
    assert report["bands"][2]["lsd_low_db"] < 0.1
    assert set(report["sounds"][0]["agreement"]) == {"rain"}
    assert all(row["wall_s"] > 0 for row in report["speed"])


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(ParameterError, match="taken must be a folder to write to"):
        run_demo(tmp_path / "taken", Pretender())


def test_nothing_to_do_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="at least one recording and one prompt"):
        run_demo(tmp_path, Pretender(), recordings=())


def test_a_page_that_cannot_be_finished_leaves_no_part_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    from masktools.demo.stage import Stage

    with pytest.raises(AudioError, match="cannot be written: No space left"):
        Stage(tmp_path, Pretender(), 0, print).keep_text("index.html", "text")
    assert not list(tmp_path.iterdir())


def test_on_the_command_line_an_unknown_model_is_one_line_and_leaves_no_folder(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "new"), "--model", "maxi"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("masktools: error: ")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "new").exists()

"""Restoring many files: what is found is repaired, what fails is named, what was killed goes on."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import RATE, recording

GAP = slice(8_000, 8_300)
REPORT = '"report": '  # in the journal: of a recording that is finished


def damaged(seconds=1.5, sample_rate=RATE, n_channels=1):
    samples = recording(seconds, sample_rate, n_channels)
    samples[GAP] = 0.0
    return samples


@pytest.fixture
def folder(tmp_path):
    """A folder with three damaged recordings and a whole one."""
    for name in ("a.wav", "b.flac", "deep/c.wav"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, damaged(), RATE)
    soundfile.write(tmp_path / "in" / "whole.wav", recording(1.0), RATE)
    return tmp_path / "in"


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def read(path):
    return soundfile.read(path, dtype="int16")[0]


def outside(samples):
    return np.delete(samples, np.r_[GAP], axis=0)


def test_gaps_are_found_and_filled_and_nothing_else_is_changed(command, folder, tmp_path):
    code, told, errors = command("inpaint", folder, "-o", tmp_path / "out", "--recursive", "--method", "janssen")
    assert (code, errors) == (0, "")
    assert [name for name in names(tmp_path / "out") if "journal" not in name] == [
        "a.wav",
        "b.flac",
        "deep/c.wav",
        "whole.wav",
    ]
    assert "a.wav: 1 gap filled, 0.014 s in all" in told
    assert "whole.wav: no gaps found: copied as it is" in told
    assert "4 recordings: 3 restored, 1 without anything to repair" in told
    for name in ("a.wav", "b.flac", "deep/c.wav"):
        before, after = read(folder / name), read(tmp_path / "out" / name)
        assert np.array_equal(outside(before), outside(after))
        assert after[GAP].any()
    assert (tmp_path / "out" / "whole.wav").read_bytes() == (folder / "whole.wav").read_bytes()


def test_a_file_that_is_broken_is_named_and_the_others_are_restored(command, folder, tmp_path):
    (folder / "b.flac").write_bytes(b"no music at all")
    report = tmp_path / "report.json"
    code, told, errors = command(
        "inpaint", folder, "-o", tmp_path / "out", "--method", "janssen", "--report", report, "--jobs", 1
    )
    assert code == 3
    assert errors.startswith("masktools: error: ")
    assert "b.flac" in errors
    assert errors.count("\n") == 1
    assert "3 recordings: 1 restored, 1 without anything to repair, 1 failed" in told
    files = {entry["input"].rpartition("/")[2]: entry for entry in json.loads(report.read_text())["files"]}
    assert files["b.flac"]["status"] == "failed"
    assert "cannot be read as audio" in files["b.flac"]["error"]
    assert files["a.wav"]["status"] == "restored"
    assert files["a.wav"]["gaps"][0]["start_s"] == pytest.approx(8_000 / RATE, abs=1e-3)
    assert not list((tmp_path / "out").rglob("*.part"))


def test_several_processes_make_the_same_files_as_one(command, folder, tmp_path):
    for n_jobs in (1, 2):
        words = (
            "inpaint",
            folder,
            "-o",
            tmp_path / f"out{n_jobs}",
            "--recursive",
            "--method",
            "burg",
            "--jobs",
            n_jobs,
        )
        assert command(*words)[0] == 0
    for name in ("a.wav", "b.flac", "deep/c.wav", "whole.wav"):
        assert (tmp_path / "out1" / name).read_bytes() == (tmp_path / "out2" / name).read_bytes()


def test_results_that_are_there_are_not_replaced_unasked(command, folder, tmp_path):
    words = ("inpaint", folder, "-o", tmp_path / "out", "--method", "linear")
    assert command(*words)[0] == 0
    code, _, errors = command(*words)
    assert code == 2
    assert "3 of 3 results are there already" in errors
    assert "--resume" in errors
    assert "--overwrite" in errors
    assert command(*words, "--overwrite")[0] == 0


def test_a_run_goes_on_with_what_is_not_finished_or_no_longer_whole(command, folder, tmp_path):
    words = ("inpaint", folder, "-o", tmp_path / "out", "--method", "linear", "--resume")
    assert command(*words)[0] == 0
    assert "3 recordings: 3 finished before" in command(*words)[1]
    whole = (tmp_path / "out" / "a.wav").read_bytes()
    (tmp_path / "out" / "a.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "out" / ".b.flac.12345678.part").write_bytes(b"half")
    (tmp_path / "out" / "b.flac").unlink()
    assert "3 recordings: 2 restored, 1 finished before" in command(*words)[1]
    assert (tmp_path / "out" / "a.wav").read_bytes() == whole
    assert not list((tmp_path / "out").glob("*.part")) + list((tmp_path / "out").glob(".*.part"))
    assert "3 recordings: 2 restored, 1 without" in command(*words, "--seed", "1")[1]


def test_a_run_that_is_killed_goes_on_where_it_was(command, tiny, tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(8):
        soundfile.write(tmp_path / "in" / f"{n}.wav", damaged(3.0, 44_100, 2), 44_100)
    out = tmp_path / "out"
    words = ("inpaint", str(tmp_path / "in"), "--method", "janssen", "-o", str(out), "--resume")
    outside = [sys.executable, "-m", "masktools", *words, "--model", str(tiny), "--device", "cpu"]
    process = subprocess.Popen(outside, stdout=subprocess.DEVNULL)
    journal = out / ".masktools-journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.is_file() and journal.read_text().count(REPORT) >= 3) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    n_finished = journal.read_text().count(REPORT)
    assert n_finished >= 3
    told = command(*words)[1]
    assert f"{n_finished} finished before" in told or n_finished == 8
    assert [name for name in names(out) if "journal" not in name] == [f"{n}.wav" for n in range(8)]
    assert command(*words[:5], tmp_path / "again")[0] == 0
    for n in range(8):
        assert (out / f"{n}.wav").read_bytes() == (tmp_path / "again" / f"{n}.wav").read_bytes()


def test_without_an_output_results_lie_beside_their_sources(command, folder):
    assert command("inpaint", folder / "a.wav", "--method", "linear")[0] == 0
    assert (folder / "a_inpainted.wav").is_file()
    assert command("inpaint", folder / "a.wav", "--method", "linear", "--suffix", "-2", "--format", "flac")[0] == 0
    assert (folder / "a-2.flac").is_file()


def test_a_dry_run_says_what_it_would_do_and_does_nothing(command, folder, tmp_path):
    before = names(tmp_path)
    code, told, _ = command("inpaint", folder, "-o", tmp_path / "out", "--dry-run")
    assert code == 0
    assert "a.wav: 1 gap to fill, 0.014 s in all: 0.363-0.376" in told
    assert "3 recordings: 2 to be restored, 1 without anything to repair" in told
    assert names(tmp_path) == before


def test_strict_runs_say_that_there_was_nothing_to_repair(command, folder, tmp_path):
    words = ("inpaint", folder / "whole.wav", "-o", tmp_path / "out.wav")
    assert command(*words)[0] == 0
    assert command(*words, "--strict", "--overwrite")[0] == 4
    assert (tmp_path / "out.wav").read_bytes() == (folder / "whole.wav").read_bytes()


def test_gaps_come_from_labels_and_from_what_probe_prints(command, folder, tmp_path):
    (tmp_path / "labels.txt").write_text("0.5\t0.51\tclick\n1.0\t1.02\tdrop\n")
    code, told, _ = command(
        "inpaint", folder / "a.wav", "-o", tmp_path / "l.wav", "--gaps", tmp_path / "labels.txt", "--method", "burg"
    )
    assert (code, "2 gaps filled, 0.030 s in all" in told) == (0, True)
    code, found, _ = command("probe", folder / "a.wav", "--json", model=None)
    (tmp_path / "gaps.json").write_text(found)
    words = (
        "inpaint",
        folder / "a.wav",
        "-o",
        tmp_path / "j.wav",
        "--gaps",
        tmp_path / "gaps.json",
        "--method",
        "burg",
    )
    assert "1 gap filled, 0.014 s in all" in command(*words)[1]


def test_restoring_is_filling_and_then_extending(command, tmp_path):
    from scipy.signal import firwin, oaconvolve

    noise = np.random.default_rng(0).normal(0, 0.1, 3 * 44_100)
    dull = oaconvolve(noise, firwin(2001, 3_000, fs=44_100), mode="same")
    dull[GAP] = 0.0
    soundfile.write(tmp_path / "dull.wav", dull, 44_100, "PCM_24")
    words = ("restore", tmp_path / "dull.wav", "-o", tmp_path / "out.wav", "--report", tmp_path / "r.json")
    code, told, _ = command(*words, "--steps", "2")
    assert code == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["cutoff_hz"] == pytest.approx(3_000, rel=0.05)
    assert len(report["gaps"]) == 1
    assert "1 gap filled, 0.007 s in all; extended above" in told
    after, rate = soundfile.read(tmp_path / "out.wav")
    assert (len(after), rate, soundfile.info(tmp_path / "out.wav").subtype) == (len(dull), 44_100, "PCM_24")
    above = np.abs(np.fft.rfft(after))[(4_000 * 3) : (10_000 * 3)]
    assert above.mean() > 10 * np.abs(np.fft.rfft(dull))[(4_000 * 3) : (10_000 * 3)].mean()


def test_a_model_that_extends_no_bandwidth_fills_the_gaps_and_says_so(command, tmp_path):
    from scipy.signal import firwin, oaconvolve

    from masktools.pipeline import hub
    from tests.pipeline.streams.small import small_walk

    model = hub.save_bundle(small_walk(), tmp_path / "streams", "Random weights, for tests.")
    noise = np.random.default_rng(0).normal(0, 0.1, RATE * 2)
    dull = oaconvolve(noise, firwin(1001, 3_000, fs=RATE), mode="same")
    dull[GAP] = 0.0
    soundfile.write(tmp_path / "dull.wav", dull, RATE)
    words = (tmp_path / "dull.wav", "-o", tmp_path / "out.wav")
    code, told, _ = command("restore", *words, "--method", "model", model=model)
    assert code == 0
    assert "1 gap filled" in told
    assert "not extended: model 'streams' cannot extend the bandwidth (bwe)" in told
    assert np.array_equal(outside(read(tmp_path / "out.wav")), outside(read(tmp_path / "dull.wav")))
    assert np.abs(read(tmp_path / "out.wav")[GAP]).max() > 0
    for asked in (("bwe",), ("restore", "--cutoff", "3000")):
        code, _, errors = command(asked[0], *words, "--overwrite", *asked[1:], model=model)
        assert code == 2
        assert "cannot extend the bandwidth (bwe): the rows of its tokens are no bands" in errors


def test_a_recording_with_its_whole_band_is_copied_with_the_reason(command, wav, tmp_path):
    code, told, _ = command("bwe", wav, "-o", tmp_path / "out.wav")
    assert code == 0
    assert "not extended: no edge was found; --cutoff HZ names one; copied as it is" in told
    assert (tmp_path / "out.wav").read_bytes() == wav.read_bytes()


def test_progress_can_be_read_by_programs(command, folder, tmp_path):
    words = ("inpaint", folder, "-o", tmp_path / "out", "--method", "linear", "--progress", "json")
    states = [json.loads(line) for line in command(*words)[2].splitlines()]
    assert states[-1]["files_done"] == states[-1]["files"] == 3
    assert {state["file"].rpartition("/")[2] for state in states} == {"a.wav", "b.flac", "whole.wav"}

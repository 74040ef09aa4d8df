"""Whenever an extraction is killed, going on with it gives what an undisturbed one does, byte for byte."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import RATE, random_pipeline, recording
from tests.extraction.fakes import contents
from tests.house.source import ROOT


@pytest.mark.parametrize(
    ("name", "stride"),
    [("a.npz", 5), ("a.npy", 7), ("a.h5", 7), ("a.parquet", 15), ("a", 61)],
    ids=lambda value: str(value),
)
def test_killed_anywhere_and_gone_on_with_it_is_byte_for_byte_the_same(tmp_path, name, stride):
    pytest.importorskip("h5py")
    pytest.importorskip("pyarrow")
    command = [sys.executable, "-m", "tests.extraction.fakes", name, str(tmp_path), str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 2  # times that it was killed


def test_the_command_itself_goes_on_where_it_was_killed(tmp_path):
    from masktools.cli.main import main
    from masktools.pipeline import hub

    folder, model = tmp_path / "in", hub.save_bundle(random_pipeline(), tmp_path / "tiny", "Random weights, for tests.")
    folder.mkdir()
    for number in range(70):
        soundfile.write(folder / f"{number:03d}.wav", recording(0.3 + number % 5 / 4), RATE)
    (folder / "013.wav").write_bytes(b"")
    words = ["embed", str(folder), "--model", str(model), "--device", "cpu", "--threads", "1", "--frames", "-o"]
    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    parts = tmp_path / "killed" / "a.npz.parts"
    command = [sys.executable, "-m", "masktools", *words, str(tmp_path / "killed" / "a.npz")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while running.poll() is None and not list(parts.glob("part-*.npz")):
            time.sleep(0.002)
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    assert list(parts.glob("part-*.npz"))
    assert not (tmp_path / "killed" / "a.npz").exists()
    assert main([*words, str(tmp_path / "killed" / "a.npz"), "--resume"]) == 3
    assert main([*words, str(tmp_path / "whole" / "a.npz")]) == 3
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    with np.load(tmp_path / "whole" / "a.npz") as stored:
        assert len(stored["keys"]) == 69

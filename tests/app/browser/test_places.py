"""Files that are named on the command line: a folder is worked through, and a recording is saved where it is."""

import numpy as np
import pytest
import soundfile

from tests.app.browser.conftest import GAPS, RATE, App, made_music, until
from tests.app.browser.test_work import STATES, press

N_FILES, N_GAPS = 5, 12
WORKED = "document.querySelector('#worked')?.innerText ?? ''"


def tape_of_many_gaps(seed: int) -> np.ndarray:
    """Return a recording that takes a while: gaps of 50 ms in noisy tones."""
    wave = made_music(5.0) + np.random.default_rng(seed).normal(0, 0.003, (round(5.0 * RATE), 2))
    for start in np.linspace(RATE // 4, 4.7 * RATE, N_GAPS).astype(int):
        wave[start : start + RATE // 20] = 0.0
    return wave


@pytest.fixture
def folders(tmp_path, browser):
    """A server that may work from one folder into another; the first has five recordings and a broken file."""
    source, target = tmp_path / "tapes", tmp_path / "restored"
    source.mkdir()
    target.mkdir()
    for number in range(N_FILES):
        soundfile.write(source / f"tape-{number}.wav", tape_of_many_gaps(number), RATE, "PCM_16")
    (source / "broken.wav").write_bytes(b"RIFF\x10\0\0\0WAVE no more")
    app = App(tmp_path / "app", str(source), str(target))
    yield app, source, target
    app.end()
    assert app.complaints == ["masktools: error: ended by SIGTERM\n"], "a page that listens is let go"


@pytest.mark.slow
def test_a_folder_is_worked_through_cancelled_and_taken_up_again(visit, folders):
    app, source, target = folders
    page = visit(app.address)
    page.get_by_role("tab", name="Many files").click()
    page.locator("#what").select_option("fill gaps")
    page.get_by_role("button", name="Restore all of them").click()
    until(page, "document.querySelector('#working progress')?.value > 0", 150)
    until(page, f"/tape-\\d.wav: \\w+/.test({WORKED})", 150)
    page.get_by_role("button", name="Cancel").click()
    until(page, f"({WORKED}).startsWith('cancelled')", 150)
    there = {path.name: path.read_bytes() for path in target.glob("*.wav")}
    assert 0 < len(there) < N_FILES
    assert not list(target.rglob("*.part"))
    page.reload()
    page.get_by_role("tab", name="Many files").click()
    page.locator("#what").select_option("fill gaps")
    page.get_by_role("button", name="Restore all of them").click()
    until(page, f"({WORKED}).startsWith('done')", 150)
    said = page.evaluate(WORKED)
    assert f"{N_FILES + 1} recordings, {len(there)} of them done earlier, 1 failed" in said
    assert "broken.wav" in said.splitlines()[1], "what failed stands first"
    assert {path.name for path in target.glob("*.wav")} == {f"tape-{number}.wav" for number in range(N_FILES)}
    assert all((target / name).read_bytes() == content for name, content in there.items()), "not done again"
    filled, _ = soundfile.read(target / "tape-0.wav")
    damaged, _ = soundfile.read(source / "tape-0.wav")
    assert (damaged == 0).all(axis=1).sum() > 10 * RATE // 20 > 10 * (filled == 0).all(axis=1).sum()


@pytest.mark.slow  # quicker: tests/app/test_service.py saves in place, test_work.py saves from the page
def test_a_recording_is_saved_where_it_is_and_the_first_original_stays(visit, tmp_path, browser):
    path = tmp_path / "take.wav"
    soundfile.write(path, made_music(), RATE, "PCM_24")
    original = path.read_bytes()
    for change, other in (("Enter", True), ("Control+z", False)):  # what is saved last is the original again
        app = App(tmp_path / "app", "--in-place", str(path))
        page = visit(app.address)
        until(page, f"{STATES}.length === 2")
        press(page, "n", change)
        until(page, f"{STATES}[0] === '{'done' if other else 'ready'}'", 150)
        page.get_by_role("button", name="Save…").click()
        page.get_by_role("button", name="Save into take.wav").click()
        until(page, "document.querySelector('#said').textContent.includes('kept beside it as take.wav.orig')")
        until(page, "document.querySelector('#lost').textContent.startsWith('Saved. masktools has ended')")
        app.process.wait(30)
        app.end()
        page.close()
        assert (path.read_bytes() != original) == other
        assert (tmp_path / "take.wav.orig").read_bytes() == original
        if other:
            before, after = (soundfile.read(one, dtype="int32")[0] for one in (tmp_path / "take.wav.orig", path))
            changed = np.flatnonzero((before != after).any(axis=1))
            (start, stop), _ = GAPS
            assert len(changed) > 500
            assert start <= changed[0]
            assert changed[-1] < stop

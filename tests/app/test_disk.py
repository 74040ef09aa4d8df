"""A disk that is truly full: what cannot be is said in one line, and what was accepted stays."""

import subprocess

import pytest

from masktools.app.guard import Keys
from masktools.app.service import Service
from masktools.app.settings import Settings
from masktools.app.store import Store
from tests.app.conftest import RATE, page_of

CLASSICAL = {"kind": "inpaint", "settings": {"method": "linear"}}
LEFT = 96 << 10  # bytes that are left free at first: room for what is told of a job, not for what it makes


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A disk of 4 MiB, and a file that takes its room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount a disk of their own")
    monkeypatch.setattr("masktools.app.store.FREE_BYTES", 0)
    yield folder, folder / "filler"
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path, left=0):
    """Take all the room that there is, but for some bytes."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            file.truncate(max(0, file.tell() - left))


def service_in(folder, tape):
    store = Store(folder / "sessions")
    return Service(store, Keys("masktools-8123"), Settings()), store.open_file(tape).id


def refused(answer):
    assert answer.status_code == 507, answer.text
    message = answer.json()["error"]["message"]
    assert message
    assert "\n" not in message
    assert "Traceback" not in message


def test_nothing_that_was_accepted_is_lost_on_a_full_disk(disk, tape):
    folder, filler = disk
    service, name = service_in(folder, tape)
    path = f"recordings/{name}"
    with page_of(service) as page:
        page.surveyed(name)
        job = page.done(f"{path}/jobs", CLASSICAL)
        assert page.post(f"{path}/edits", {"job": job["id"]}).status_code == 200
        state, heard = page.json(path), page.get(f"{path}/samples/after?from=0&count=100000").content
        fill(filler, LEFT)
        large = {**CLASSICAL, "regions": [{"start": 80_000, "end": 80_000 + 2 * RATE}]}
        failed = page.done(f"{path}/jobs", large)
        assert (failed["state"], failed["error"]["code"]) == ("failed", "disk_full"), failed
        assert "\n" not in failed["error"]["message"]
        fill(filler)
        refused(page.post(f"{path}/jobs", CLASSICAL))
        refused(page.post(f"{path}/undo"))
        refused(page.client.put(f"/api/{path}/regions", json=[{"id": "a", "start": 0, "end": 10}]))
        refused(page.get(f"{path}/export"))
        refused(page.put("recordings?name=other.wav", tape.read_bytes()))
        assert page.json(path) == state
        assert page.get(f"{path}/samples/after?from=0&count=100000").content == heard
    service, again = service_in(folder, tape)
    assert again == name
    with page_of(service) as page:
        assert page.json(path)["edits"] == state["edits"]
        assert page.get(f"{path}/samples/after?from=0&count=100000").content == heard
        filler.unlink()
        assert page.done(f"{path}/jobs", CLASSICAL)["state"] == "done"
        assert page.post(f"{path}/undo").json()["cursor"] == 0
    assert not list(folder.rglob("*.part"))


def test_a_recording_that_there_is_no_room_to_survey_is_told_so_and_the_server_stays(disk, tape):
    folder, filler = disk
    service, name = service_in(folder, tape)
    fill(filler, 32 << 10)
    with page_of(service) as page:
        state = page.surveyed(name)
        assert any("no room left on the disk" in line for line in state["warnings"]), state["warnings"]
        assert page.get(f"recordings/{name}/samples/before?from=0&count=100").status_code == 200

"""The server does what its page asks, and nothing that was answered is lost."""

import asyncio
import json
import shutil
import signal

import numpy as np
import pytest

from masktools import io
from masktools.app.events import KEPT, Events
from masktools.app.jobs import Jobs
from masktools.app.link import Process
from masktools.app.settings import Settings
from masktools.app.store import FREE_BYTES, Store
from tests.app.conftest import GAPS, RATE, damaged, over, run_apart

CLASSICAL = {"method": "linear"}  # which needs no model


def test_what_is_open_is_listed(page, recording, tape):
    (one,) = [one for one in page.json("recordings") if one["id"] == recording]
    assert one["name"] == tape.name
    assert (one["rate"], one["channels"], one["samples"]) == (RATE, 2, 6 * RATE)
    assert one["format"] == "WAV"
    assert str(tape.parent) not in json.dumps(page.json("recordings"))


def test_the_state_says_what_was_found(page, recording):
    state = page.json(f"recordings/{recording}")
    assert [(one["start"], one["end"], one["kind"]) for one in state["damage"]] == [(*gap, "zeros") for gap in GAPS]
    assert state["bandwidth"]["confidence"] > 0
    assert len(state["levels"]) == 2


def test_windows_and_pictures_are_sent(page, recording, tape):
    wave = io.read(tape).samples
    sent = page.get(f"recordings/{recording}/samples/before?from=100&count=50")
    assert np.array_equal(np.frombuffer(sent.content, "<f4").reshape(2, 50), wave[:, 100:150])
    assert len(page.get(f"recordings/{recording}/peaks?from=0&to=1000&width=10").content) == 2 * 10 * 2 * 2
    revision = page.json(f"recordings/{recording}")["revision"]
    tile = page.get(f"recordings/{recording}/tiles/before/0/mel/8/0.png?r={revision}")
    assert tile.headers["content-type"] == "image/png"
    assert "immutable" in tile.headers["cache-control"]
    stale = page.get(f"recordings/{recording}/tiles/before/0/mel/8/0.png?r={revision + 1}")
    assert stale.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "query", ["from=0&to=1000", "from=-1&to=1000&width=10", "from=a&to=1&width=1", "from=1e3&to=1&width=1"]
)
def test_numbers_that_are_none_are_refused(page, recording, query):
    answer = page.get(f"recordings/{recording}/peaks?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "malformed"


def test_marks_are_kept_and_those_of_an_old_state_are_not(page, recording):
    path = f"recordings/{recording}/regions"
    revision = page.json(f"recordings/{recording}")["revision"]
    mark = {"id": "a1", "start": 100, "end": 900, "low_hz": 300.0, "high_hz": 600.0, "channels": [1]}
    done = page.client.put(f"/api/{path}", json=[mark], headers={"if-match": str(revision)})
    assert done.json() == {"revision": revision + 1}
    assert page.json(path)[0] | mark == page.json(path)[0]
    late = page.client.put(f"/api/{path}", json=[], headers={"if-match": f'"{revision}"'})
    assert late.status_code == 409
    assert len(page.json(path)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"end": 10**9},
        {"end": 1},
        {"start": -1},
        {"channels": [2]},
        {"channels": []},
        {"low_hz": 1e6},
        {"more": 1},
        {"id": "../x"},
    ],
)
def test_marks_outside_of_the_recording_are_refused(page, recording, change):
    mark = {"id": "a", "start": 100, "end": 900} | change
    answer = page.client.put(f"/api/recordings/{recording}/regions", json=[mark])
    assert answer.status_code == 422
    assert "Traceback" not in answer.text


def test_labels_go_out_and_come_in_again(page, recording):
    path = f"recordings/{recording}/labels.txt"
    marks = [{"id": "a", "start": 2205, "end": 4410, "prompt": "hum", "low_hz": 50.0, "high_hz": 60.5}]
    marks.append({"id": "b", "start": 22_050, "end": 33_075})
    page.client.put(f"/api/recordings/{recording}/regions", json=marks)
    text = page.get(path).text
    assert text.splitlines()[:2] == ["0.100000\t0.200000\thum", "\\\t50.000000\t60.500000"]
    again = page.put(path, text).json()["regions"]
    shown = [[one[name] for name in ("start", "end", "low_hz", "high_hz")] for one in again]
    assert shown == [[2205, 4410, 50.0, 60.5], [22_050, 33_075, None, None]]
    assert page.put(path, "no label").status_code == 400
    assert page.put(path, b"\xff\xfe\x00").status_code == 400


@pytest.fixture(scope="module")
def filled(page, recording):
    """A job that filled every gap without a model."""
    return page.done(f"recordings/{recording}/jobs", {"kind": "inpaint", "settings": CLASSICAL})


def test_gaps_are_filled_heard_undone_and_exported(page, recording, tape, filled):
    assert filled["state"] == "done", filled
    assert set(filled["candidates"]) == {"damage-0", "damage-1"}
    state = page.post(f"recordings/{recording}/edits", {"job": filled["id"]}).json()
    assert (state["cursor"], len(state["edits"])) == (1, 1)
    after = page.get(f"recordings/{recording}/export").content
    before = tape.read_bytes()
    assert len(after) == len(before)
    heard, was = (np.frombuffer(content[44:], "<i2").reshape(-1, 2) for content in (after, before))
    changed = np.flatnonzero((heard != was).any(axis=1))
    assert all(any(start <= at < stop for start, stop in GAPS) for at in changed)
    assert len(changed) > 1000
    assert page.post(f"recordings/{recording}/undo").json()["cursor"] == 0
    assert page.get(f"recordings/{recording}/export").content == before
    assert page.post(f"recordings/{recording}/undo").status_code == 409
    assert page.post(f"recordings/{recording}/redo").json()["cursor"] == 1
    assert page.get(f"recordings/{recording}/export").content == after
    assert page.post(f"recordings/{recording}/redo").status_code == 409
    page.post(f"recordings/{recording}/undo")


def test_a_candidate_that_there_is_not_is_not_accepted(page, recording, filled):
    path = f"recordings/{recording}/edits"
    for choices in ({"damage-0": 5}, {"damage-0": -1}, {"damage-0": True}, {"nowhere": 0}, {}, []):
        assert page.post(path, {"job": filled["id"], "choices": choices}).status_code == 422
    assert page.post(path, {"job": "x" * 26}).status_code == 404
    assert page.post(path, {"job": filled["id"], "more": 1}).status_code == 400


def test_other_formats_a_report_and_a_page_are_exported(page, recording, filled, tmp_path):
    page.post(f"recordings/{recording}/edits", {"job": filled["id"]})
    sent = page.get(f"recordings/{recording}/export?format=flac")
    assert sent.headers["content-disposition"].endswith("tape-repaired.flac")
    (tmp_path / "a.flac").write_bytes(sent.content)
    assert io.read(tmp_path / "a.flac").samples.shape == (2, 6 * RATE)
    report = page.get(f"recordings/{recording}/export?what=report").json()
    assert report["edits"][0]["settings"]["method"] == "linear"
    assert b"<html" in page.get(f"recordings/{recording}/export?what=page").content[:200]
    assert page.get(f"recordings/{recording}/export?format=exe").status_code == 422
    assert page.get(f"recordings/{recording}/export?what=all").status_code == 422
    page.post(f"recordings/{recording}/undo")


def test_a_file_is_saved_where_it_is_only_if_that_was_allowed(page, recording):
    assert page.post(f"recordings/{recording}/save").status_code == 403


def test_saving_changes_the_repaired_samples_alone_and_can_be_undone(page, service, tmp_path):
    path = tmp_path / "take.wav"
    io.write(path, damaged(), RATE, "PCM_24")
    original = path.read_bytes()
    session = service.store.open_file(path)
    session.in_place = path
    page.surveyed(session.id)
    job = page.done(f"recordings/{session.id}/jobs", {"kind": "inpaint", "settings": CLASSICAL})
    page.post(f"recordings/{session.id}/edits", {"job": job["id"]})
    saved = page.post(f"recordings/{session.id}/save").json()
    assert (saved["saved"], saved["original"]) == ("take.wav", "take.wav.orig")
    assert (tmp_path / "take.wav.orig").read_bytes() == original
    before, after = (io.read(one).samples for one in (tmp_path / "take.wav.orig", path))
    changed = np.flatnonzero((before != after).any(axis=0))
    assert len(changed) > 1000
    assert all(any(start <= at < stop for start, stop in GAPS) for at in changed)
    page.post(f"recordings/{session.id}/undo")
    assert page.post(f"recordings/{session.id}/save").status_code == 200
    assert path.read_bytes() == original
    assert (tmp_path / "take.wav.orig").read_bytes() == original


def test_a_file_that_another_program_has_changed_is_not_saved_into(page, service, tmp_path):
    path = tmp_path / "changed.wav"
    io.write(path, damaged(2.0), RATE)
    session = service.store.open_file(path)
    session.in_place = path
    page.surveyed(session.id)
    io.write(path, damaged(1.0), RATE)
    other = path.read_bytes()
    assert page.post(f"recordings/{session.id}/save").status_code == 410
    assert path.read_bytes() == other
    assert not (tmp_path / "changed.wav.orig").exists()


@pytest.mark.parametrize(
    ("asked", "status", "field"),
    [
        ({"kind": "melt"}, 422, "kind"),
        ({"kind": "inpaint", "n_candidates": 9}, 422, "n_candidates"),
        ({"kind": "inpaint", "seed": -1}, 422, "seed"),
        ({"kind": "inpaint", "settings": {"nothing": 1}}, 422, "settings"),
        ({"kind": "inpaint", "settings": {"seconds": 10_000}}, 422, "seconds"),
        ({"kind": "inpaint", "regions": ["nowhere"]}, 422, "regions"),
        ({"kind": "inpaint", "path": "/etc/passwd"}, 400, None),
        ({}, 400, None),
    ],
)
def test_a_job_that_cannot_be_is_refused_at_once(page, recording, asked, status, field):
    answer = page.post(f"recordings/{recording}/jobs", asked)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"].get("field") == field


def test_a_job_that_fails_says_why_and_the_next_is_done(page, recording):
    marks = [{"start": 0, "end": 6 * RATE}]
    failed = page.done(f"recordings/{recording}/jobs", {"kind": "inpaint", "regions": marks, "settings": CLASSICAL})
    assert failed["state"] == "failed"
    assert "something must remain" in failed["error"]["message"]
    marks = [{"start": 40_000, "end": 40_100}]
    done = page.done(f"recordings/{recording}/jobs", {"kind": "inpaint", "regions": marks, "settings": CLASSICAL})
    assert done["state"] == "done"


def test_a_prompt_names_no_file_and_a_batch_no_folder_that_was_not_named(page):
    assert page.post("jobs", {"kind": "batch", "source": "/etc", "target": "0"}).status_code == 422
    assert page.post("jobs", {"kind": "batch", "source": "0", "target": "1"}).status_code == 422
    assert page.post("jobs", {"kind": "shell"}).status_code == 422


def test_a_recording_is_sent_and_forgotten(page, tmp_path):
    path = tmp_path / "sent.flac"
    io.write(path, damaged(2.0), RATE)
    answer = page.put("recordings?name=../../Tonb%C3%A4nder%2F%00%3Cb%3E.flac", path.read_bytes())
    assert answer.status_code == 201
    name = answer.json()["id"]
    assert page.surveyed(name)["name"] == ".._.._Tonbänder__<b>.flac"
    assert page.client.delete(f"/api/recordings/{name}").status_code == 204
    assert page.get(f"recordings/{name}").status_code == 404


def test_what_is_no_audio_is_refused_in_the_words_of_the_reader(page, store_folder):
    before = set(store_folder.iterdir())
    answer = page.put("recordings?name=a.wav", b"no sound at all" * 100)
    assert answer.status_code == 415
    assert "a.wav" in answer.json()["error"]["message"]
    assert str(store_folder) not in answer.text
    assert set(store_folder.iterdir()) == before


def test_too_much_is_refused_before_it_is_read(page):
    def parts():
        yield b""
        raise AssertionError("it was read")

    answer = page.put("recordings?name=a.wav", parts(), headers={"content-length": str(5 << 30)})
    assert answer.status_code == 413
    unknown = page.put("recordings?name=a.wav", iter([b"x"]))
    assert unknown.status_code == 411
    long = page.put("jobs", b"", headers={"content-length": "0"})
    assert long.status_code == 405
    assert page.client.post("/api/jobs", content=b"[" * 70_000).status_code == 413
    assert page.client.post("/api/jobs", content=b"[" * 5_000).status_code == 400


def test_a_full_disk_is_told_and_nothing_is_lost(page, recording, monkeypatch):
    revision = page.json(f"recordings/{recording}")["revision"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 1 << 40, FREE_BYTES - 1))
    assert page.put("recordings?name=a.wav", b"x" * 100).status_code == 507
    assert page.post(f"recordings/{recording}/jobs", {"kind": "inpaint"}).status_code == 507
    monkeypatch.undo()
    assert page.json(f"recordings/{recording}")["revision"] == revision


def test_a_state_that_cannot_be_written_is_not_taken_for_written(page, recording, service, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    before = service.store[recording].state
    monkeypatch.setattr("masktools.app.store.replacing", full)
    answer = page.client.put(f"/api/recordings/{recording}/regions", json=[{"id": "z", "start": 0, "end": 10}])
    assert answer.status_code == 507
    assert service.store[recording].state == before


def test_a_file_that_was_changed_meanwhile_is_told(page, service, tmp_path):
    path = tmp_path / "other.wav"
    io.write(path, damaged(2.0), RATE)
    session = service.store.open_file(path)
    page.surveyed(session.id)
    io.write(path, damaged(1.0), RATE)
    for asked in ("", "/samples/before?from=0&count=10", "/export"):
        assert page.get(f"recordings/{session.id}{asked}").status_code == 410
    assert page.post(f"recordings/{session.id}/jobs", {"kind": "inpaint"}).status_code == 410


def test_a_reader_that_breaks_down_is_started_again(page, recording, service):
    service.reader.signal(signal.SIGKILL)
    sent = page.until(
        lambda: page.get(f"recordings/{recording}/samples/before?from=0&count=10"), lambda one: one.status_code == 200
    )
    assert len(sent.content) == 80


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_its_job_alone(page, recording, service):
    edits = page.json(f"recordings/{recording}")["edits"]
    marks = [{"start": 30_000 + 600 * at, "end": 30_300 + 600 * at} for at in range(100)]
    asked = {"kind": "inpaint", "regions": marks, "settings": {"method": "janssen"}}
    job = page.post(f"recordings/{recording}/jobs", asked).json()["job"]
    page.until(lambda: page.json(f"jobs/{job}"), lambda one: one["state"] == "running")
    service.jobs.worker.signal(signal.SIGKILL)
    lost = page.until(lambda: page.json(f"jobs/{job}"), over)
    assert lost["state"] == "lost"
    assert "memory" in lost["error"]["message"]
    assert page.json(f"recordings/{recording}")["edits"] == edits
    done = page.done(f"recordings/{recording}/jobs", {"kind": "inpaint", "settings": CLASSICAL})
    assert done["state"] == "done"


def test_a_job_that_runs_is_cancelled(page, recording):
    marks = [{"start": 30_000 + 600 * at, "end": 30_300 + 600 * at} for at in range(150)]
    asked = {"kind": "inpaint", "regions": marks, "settings": {"method": "janssen"}}
    job = page.post(f"recordings/{recording}/jobs", asked).json()["job"]
    page.until(lambda: page.json(f"jobs/{job}"), lambda one: one["share"] > 0 or over(one))
    assert page.client.delete(f"/api/jobs/{job}").status_code == 202
    assert page.until(lambda: page.json(f"jobs/{job}"), over)["state"] == "cancelled"
    assert page.client.delete(f"/api/jobs/{job}").status_code in (202, 409)


def stubborn_jobs(folder):
    store, events = Store(folder), Events()
    jobs = Jobs(store, events, 2, {}, (0.3, 0.3))
    jobs.worker = Process("tests.app.stubborn", lambda _: None, lambda _: None)
    return store, jobs


def test_a_worker_that_does_not_listen_is_ended(tmp_path):
    async def check():
        store, jobs = stubborn_jobs(tmp_path)
        running = asyncio.create_task(jobs.run())
        first = jobs.submit(kind="generate")
        second = jobs.submit(kind="generate")
        with pytest.raises(Exception, match="2 jobs wait already"):
            jobs.submit(kind="generate")
        while jobs[first.id].state != "running" or jobs.worker.pid is None:
            await asyncio.sleep(0.02)
        await jobs.cancel(second.id)
        assert jobs[second.id].state == "cancelled"
        await jobs.cancel(first.id)
        while not jobs[first.id].is_over:
            await asyncio.sleep(0.02)
        assert jobs[first.id].state == "cancelled"
        running.cancel()
        await jobs.worker.end()
        store.close()

    run_apart(check())


def test_jobs_of_a_server_that_ended_are_lost_or_go_on(tmp_path):
    async def check():
        store, jobs = stubborn_jobs(tmp_path)
        running = asyncio.create_task(jobs.run())
        first, second = jobs.submit(kind="generate"), jobs.submit(kind="generate")
        while jobs[first.id].state != "running" or jobs.worker.pid is None:
            await asyncio.sleep(0.02)
        again = Jobs(store, Events(), 2, {}, (0.3, 0.3))
        assert again[first.id].state == "lost"
        assert again[second.id].state == "queued"
        running.cancel()
        await jobs.worker.end()
        store.close()

    run_apart(check())


def test_a_page_that_comes_back_is_told_what_it_missed():
    async def heard(events, last, n):
        stream = events.stream(last)
        assert b"retry" in await anext(stream)
        return [await anext(stream) for _ in range(n)]

    async def check():
        events = Events()
        events.tell("job", share=0.1)
        first = events._kept[0][1].decode()
        last = first.split("\n")[0].removeprefix("id: ")
        events.tell("job", share=0.2)
        (missed,) = await heard(events, last, 1)
        assert b'"share": 0.2' in missed
        (reset,) = await heard(events, "ffffffff-3", 1)
        assert b"event: reset" in reset
        for _ in range(KEPT):
            events.tell("job")
        assert b"event: reset" in (await heard(events, last, 1))[0]

    run_apart(check())


def test_settings_of_a_job_are_known_without_torch():
    assert Settings().of_model["model"] == "mini"


def test_what_is_asked_reaches_the_worker_whatever_it_is_called(page):
    """What a question has of its own must not take the place of what it is told apart by."""
    asked = page.post("jobs", {"kind": "generate", "seconds": 1.0, "n": 7, "settings": {"solver": "nothing"}})
    job = page.until(lambda: page.json(f"jobs/{asked.json()['job']}"), over)
    assert job["state"] == "failed"
    assert "unknown preset 'nothing'" in job["error"]["message"]


def test_a_lossy_recording_is_exact_again_when_a_new_reader_opens_it(page, service, tmp_path):
    path = tmp_path / "tape.ogg"
    io.write(path, damaged(), RATE)
    with io.open_recording(path, tell=False) as decoded:
        wanted = decoded.read(50_000, 50_100)
    session = service.store.open_file(path)
    page.surveyed(session.id)
    revision = page.json(f"recordings/{session.id}")["revision"]
    service.reader.signal(signal.SIGKILL)
    path = f"recordings/{session.id}/samples/before?from=50000&count=100"
    page.until(lambda: page.get(path), lambda one: one.status_code == 200)
    page.until(lambda: page.json(f"recordings/{session.id}"), lambda state: state["revision"] > revision)
    sent = np.frombuffer(page.get(path).content, "<f4").reshape(2, 100)
    assert np.array_equal(sent, wanted)
    tile = page.get(f"recordings/{session.id}/tiles/before/0/mel/8/0.png?r={revision + 1}")
    assert "immutable" in tile.headers["cache-control"]

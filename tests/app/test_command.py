"""The program itself: it starts, is found again, is killed, saves in place, and ends."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

from masktools import io
from masktools.app.edits import RESULT
from masktools.app.store import Store
from masktools.cli.main import main
from tests.app.conftest import GAPS, RATE, Page, damaged, over

CLASSICAL = {"kind": "inpaint", "settings": {"method": "linear"}}


def the_recording(server):
    """Return the name of the only recording, surveyed."""
    (one,) = server.json("recordings")
    return Page.until(lambda: server.json(f"recordings/{one['id']}"), lambda state: state["surveyed"] == 1)["id"]


def done(server, name, asked=CLASSICAL):
    status, _, answer = server.ask("POST", f"recordings/{name}/jobs", asked)
    assert status == 202, answer
    return Page.until(lambda: server.json(f"jobs/{json.loads(answer)['job']}"), over)["id"]


def test_what_was_done_is_found_again_after_the_program_was_killed(command, tape, tmp_path):
    server = command(tape, folder=tmp_path / "sessions")
    modules = Path(f"/proc/{server.process.pid}/maps").read_text() if sys.platform == "linux" else ""
    assert "libtorch" not in modules
    name = the_recording(server)
    job = done(server, name)
    assert server.ask("POST", f"recordings/{name}/edits", {"job": job})[0] == 200
    exported = server.ask("GET", f"recordings/{name}/export")[2]
    server.end(signal.SIGKILL)
    again = command(tape, folder=tmp_path / "sessions")
    assert the_recording(again) == name
    state = again.json(f"recordings/{name}")
    assert (state["cursor"], state["edits"][0]["job"]) == (1, job)
    assert again.ask("GET", f"recordings/{name}/export")[2] == exported != tape.read_bytes()
    assert again.ask("POST", f"recordings/{name}/undo")[0] == 200
    assert again.ask("GET", f"recordings/{name}/export")[2] == tape.read_bytes()
    again.end()
    assert again.process.returncode == 143


@pytest.mark.slow
def test_a_file_is_saved_in_place_and_the_program_ends(command, tmp_path):
    path = tmp_path / "take.wav"
    io.write(path, damaged(), RATE, "PCM_24")
    original = path.read_bytes()
    server = command("--in-place", path, folder=tmp_path / "sessions")
    name = the_recording(server)
    server.ask("POST", f"recordings/{name}/edits", {"job": done(server, name)})
    status, _, answer = server.ask("POST", f"recordings/{name}/save")
    assert (status, json.loads(answer)["original"]) == (200, "take.wav.orig")
    server.process.wait(30)
    assert (tmp_path / "take.wav.orig").read_bytes() == original
    before, after = (io.read(one).samples for one in (tmp_path / "take.wav.orig", path))
    changed = np.flatnonzero((before != after).any(axis=0))
    assert len(changed) > 1000
    assert all(any(start <= at < stop for start, stop in GAPS) for at in changed)
    again = command("--in-place", path, folder=tmp_path / "sessions")
    assert the_recording(again) == name
    again.ask("POST", f"recordings/{name}/undo")
    assert again.ask("POST", f"recordings/{name}/save")[0] == 200
    again.process.wait(30)
    assert path.read_bytes() == original
    assert (tmp_path / "take.wav.orig").read_bytes() == original


def test_a_second_server_does_not_take_what_the_first_has(command, tape, tmp_path):
    command(tape, folder=tmp_path / "sessions")
    with pytest.raises(Exception, match="is open in another window"):
        Store(tmp_path / "sessions").open_file(tape)


def test_a_foreign_name_in_the_address_is_refused_by_the_program_itself(command, tmp_path):
    server = command(folder=tmp_path / "sessions")
    assert server.ask("GET", "about")[0] == 200
    for name in ("evil.example", f"evil.example:{server.port}"):
        status, _, answer = server.ask("GET", "about", Host=name)
        assert (status, json.loads(answer)["error"]["code"]) == (403, "foreign")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no such sockets here")
def test_a_socket_is_for_its_owner_alone(tape, tmp_path):
    path = tmp_path / "s"
    args = ["--uds", path, "--no-browser", "--sessions", tmp_path / "sessions", tape]
    process = subprocess.Popen(
        [sys.executable, "-m", "masktools", "app", *map(str, args)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert "#token=" in process.stdout.readline()
        assert path.stat().st_mode & 0o777 == 0o600
        connection = HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request("GET", "/api/about", headers={"Host": "localhost:9999"})
        with connection.getresponse() as answer:
            assert answer.status == 401
        connection.close()
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_what_cannot_be_is_said_in_one_line(capsys, tmp_path, monkeypatch):
    assert main(["app", str(tmp_path / "nowhere.wav")]) == 2
    assert capsys.readouterr().err == f"masktools: error: {tmp_path / 'nowhere.wav'} does not exist\n"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["app", "--port", str(taken.getsockname()[1])]) == 2
    assert "--port 0 takes a free one" in capsys.readouterr().err
    monkeypatch.setattr("masktools.core.arguments.find_spec", lambda name: None if name == "uvicorn" else name)
    assert main(["app"]) == 2
    assert 'pip install "masktools[app]"' in capsys.readouterr().err


def test_what_was_not_touched_for_long_is_forgotten(tape, tmp_path):
    store = Store(tmp_path)
    kept = store.open_file(tape).folder
    store.close()
    assert Store(tmp_path, keep_days=1).folder.exists()
    assert kept.exists()
    (forgetful := Store(tmp_path, keep_days=0)).close()
    assert not kept.exists()
    assert forgetful.folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="processes are told to end by signals")
def test_a_process_of_the_server_ends_without_a_word_when_it_is_told_to():
    """It reads questions in a thread while the interpreter goes: eight of them, of which most once aborted."""
    code = "from masktools.app.children import Server; one = Server(); one.tell('up'); one.serve({})"
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    running = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(8)]
    for process in running:
        assert json.loads(process.stdout.readline()) == {"event": "up"}
    time.sleep(0.05)  # the thread is reading
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        process.wait()
        assert process.stderr.read() == b""
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def children(pid):
    """Return the processes that a process has started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_thirty_kills_lose_no_edit_that_was_answered(command, tape, tmp_path):
    """Server, reader and worker are killed at moments by chance while edits are made."""
    chance = random.Random(0)
    accepted, revision = [], 0
    server = command(tape, folder=tmp_path / "sessions")
    for number in range(30):
        name = the_recording(server)
        state = server.json(f"recordings/{name}")
        assert [edit["job"] for edit in state["edits"]] == accepted
        assert state["revision"] >= revision
        heard = server.ask("GET", f"recordings/{name}/samples/after?from={GAPS[0][0]}&count=100")[2]
        assert len(heard) == 800
        victim = chance.choice(["server", *children(server.process.pid)])
        answer = json.loads(server.ask("POST", f"recordings/{name}/jobs", CLASSICAL)[2])["job"]
        time.sleep(chance.random())
        if victim == "server":
            server.end(signal.SIGKILL)
            server = command(tape, folder=tmp_path / "sessions")
            continue
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        job = Page.until(lambda answer=answer, server=server: server.json(f"jobs/{answer}"), over)
        assert job["state"] in ("done", "lost"), (number, job)
        if job["state"] == "done":
            status, _, told = server.ask("POST", f"recordings/{name}/edits", {"job": job["id"]})
            assert status == 200
            accepted.append(job["id"])
            revision = json.loads(told)["revision"]
    assert len(accepted) > 5
    assert not list(tmp_path.rglob("*.part"))
    assert all((path.parent / RESULT).exists() for path in tmp_path.rglob("*.npy") if "jobs" in path.parts)

"""`masktools embed`: what it stores, in which formats, and what it says."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile

from masktools.extraction import Worker
from tests.cli.conftest import RATE, recording


@pytest.fixture
def collection(tmp_path):
    """Five recordings in two folders, and one file that is none."""
    folder = tmp_path / "in"
    (folder / "live").mkdir(parents=True)
    for number in range(4):
        soundfile.write(folder / f"{number}.wav", recording(0.4 + 0.3 * number), RATE)
    soundfile.write(folder / "live" / "song.flac", recording(1.0, 44_100, 2), 44_100)
    (folder / "notes.wav").write_text("no audio")
    return folder


def test_embed_stores_a_row_for_each_recording(command, wav, stereo, tmp_path):
    out = tmp_path / "out.npz"
    code, said, errors = command("embed", wav, stereo, "-o", out)
    assert (code, said, errors) == (0, f"{out}: 2 embedded\n", "")
    with np.load(out) as stored:
        assert set(stored) == {"keys", "clips", "durations_s", "masktools"}
        assert stored["keys"].tolist() == [str(wav), str(stereo)]
        assert stored["clips"].shape == (2, 32)
        assert stored["durations_s"].tolist() == [1.5, 1.0]
        assert json.loads(str(stored["masktools"]))["model"] == "tiny"


def test_embed_stores_moments_with_their_times(command, wav, stereo, tmp_path):
    out = tmp_path / "out.npz"
    assert command("embed", wav, stereo, "-o", out, "--frames", "--layer", "-2", "--pool", "rows")[0] == 0
    with np.load(out) as stored:
        starts = stored["starts"]
        assert starts.tolist() == [0, 8, 13]  # 1.5 s and 1 s in columns of 0.186 s
        assert stored["frames"].shape == (13, 5 * 32)
        assert stored["clips"].shape == (2, 5 * 32)
        assert np.all(np.diff(stored["times_s"][starts[1] : starts[2]]) > 0)


@pytest.mark.parametrize(("layer", "n_layers"), [("all", 3), ("0,-1", 2), ("1,", None), ("0.5,0,0.5", None)])
def test_layers_side_by_side_have_an_axis_of_their_own(command, wav, tmp_path, layer, n_layers):
    code, _, errors = command("embed", wav, "-o", tmp_path / "out.npz", "--layer", layer, "--frames")
    if layer == "1,":
        assert "unknown layer '1,'" in errors
        return
    assert code == 0
    axis = () if n_layers is None else (n_layers,)
    with np.load(tmp_path / "out.npz") as stored:
        assert stored["clips"].shape == (1, *axis, 32)
        assert stored["frames"].shape == (8, *axis, 32)


def test_tokens_hops_and_half_precision(command, wav, tmp_path):
    words = ("--tokens", "--frames", "--hop-s", "0.5", "--dtype", "float16", "--pool", "max")
    assert command("embed", wav, "-o", tmp_path / "out.npz", *words)[0] == 0
    with np.load(tmp_path / "out.npz") as stored:
        assert stored["tokens"].shape == (8, 5)
        assert stored["tokens"].dtype == np.uint16
        assert stored["token_starts"].tolist() == [0, 8]
        assert stored["times_s"].tolist() == [0.25, 0.75, 1.25]
        assert stored["frames"].dtype == stored["clips"].dtype == np.float16


def test_a_prefix_of_ones_own(command, wav, tmp_path):
    np.save(tmp_path / "prefix.npy", np.ones(16, np.float32))
    np.save(tmp_path / "grid.npy", np.ones((4, 4), np.float32))
    vectors = {}
    for name, prefix in (("a", "learned"), ("b", "condition"), ("c", tmp_path / "prefix.npy")):
        assert command("embed", wav, "-o", tmp_path / f"{name}.npy", "--prefix", prefix)[0] == 0
        vectors[name] = np.load(tmp_path / f"{name}.npy")
    assert not np.allclose(vectors["a"], vectors["b"])
    assert not np.allclose(vectors["a"], vectors["c"])
    assert (
        "one vector, got float32 of shape (4, 4)"
        in command("embed", wav, "-o", tmp_path / "d.npy", "--prefix", tmp_path / "grid.npy")[2]
    )
    assert "it cannot be read" in command("embed", wav, "-o", tmp_path / "d.npy", "--prefix", "none.npy")[2]


def test_embed_names_what_it_leaves_out(command, wav, tmp_path):
    (tmp_path / "notes.wav").write_text("no audio")
    out = tmp_path / "out.npz"
    code, said, errors = command("embed", tmp_path / "notes.wav", wav, tmp_path / "missing.wav", "-o", out)
    assert code == 3
    assert said == f"{out}: 1 embedded, 2 left out\n"
    assert [line.split(": ")[1] for line in errors.splitlines()] == ["left out", "left out"]
    listed = [json.loads(line) for line in (tmp_path / "out.npz.errors.jsonl").read_text().splitlines()]
    assert [entry["key"] for entry in listed] == [str(tmp_path / "notes.wav"), str(tmp_path / "missing.wav")]
    for entry in listed:
        assert entry["error"] in errors
    with np.load(out) as stored:
        assert stored["keys"].tolist() == [str(wav)]


def test_all_formats_hold_the_same_and_leave_nothing_beside_it(command, collection, tmp_path):
    words = ("embed", collection, "-r", "--layer", "all")
    for name in ("a.npz", "a.npy", "a.parquet", "a.h5", "a"):
        assert command(*words, "-o", tmp_path / name)[0] == 3
    with np.load(tmp_path / "a.npz") as stored:
        keys, clips = stored["keys"].tolist(), stored["clips"]
    assert keys == ["0.wav", "1.wav", "2.wav", "3.wav", "live/song.flac"]
    # As docs/formats.md says that they are read.
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), clips)
    assert (tmp_path / "a.npy.keys.txt").read_text().split("\n")[:-1] == keys
    assert json.loads((tmp_path / "a.npy.json").read_text())["masktools"]["settings"]["layer"] == "all"
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert table["key"].tolist() == keys
    np.testing.assert_array_equal(np.stack(table["clip"]).reshape(clips.shape), clips)
    with h5py.File(tmp_path / "a.h5") as stored:
        assert stored["keys"].asstr()[:].tolist() == keys
        np.testing.assert_array_equal(stored["clips"][:], clips)
    for key, clip in zip(keys, clips, strict=True):
        with np.load(tmp_path / "a" / f"{key}.npz") as stored:
            np.testing.assert_array_equal(stored["clip"], clip)
    made = {path.name for path in tmp_path.iterdir()} - {"in"}
    assert made == {
        name + end for name in ("a.npz", "a.npy", "a.parquet", "a.h5", "a") for end in ("", ".errors.jsonl")
    } | {
        "a.npy.json",
        "a.npy.keys.txt",
    }


def test_what_does_not_fit_a_format_is_refused_at_once(command, wav, tmp_path):
    for words, what in ((("--frames",), "moments"), (("--tokens",), "tokens")):
        code, _, errors = command("embed", wav, "-o", tmp_path / "a.npy", *words)
        assert code == 2
        assert f"and no {what}: write .npz, .parquet or .h5" in errors
    (tmp_path / "file").write_text("")
    assert "must be a folder, got the file" in command("embed", wav, "-o", tmp_path / "file")[2]
    (tmp_path / "a.npz").mkdir()
    assert "must be a file, got the folder" in command("embed", wav, "-o", tmp_path / "a.npz")[2]
    assert "make " in command("embed", wav, "-o", tmp_path / "none" / "a.npz")[2]
    assert "a file of its own" in command("embed", wav, "-o", wav, "--format", "npz", "--overwrite")[2]


def test_manifests_name_columns_ids_and_times(command, collection, tmp_path):
    (tmp_path / "list.csv").write_text("file,clip,from_s\nlive/song.flac,late,0.5\n3.wav,whole,\n")
    words = ("--manifest", "path=file,key=clip,start=from_s", "--root", collection)
    assert command("embed", tmp_path / "list.csv", "-o", tmp_path / "a.npz", *words)[0] == 0
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["keys"].tolist() == ["late", "whole"]
        np.testing.assert_allclose(stored["durations_s"], [0.5, 1.3], atol=1e-4)
    assert "must be names such as path=file" in command("embed", "a", "-o", "b", "--manifest", "file")[2]


def test_nothing_is_replaced_or_gone_on_with_unasked(command, wav, stereo, tmp_path):
    out = tmp_path / "out.npz"
    assert command("embed", wav, "-o", out)[0] == 0
    before = out.read_bytes()
    assert "out.npz is there already: say --resume" in command("embed", wav, "-o", out)[2]
    assert command("embed", wav, "-o", out, "--resume") == (0, f"{out}: 1 embedded\n", "")
    refused = command("embed", wav, "-o", out, "--resume", "--layer", "0", "--pool", "max")
    assert refused[0] == 2
    assert "was made with other settings (layer last, now 0; pool mean, now max): give the same" in refused[2]
    assert "was made with other recordings (1, now 2" in command("embed", wav, stereo, "-o", out, "--resume")[2]
    assert "--resume or --overwrite must be chosen" in command("embed", wav, "-o", out, "--resume", "--overwrite")[2]
    assert out.read_bytes() == before
    assert command("embed", stereo, "-o", out, "--overwrite")[0] == 0
    assert out.read_bytes() != before


def test_another_model_is_refused_when_going_on(command, wav, tmp_path):
    assert command("embed", wav, "-o", tmp_path / "out.npz")[0] == 0
    refused = command(
        "embed", wav, "-o", tmp_path / "out.npz", "--resume", "--model", "mini", "--device", "cpu", model=None
    )
    assert refused[0] == 2
    assert "was made with another model (tiny, now mini)" in refused[2]


def test_on_error_fail_stops_and_the_rest_goes_on_later(command, collection, tmp_path):
    out = tmp_path / "out.parquet"
    code, said, errors = command("embed", collection, "-o", out, "--on-error", "fail")
    assert (code, said) == (2, "")
    assert "notes.wav cannot be read as audio" in errors
    assert not out.exists()
    soundfile.write(collection / "notes.wav", recording(0.4), RATE)
    assert command("embed", collection, "-o", out, "--resume") == (0, f"{out}: 5 embedded\n", "")
    assert not list(tmp_path.glob("*.parts"))


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(command, collection, tmp_path, monkeypatch):
    out = tmp_path / "out.npz"
    embed, n_calls = Worker.embed, []

    def interrupted(self, batch):
        n_calls.append(batch)
        if len(n_calls) == 2:
            raise KeyboardInterrupt
        return embed(self, batch)

    monkeypatch.setattr("masktools.extraction.worker.CHUNK", 2)
    monkeypatch.setattr(Worker, "embed", interrupted)
    code, said, errors = command("embed", collection, "-o", out)
    assert (code, said) == (130, "")
    assert errors == "masktools: error: interrupted: 2 of 5 recordings are done, --resume goes on\n"
    assert "is begun already: say --resume" in command("embed", collection, "-o", out)[2]
    assert command("embed", collection, "-o", out, "--resume")[0] == 3
    assert not list(tmp_path.glob("*.parts"))


def test_shards_join_to_what_one_run_makes(command, collection, tmp_path):
    words = ("embed", collection, "-r", "--frames")
    assert command(*words, "-o", tmp_path / "whole.npz")[0] == 3
    shards = [tmp_path / f"{number}.npz" for number in range(3)]
    for number, shard in enumerate(shards):
        assert command(*words, "-o", shard, "--shard", f"{number}/3")[0] in (0, 3)
    code, said, _ = command("embed", "--merge", *shards[::-1], "-o", tmp_path / "joined.npz", model=None)
    assert (code, said) == (3, f"{tmp_path / 'joined.npz'}: 5 embedded, in 3 shards, 1 left out\n")
    joined, whole = np.load(tmp_path / "joined.npz"), np.load(tmp_path / "whole.npz")
    assert set(joined) == set(whole)
    for name in joined:
        if joined[name].dtype == np.float32:
            np.testing.assert_allclose(joined[name], whole[name], atol=1e-5)
        else:
            np.testing.assert_array_equal(joined[name], whole[name])
    assert (tmp_path / "joined.npz.errors.jsonl").read_text() == (tmp_path / "whole.npz.errors.jsonl").read_text()
    assert "there is no shard 1" in command("embed", "--merge", shards[0], shards[2], "-o", "a.npz", model=None)[2]
    assert "leave out --shard" in command("embed", "--merge", "a", "-o", "b", "--shard", "0/2", model=None)[2]
    assert "as in 0/4" in command("embed", "a", "-o", "b", "--shard", "4/4")[2]
    assert "shard 0/9 of 6 recordings is empty" in command(*words, "-o", tmp_path / "b", "--shard", "0/9")[2]


def test_a_dry_run_names_what_is_left_and_does_nothing(command, collection, tmp_path):
    out = tmp_path / "out.h5"
    code, said, _ = command("embed", collection, "-o", out, "--dry-run")
    assert code == 0
    assert said.splitlines() == [
        "0.wav",
        "1.wav",
        "2.wav",
        "3.wav",
        "notes.wav",
        f"{out}: 5 recordings would be embedded",
    ]
    assert command("embed", collection, "-o", out)[0] == 3
    assert command("embed", collection, "-o", out, "--dry-run", "--resume")[1].endswith("embedded, 5 are done\n")


def test_progress_is_told_as_lines_of_json(command, wav, stereo, tmp_path):
    states = [
        json.loads(line)
        for line in command("embed", wav, stereo, "-o", tmp_path / "a.npz", "--progress", "json")[2].splitlines()
    ]
    assert states[-1]["done"] == states[-1]["total"] == 2
    assert {"per_second", "seconds_left"} <= set(states[-1])


def test_an_address_needs_the_engine_that_it_is_of(command, wav, tmp_path):
    assert "say --engine ray, too" in command("embed", wav, "-o", tmp_path / "a.npz", "--address", "here:1")[2]

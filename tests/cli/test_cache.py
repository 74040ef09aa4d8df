"""`masktools cache` builds what training reads, and says what it skipped."""

import numpy as np
import pytest
import soundfile

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")


@pytest.fixture
def recordings(tmp_path):
    """A folder of three recordings of half a second, and one that is none."""
    for split, name in (("train", "a"), ("train", "b"), ("valid", "c")):
        place = tmp_path / "audio" / split
        place.mkdir(parents=True, exist_ok=True)
        wave = 0.1 * np.random.default_rng(0).standard_normal(11_025)
        soundfile.write(place / f"{name}.wav", wave, 22_050)
    (tmp_path / "audio" / "train" / "broken.wav").write_bytes(b"nothing")
    return tmp_path / "audio"


def test_a_folder_becomes_a_cache_and_what_was_skipped_is_named(command, recordings, tmp_path):
    code, said, errors = command("cache", recordings, "-o", tmp_path / "cache", "--workers", 2, model=None)
    assert code == 3
    assert said == f"{tmp_path / 'cache'}: 3 recordings, 0.00 hours, 1 skipped\n"
    assert errors.startswith(f"masktools: skipped: {recordings / 'train' / 'broken.wav'}: ")
    assert len(errors.splitlines()) == 1


def test_a_folder_becomes_shards(command, recordings, tmp_path):
    code, said, errors = command("cache", recordings, "-o", tmp_path / "shards", "--shards", model=None)
    assert code == 3
    assert said == f"{tmp_path / 'shards'}: 2 shards, 3 samples, 1 skipped\n"
    assert "broken.wav" in errors


def test_a_cache_becomes_tokens_of_a_bundle(command, recordings, tiny, tmp_path):
    command("cache", recordings, "-o", tmp_path / "cache", model=None)
    words = ("cache", tmp_path / "cache", "-o", tmp_path / "tokens", "--tokens", tiny, "--conditioner", tiny)
    code, said, errors = command(*words, "--columns", 2, model=None)
    assert (code, errors) == (0, "")
    assert said == f"{tmp_path / 'tokens'}: 3 recordings, 45 tokens of 16, 0 skipped\n"


def test_missing_clips_are_counted(command, tmp_path):
    (tmp_path / "train.csv").write_text("audiocap_id,youtube_id,start_time,caption\n1,a,0,A dog\n2,b,0,A cat\n")
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 22_050)
    code, said, _ = command("cache", tmp_path, "-o", tmp_path / "cache", model=None)
    assert code == 0
    assert said == f"{tmp_path / 'cache'}: 1 recordings, 0.00 hours, 0 skipped, 1 missing\n"


def test_options_that_do_not_go_together_are_refused(command, recordings, tmp_path):
    out = ("-o", tmp_path / "out")
    code, _, errors = command("cache", recordings, *out, "--tokens", "mini", model=None)
    assert (code, errors) == (2, "masktools: error: --tokens and --conditioner must be given together\n")
    both = ("--tokens", "mini", "--conditioner", "mini")
    code, _, errors = command("cache", recordings, recordings, *out, *both, model=None)
    assert code == 2
    assert errors.startswith("masktools: error: --tokens takes one audio cache or one folder of shards, made before")


def test_how_far_it_is_is_written_seldom_where_nobody_watches(capsys, monkeypatch):
    from masktools.cli import files

    now = iter([0.0, 100.0, 130.0, 200.0, 210.0])
    monkeypatch.setattr(files.time, "monotonic", lambda: next(now))
    show = files.counting("recordings")
    for done in (10, 20, 80, 100):
        show(done, 100)
    assert capsys.readouterr().err.splitlines() == [
        "masktools: 10 of 100 recordings",
        "masktools: 80 of 100 recordings, 0.7 a second, 0:00:29 left",
    ]

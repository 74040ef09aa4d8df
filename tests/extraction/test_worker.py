"""A worker embeds what it can, says of the rest why it cannot, and gives what the encoder alone gives."""

import io
import tarfile

import numpy as np
import pytest
import soundfile
import torch

from masktools.core.errors import ParameterError
from masktools.extraction import ExtractionSettings, Item, Worker, find_items
from masktools.io import read
from masktools.networks.packing import can_compute_int8
from masktools.pipeline import hub
from tests.tiny import noise, tiny_pipeline


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a small random model."""
    return str(hub.save_bundle(tiny_pipeline(), tmp_path_factory.mktemp("models") / "tiny", "Random weights."))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings of many lengths, rates and channels, and files that are none."""
    folder = tmp_path_factory.mktemp("recordings")
    for number, (seconds, rate, n_channels) in enumerate(
        [(0.05, 22_050, 1), (1.0, 44_100, 2), (3.3, 16_000, 1), (7.0, 48_000, 1), (2.0, 22_050, 2)]
    ):
        soundfile.write(folder / f"{number}.wav", noise(seconds, rate, n_channels, number).T, rate)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "notes.wav").write_text("no audio")
    return folder


def worker(model, precision="fp32", **settings):
    return Worker(model, ExtractionSettings(**settings), "cpu", precision)


def test_bad_files_have_rows_that_say_why(model, folder):
    rows = {row.key: row for row in worker(model)(find_items([folder]))}
    assert {key for key, row in rows.items() if row.error} == {"empty.wav", "notes.wav"}
    assert "is empty (0 bytes)" in rows["empty.wav"].error
    assert rows["empty.wav"].clip is None


@pytest.mark.parametrize(
    "settings",
    [
        {"frames": True, "tokens": True, "layer": "all"},
        {"frames": True, "hop_s": 0.5, "pool": "max"},
        {"frames": True, "hop_s": 0.05},
        {"frames": True, "layer": (0, 2), "pool": "none"},
        {"layer": (0.5, 0.25, 0.25), "pool": "mean_std"},
        {"prefix": "condition"},
        {"prefix": (1.0,) * 8, "dtype": "float16"},
    ],
)
def test_a_row_is_what_the_encoder_alone_gives(model, folder, settings):
    wanted = worker(model, **settings)
    good = [item for item in find_items([folder]) if item.key[0].isdigit()]
    for item, row in zip(good, wanted(good), strict=True):
        audio = read(item.location)
        options = {name: value for name, value in settings.items() if name != "dtype"}
        for name in ("layer", "prefix"):
            if isinstance(options.get(name), tuple):
                options[name] = np.array(options[name])
        alone = wanted.encoder.encode(audio.samples.T, audio.sample_rate, **({"frames": False} | options))
        atol = 1e-5 if wanted.settings.dtype == "float32" else 2e-3
        assert row.duration_s == audio.duration_s
        if alone.clip is None:
            assert row.clip is None
        else:
            np.testing.assert_allclose(row.clip, alone.clip, atol=atol)
        if alone.frames is not None:
            several = settings.get("layer") in ("all", (0, 2))
            frames = np.moveaxis(alone.frames, 0, 1) if several else alone.frames
            np.testing.assert_allclose(row.frames, frames, atol=atol)
            np.testing.assert_array_equal(row.times_s, alone.times_s)
        if alone.tokens is not None:
            np.testing.assert_array_equal(row.tokens, alone.tokens.T)


def test_no_company_changes_a_row(model, folder):
    good = [item for item in find_items([folder]) if item.key[0].isdigit()]
    together = worker(model, frames=True)(good)
    for item, row in zip(good, together, strict=True):
        (alone,) = worker(model, frames=True)([item])
        np.testing.assert_allclose(row.clip, alone.clip, atol=1e-5)
        np.testing.assert_allclose(row.frames, alone.frames, atol=1e-5)


def test_long_recordings_are_read_piece_by_piece_and_give_the_same(model, folder, monkeypatch):
    good = [item for item in find_items([folder]) if item.key[0].isdigit()]
    held = worker(model, frames=True, tokens=True)(good)
    monkeypatch.setattr("masktools.extraction.worker.LONG_S", 0.5)
    monkeypatch.setattr("masktools.extraction.worker.SHORT_S", 0.5)
    wanted = worker(model, frames=True, tokens=True)
    assert wanted.prepare(good[1]).source is None
    for before, after in zip(held, wanted(good), strict=True):
        np.testing.assert_allclose(before.clip, after.clip, atol=1e-5)
        np.testing.assert_array_equal(before.tokens, after.tokens)


@pytest.mark.parametrize("long_s", [300.0, 0.1])
def test_starts_and_stops_are_honoured(model, folder, monkeypatch, long_s):
    monkeypatch.setattr("masktools.extraction.worker.LONG_S", long_s)
    path = str(folder / "3.wav")
    late = worker(model)([Item("part", path, start_s=2.0, stop_s=4.5), Item("end", path, start_s=6.0, stop_s=99.0)])
    audio = read(path)
    part = worker(model).encoder.encode(audio.samples[:, 96_000:216_000].T, 48_000)
    np.testing.assert_allclose(late[0].clip, part.clip, atol=1e-5)
    assert [row.duration_s for row in late] == [2.5, 1.0]
    (behind,) = worker(model)([Item("behind", path, start_s=8.0)])
    assert behind.error == f"{path} ends at 7.000 s, before behind starts: 8 s"


def test_members_of_shards_are_recordings_like_others(model, folder, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for name in ("1.wav", "notes.wav"):
            data = (folder / name).read_bytes()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
    good, bad = worker(model)(find_items([tmp_path / "shard.tar"]))
    (file,) = worker(model)([Item("1.wav", str(folder / "1.wav"))])
    np.testing.assert_array_equal(good.clip, file.clip)
    assert "shard.tar/notes.wav cannot be read as audio" in bad.error


def test_one_that_brings_its_batch_down_goes_alone(model, folder, monkeypatch):
    wanted = worker(model)
    good = [item for item in find_items([folder]) if item.key[0].isdigit()]
    encode = type(wanted.encoder).encode

    def fragile(self, sources, *words, **options):
        if any("2.wav" in source.name for source in sources):
            raise ZeroDivisionError("nought")
        return encode(self, sources, *words, **options)

    monkeypatch.setattr(type(wanted.encoder), "encode", fragile)
    rows = {row.key: row for row in wanted(good)}
    assert rows["2.wav"].error == f"{folder / '2.wav'}: internal error (ZeroDivisionError: nought)"
    assert [key for key, row in rows.items() if row.error is None] == ["0.wav", "1.wav", "3.wav", "4.wav"]


def test_memory_that_is_used_up_ends_the_run(model, folder, monkeypatch):
    wanted = worker(model)

    def greedy(self, sources, *words, **options):
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(type(wanted.encoder), "encode", greedy)
    with pytest.raises(torch.OutOfMemoryError):
        wanted(find_items([folder]))


def test_settings_that_the_model_does_not_have_are_found_before_the_start(model):
    for settings, reason in (
        ({"layer": 9}, r"layer must lie in \[-3, 2\], got 9"),
        ({"layer": (0.5, 0.5)}, "weights of layers must be 3"),
        ({"pool": "median"}, "unknown pool 'median'"),
        ({"pool": "none"}, "choose another pool"),
        ({"prefix": (1.0, 2.0)}, "must be .*8"),
        ({"hop_s": 0.001}, "hop_s must be at least"),
    ):
        with pytest.raises(ParameterError, match=reason):
            worker(model, **settings).check()


def test_a_lower_precision_is_another_identity(model):
    full = worker(model)
    assert full.identity == full.encoder.identity == worker(model, "auto").identity
    assert worker(model, "bf16").identity == f"{full.identity} bf16"


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_vectors_of_a_lower_precision_point_where_those_of_full_precision_do(model, folder, precision):
    if precision == "int8" and not can_compute_int8():
        pytest.skip("this processor multiplies no int8")
    items = find_items([folder])[:1]
    (full,), (low,) = list(worker(model)(items)), list(worker(model, precision)(items))
    assert low.clip @ full.clip > 0.999 * np.linalg.norm(low.clip) * np.linalg.norm(full.clip)

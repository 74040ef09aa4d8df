"""Tar shards: what is read of them, what is written, in which order, and what is broken."""

import io
import json
import tarfile

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import AudioError, MasktoolsError, ParameterError
from masktools.training.clips import ShardClipStream, WaveAugmentation, epoch_place, fixed_shard_clips
from masktools.training.shards import ShardSet, skipped_in, write_shards

PLAIN = WaveAugmentation(gain_db=0.0, mix_share=0.0)


def coded(level, n_samples=4000, suffix="FLAC", rate=22_050):
    """Return a constant as an audio file."""
    file = io.BytesIO()
    soundfile.write(file, np.full(n_samples, level), rate, format=suffix)
    return file.getvalue()


def shard(path, members):
    """Write a tar file as other programs do, with folders and owners."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content or b""))


@pytest.fixture
def foreign(tmp_path):
    """Shards as others write them."""
    told = {"text": ["A dog.", "Barking."], "tag": ["dog", "bark"], "original_data": {"title": 3}}
    shard(
        tmp_path / "train" / "0.tar",
        [
            ("./set", None),
            ("./set/a.b.flac", b"this key has no recording that is one"),
            ("./set/one.json", json.dumps(told).encode()),
            ("./set/one.flac", coded(0.25)),
            ("./set/two.txt", b"A cat."),
            ("./set/two.wav", coded(0.5, suffix="WAV", rate=44_100)),
            ("./set/three.ogg", coded(0.5, suffix="OGG")),
            ("./set/picture.png", b"png"),
        ],
    )
    shard(tmp_path / "val" / "0.tar", [("k.flac", coded(-0.5)), ("k.cls", b"3")])
    return tmp_path


def test_shards_of_others_are_read(foreign):
    shards = ShardSet(foreign)
    assert len(shards) == 4
    assert (len(shards.split("train")), len(shards.split("valid"))) == (3, 1)
    one, wave = shards.item(0)
    assert one.descriptions == ("A dog.", "Barking.")
    assert (one.labels, one.split, one.n_samples, one.origin) == ("dog;bark", "train", 4000, "real")
    np.testing.assert_allclose(wave, 0.25, atol=1e-4)
    two, wave = shards.item(1)
    assert (two.caption, len(wave)) == ("A cat.", 2000)
    assert shards.item(2)[0].descriptions == ("sound",)
    assert shards.name(1) == "train/0.tar/./set/two.wav"


def test_a_sample_that_cannot_be_decoded_is_named(tmp_path):
    shard(tmp_path / "a.tar", [("bad.flac", b"noise"), ("told.flac", coded(0.1)), ("told.json", b"{not json")])
    shards = ShardSet(tmp_path)
    with pytest.raises(AudioError, match="a.tar/bad.flac cannot be read as audio"):
        shards.item(0)
    with pytest.raises(AudioError, match="a.tar/told.flac cannot be read: Expecting property name"):
        shards.item(1)


def test_a_shard_that_is_cut_off_gives_what_it_holds(tmp_path):
    shard(tmp_path / "a.tar", [(f"{i}.wav", coded(0.1, suffix="WAV")) for i in range(3)])
    (tmp_path / "b.tar").write_bytes(b"no tar file, but something of some length")
    whole, places = (tmp_path / "a.tar").read_bytes(), ShardSet(tmp_path).samples
    for n_bytes, n_samples in ((len(whole), 3), (int(places["audio"][2]) + 100, 2), (int(places["audio"][1]) - 400, 1)):
        (tmp_path / "a.tar").write_bytes(whole[:n_bytes])
        shards = ShardSet(tmp_path)
        assert [shards.item(i)[0].n_samples for i in range(len(shards))] == [4000] * n_samples
        broken = dict(shards.broken)
        assert "b.tar" in broken
        assert broken.get("a.tar") == (None if n_samples == 3 else "it is cut off")


def test_the_index_spares_the_headers_until_a_shard_changes(foreign):
    shards = ShardSet(foreign)
    shards.write_index()
    again = ShardSet(foreign)
    assert np.array_equal(again.samples, shards.samples)
    assert again.key == shards.key
    shard(foreign / "val" / "0.tar", [(f"{i}.flac", coded(0.1)) for i in range(9)])
    assert len(ShardSet(foreign)) == 3 + 9


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder with a long recording, five short ones and a broken one, in three splits."""
    folder = tmp_path_factory.mktemp("recordings")
    for split, names in (("train", "abcd"), ("valid", "e"), ("test", "f")):
        (folder / split).mkdir()
        for number, name in enumerate(names):
            n_samples = 22_050 * 5 if name == "a" else 3000
            soundfile.write(folder / split / f"{name}.wav", np.full(n_samples, 0.1 * (number + 1)), 22_050)
    (folder / "train" / "broken.wav").write_bytes(b"nothing")
    return folder


@pytest.fixture
def short_pieces(monkeypatch):
    monkeypatch.setattr("masktools.training.shards.PIECE_S", 2.0)


@pytest.mark.usefixtures("short_pieces")
def test_shards_are_the_same_whatever_the_number_of_processes(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr("masktools.training.shards.PER_SHARD", 2)
    for n_workers in (1, 2):
        write_shards([recordings], tmp_path / str(n_workers), n_workers=n_workers)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir() if p.suffix != ".npz"} for n in ("1", "2"))
    assert one == two
    assert sorted(name for name in one if name.endswith(".tar")) == [
        "test-000000.tar", "train-000000.tar", "train-000001.tar", "train-000002.tar", "valid-000000.tar",
    ]  # fmt: skip


@pytest.mark.usefixtures("short_pieces")
def test_long_recordings_are_cut_and_broken_ones_named(recordings, tmp_path):
    shards = write_shards([recordings], tmp_path)
    assert [shards.item(int(i))[0].n_samples for i in shards.split("train")] == [44_100, 44_100, 22_050, *[3000] * 3]
    skipped, n_missing = skipped_in(tmp_path)
    assert n_missing == 0
    assert [path.rsplit("/", 1)[1] for path, _ in skipped] == ["broken.wav"]


def test_shards_are_written_once_and_other_ones_refused(recordings, tmp_path):
    first = write_shards([recordings], tmp_path)
    assert write_shards([recordings], tmp_path).key == first.key
    with pytest.raises(ParameterError, match="holds shards of other recordings or settings: choose another folder"):
        write_shards([recordings], tmp_path, sample_rate=16_000)


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    n_shuffled=st.integers(1, 9),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
)
@settings(max_examples=50, deadline=None)
def test_an_epoch_gives_each_sample_once(sizes, n_shuffled, seed, epoch):
    edges = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64).tobytes()
    places = [epoch_place(seed, epoch, place, edges, n_shuffled) for place in range(sum(sizes))]
    assert sorted(places) == list(range(sum(sizes)))


def test_epochs_come_in_different_orders_and_again_the_same(tmp_path):
    for number in range(4):
        levels = 0.01 * (1 + np.arange(5) + 5 * number)
        shard(tmp_path / f"train-{number}.tar", [(f"{i}.flac", coded(v)) for i, v in enumerate(levels)])
    stream, again = (ShardClipStream(ShardSet(tmp_path), "train", 1000, 3, PLAIN, 7) for _ in range(2))
    order = [round(float(stream.sample(i)["wave"].mean()) * 100) for i in range(60)]
    assert [sorted(order[start : start + 20]) for start in (0, 20, 40)] == [list(range(1, 21))] * 3
    assert order[:20] != order[20:40] != order[40:]
    assert [round(float(again.sample(i)["wave"].mean()) * 100) for i in (55, 3)] == [order[55], order[3]]


def test_a_broken_sample_gives_way_to_another_and_is_told_of_once(tmp_path):
    shard(tmp_path / "a.tar", [("bad.flac", b"noise"), ("good.flac", coded(0.5))])
    stream = ShardClipStream(ShardSet(tmp_path), "train", 1000, 0, PLAIN)
    with pytest.warns(UserWarning, match="skipped .*bad.flac cannot be read as audio") as warned:
        waves = [stream.sample(i)["wave"] for i in range(8)]
    assert len(warned) == 1
    assert list(stream.broken) == ["a.tar/bad.flac"]
    assert all(float(wave.mean()) == pytest.approx(0.5, abs=1e-3) for wave in waves)
    assert len(fixed_shard_clips(ShardSet(tmp_path), "train", 1000, 2)) == 1


def test_short_recordings_are_repeated(tmp_path):
    shard(tmp_path / "a.tar", [("a.flac", coded(0.5, 4000))])
    wave = ShardClipStream(ShardSet(tmp_path), "train", 40_000, 0, PLAIN).sample(0)["wave"]
    assert (wave > 0.4).float().mean() > 0.3
    assert (wave > 0.4).sum() > 8000


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="no shards below .*: they must end in .tar"):
        ShardSet(tmp_path)
    shard(tmp_path / "a.tar", [("a.txt", b"words")])
    with pytest.raises(ParameterError, match="no sample in the shards below .*: a sample is KEY.flac"):
        ShardSet(tmp_path)
    shard(tmp_path / "a.tar", [("a.flac", b"noise")])
    shards = ShardSet(tmp_path)
    with pytest.raises(ParameterError, match="no shard of split 'valid' below .*: they are of train; .* valid-000000"):
        shards.split("valid")
    with pytest.raises(ParameterError, match="n_shuffled must be at least 1, got 0"):
        ShardClipStream(shards, "train", 100, n_shuffled=0)
    with pytest.raises(ParameterError, match="no recording of split 'train' lasts 100 samples"):
        fixed_shard_clips(shards, "train", 100, 1)
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(MasktoolsError, match="100 samples in a row"):
        ShardClipStream(shards, "train", 100).sample(0)

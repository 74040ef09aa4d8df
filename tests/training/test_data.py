"""The data module of recipes that learn from waves, and that its training goes on exactly where it stopped."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.training.clips import AudioData
from masktools.training.shards import AudioCache, write_shards

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


class Listener(pl.LightningModule):
    """Learns nothing, and remembers which clips it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.heard, self.indices = [], []

    def training_step(self, batch, batch_idx):
        self.heard += batch["wave"].double().sum(1).tolist()
        self.indices += batch["index"].tolist()
        return self.weight.square().sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def listen(data, n_steps, resumed_from=None, **settings):
    """Train for so many steps, in epochs of three, and return the trainer and the listener."""
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=n_steps,
        max_epochs=-1,
        limit_train_batches=3,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"num_sanity_val_steps": 0} | settings,
    )
    listener = Listener()
    trainer.fit(listener, data, ckpt_path=resumed_from)
    return trainer, listener


@pytest.fixture(scope="module")
def shard_folder(manifest, tmp_path_factory):
    """The recordings of the manifest as shards."""
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("masktools.training.shards.PER_SHARD", 4)
        write_shards([manifest], folder)
    return folder


@pytest.fixture(params=["cache", "shards"])
def audio_folder(request, cache_folder, shard_folder):
    """A folder of audio of each kind that recipes can take."""
    return cache_folder if request.param == "cache" else shard_folder


def audio_data(folder, batch_size=2):
    return AudioData(str(folder), n_samples=4096, batch_size=batch_size, n_valid_clips=2)


def test_the_data_module_gives_batches_of_waves(audio_folder):
    data = audio_data(audio_folder, 3)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch["wave"].shape == (3, 4096)
    assert set(batch["caption"]) <= {"A hum.", "A blip."}
    assert next(iter(data.val_dataloader()))["wave"].shape == (2, 4096)


def test_an_epoch_goes_on_where_the_one_before_ended(audio_folder):
    _, listener = listen(audio_data(audio_folder), 8)
    assert listener.indices == list(range(16))
    assert len(set(listener.heard)) == 16


@pytest.mark.parametrize("stop", [2, 3, 5])
def test_a_resumed_run_hears_what_it_would_have_heard(cache_folder, tmp_path, stop):
    _, whole = listen(audio_data(cache_folder), 8)
    trainer, begun = listen(audio_data(cache_folder), stop)
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    _, resumed = listen(audio_data(cache_folder), 8, tmp_path / "stopped.ckpt", num_sanity_val_steps=1)
    assert begun.heard + resumed.heard == whole.heard


def test_a_run_resumed_with_another_batch_goes_on_with_the_next_clip(cache_folder, tmp_path):
    trainer, _ = listen(audio_data(cache_folder), 4)
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    _, resumed = listen(audio_data(cache_folder, 4), 6, tmp_path / "stopped.ckpt")
    assert resumed.indices == list(range(8, 16))


def test_a_checkpoint_of_before_goes_on_by_its_steps(cache_folder, tmp_path):
    trainer, _ = listen(audio_data(cache_folder), 4)
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    checkpoint = torch.load(tmp_path / "stopped.ckpt", weights_only=True)
    assert checkpoint.pop("AudioData") == {"next_sample": 8}
    torch.save(checkpoint, tmp_path / "older.ckpt")
    _, resumed = listen(audio_data(cache_folder), 6, tmp_path / "older.ckpt")
    assert resumed.indices == list(range(8, 12))


def test_the_cache_is_made_of_its_sources_where_a_recipe_names_them(manifest, tmp_path):
    data = AudioData(str(tmp_path / "cache"), n_samples=4096, sources=[str(manifest)])
    data.prepare_data()
    data.prepare_data()
    data.setup()
    assert len(AudioCache(tmp_path / "cache")) == 8


def test_audio_that_does_not_suit_is_refused(cache_folder, tmp_path):
    with pytest.raises(ParameterError, match="the cache must be at 16000 Hz, got 22050 Hz in"):
        AudioData(str(cache_folder), sample_rate=16_000).setup()
    with pytest.raises(ParameterError, match="no audio cache and no tar shards in .*: make one with `masktools cache`"):
        AudioData(str(tmp_path)).setup()


def test_clips_of_shards_are_those_of_the_cache(cache_folder, shard_folder):
    cached, sharded = (audio_data(folder) for folder in (cache_folder, shard_folder))
    for data in (cached, sharded):
        data.setup()
    first, second = (data.val_dataloader().dataset[0]["wave"] for data in (cached, sharded))
    np.testing.assert_allclose(first, second, atol=1.01 / 32767)

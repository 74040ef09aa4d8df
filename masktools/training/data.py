"""Training audio for every recipe that learns from waves: random clips to train on, fixed ones to validate with."""

from torch.utils.data import DataLoader

from masktools.training.audio_cache import AudioCache, build_cache
from masktools.training.audio_folders import open_audio
from masktools.training.clip_stream import ClipStream, WaveAugmentation, fixed_clips
from masktools.training.shard_stream import ShardClipStream, fixed_shard_clips
from masktools.training.stream_data import StreamData
from masktools.training.streams import Batch, StreamLoader

__all__ = ["AudioData"]


class AudioData(StreamData):
    """Clips of an audio cache or of tar shards: batches of ``wave`` (b, t) and ``caption``.

    Where ``sources`` are given, the cache is made of them before training, unless it is there already. Shards know no
    weights of kinds: they are read from end to end.
    """

    def __init__(
        self,
        cache: str,
        n_samples: int = 217_088,
        batch_size: int = 16,
        seed: int = 0,
        n_valid_clips: int = 32,
        n_workers: int = 0,
        gain_db: float = 6.0,
        mix_share: float = 0.1,
        kind_weights: dict[str, float] | None = None,
        speed: float = 1.0,
        sample_rate: int = 22_050,
        sources: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()

    def prepare_data(self) -> None:
        """Make the cache, in one process of each node."""
        own = self.hparams
        if own["sources"]:
            build_cache(own["sources"], own["cache"], own["sample_rate"], n_workers=max(1, own["n_workers"]))

    def setup(self, stage: str | None = None) -> None:
        """Open the cache or the shards."""
        self.audio = open_audio(self.hparams["cache"], self.hparams["sample_rate"])

    def train_dataloader(self) -> StreamLoader:
        """Return the endless training batches."""
        own = self.hparams
        augmentation = WaveAugmentation(own["gain_db"], own["mix_share"], own["speed"])
        if isinstance(self.audio, AudioCache):
            weights = own["kind_weights"]
            stream = ClipStream(self.audio, "train", own["n_samples"], own["seed"], augmentation, weights)
        else:
            stream = ShardClipStream(self.audio, "train", own["n_samples"], own["seed"], augmentation)
        return self.stream_loader(stream, own["batch_size"], own["n_workers"])

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the fixed validation batches."""
        own = self.hparams
        asked = ("valid", own["n_samples"], own["n_valid_clips"])
        if isinstance(self.audio, AudioCache):
            clips = fixed_clips(self.audio, *asked)
        else:
            clips = fixed_shard_clips(self.audio, *asked)
        return DataLoader(clips, own["batch_size"])  # type: ignore[arg-type]

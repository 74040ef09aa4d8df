"""The encoder: recordings of any rate, length and number -> embeddings; also as a torch module.

Nothing is masked. Recordings are encoded in windows of the model's length; every window is computed at its own length,
beside windows of the same length only, so that neither padding nor the batch changes a result.

Source: SpecMaskGIT (arXiv:2406.17672), section 4.4, for the use of the model as an encoder.
"""

import hashlib
import json
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypedDict, Unpack, cast, overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from masktools.core import arguments, configs, downloads, runtime, shapes
from masktools.core.errors import ParameterError, unknown_name
from masktools.core.runtime import threads as use_threads
from masktools.core.shapes import Wave
from masktools.features.layers import Embedding, LayerLike, check_pool, clip_factor, frame_factor, parse_layers
from masktools.features.windows import (
    Batches,
    Gathered,
    Rates,
    Source,
    Task,
    Times,
    Waves,
    as_sources,
    check_window,
    parse_hop,
    tokenised_windows,
)
from masktools.io import Recording
from masktools.networks.packing import feed_weights
from masktools.pipeline import Pipeline, Progress, Walk, hub
from masktools.pipeline.bundles import files_for_hub

_PARTS = ("tokenizer", "transformer", "conditioner")


def identity_of(pipeline: Pipeline) -> str:
    """Return the SHA-256, 64 hexadecimal digits, of all that embeddings depend on: not of the vocoder, nor of the name.

    Weights are hashed as bundles store them, in fp16 and in the order of their names, so that the hash of a model is
    the same before it is saved and after it is loaded. Of a conditioner that loads its weights lazily, the settings are
    hashed.
    """
    digest = hashlib.sha256(json.dumps(configs.to_dict(pipeline.mel), sort_keys=True).encode())
    for name in _PARTS:
        part = getattr(pipeline, name)
        settings = getattr(part, "config", None)
        words = [name, type(part).__name__, None if settings is None else configs.to_dict(settings)]
        digest.update(json.dumps(words, sort_keys=True).encode())
        if isinstance(part, nn.Module):
            feed_weights(digest, part.state_dict())
    return digest.hexdigest()


PREFIXES = ("learned", "condition", "clap")
PrefixLike = str | np.ndarray | Tensor
"""One of ``PREFIXES``, or condition vectors (d,) or (b, d) of the model's size.

``learned`` is the model's learned vector for "no condition". ``condition``, of which ``clap`` is another name, is the
embedding of the same audio by the model's conditioner, window by window: a probe on such embeddings then measures the
conditioner too.
"""

Prefix = Callable[[int, Wave | None], Tensor | None]
"""(number of the recording, audio of the window) -> a condition (d,), or None for the learned vector."""


def parse_prefix(prefix: PrefixLike, pipeline: Pipeline, n_recordings: int) -> tuple[Prefix, bool]:
    """Return the function that gives the condition of a window, and whether it needs the window's audio.

    Raises:
        ParameterError: an unknown name, a model without a conditioner, or vectors of another size or number.
    """
    if not isinstance(prefix, str):
        return _given(prefix, pipeline, n_recordings), False
    if prefix not in PREFIXES:
        raise unknown_name("prefix", prefix, (*PREFIXES, "a vector"))
    if prefix == "learned":
        return lambda index, wave: None, False
    conditioner = pipeline.conditioner
    if conditioner is None:
        raise ParameterError(f"prefix {prefix!r} needs a model with a conditioner, {pipeline.name!r} has none")

    def conditioned(index: int, wave: Wave | None) -> Tensor | None:
        return None if wave is None else conditioner.embed_audio(wave, pipeline.sample_rate)[0]

    return conditioned, True


def _given(vectors: np.ndarray | Tensor, pipeline: Pipeline, n_recordings: int) -> Prefix:
    if not isinstance(vectors, np.ndarray | Tensor):
        raise ParameterError(f"prefix must be one of {', '.join(PREFIXES)}, or vectors, got {arguments.shown(vectors)}")
    conditions = pipeline.condition(vectors)
    if conditions is None or len(conditions) not in (1, n_recordings):
        got = 0 if conditions is None else len(conditions)
        raise ParameterError(f"prefix must be one vector, or one for each of the {n_recordings} waves, got {got}")
    return lambda index, wave: conditions[index % len(conditions)]


_CARD = """# {name}

A masktools bundle, written by `Encoder.save_pretrained`. The encoder reads {sample_rate} Hz, has {n_layers} layers of
{width} numbers and a vector for each {hop_s:.4f} s. What it was trained on is to be told by whoever shares it.
"""


class Options(TypedDict, total=False):
    """Keyword arguments of ``Encoder.encode``, for type checkers."""

    layer: LayerLike
    pool: str
    prefix: PrefixLike
    hop_s: float | None
    window: str | float
    frames: bool
    tokens: bool
    progress: Progress | None


class Encoder:
    """The encoder of a pretrained model.

    Args:
        pipeline: the model: tokenizer, transformer and mel settings.
        threads: most CPU threads; as many as torch takes if None.

    Raises:
        ParameterError: fewer than one thread, or a model that embeds nothing.
    """

    def __init__(self, pipeline: Walk, threads: int | None = None) -> None:
        hub.check_job(pipeline, "embed")
        with use_threads(threads):
            self.pipeline, self.threads = cast(Pipeline, pipeline), threads

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] = "mini",
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
        threads: int | None = None,
        batch_size: int | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> "Encoder":
        """Load the encoder of a bundled model, of a folder, or of the Hugging Face hub.

        Args:
            model: the name of a model at hand, the folder of a bundle, or ``owner/name`` on the hub: a model that was
                loaded once is taken from the cache and needs no network.
            device: auto, cpu, cuda, cuda:N or mps.
            precision: auto, fp32, bf16, fp16 or int8. auto is fp32 on a CPU, so that vectors are the same on every
                processor, and bf16 on a GPU that supports it.
            threads: most CPU threads; as many as torch takes by default.
            batch_size: windows that a GPU computes at once, by default as many as fit into its memory; a CPU
                computes one by one.
            revision: revision of a model on the hub: a branch, a tag or, so that it never changes, a commit.
            cache_dir: folder for models of the hub; the hub's own cache by default.

        Raises:
            BundleError: no such model, or one that is incomplete, altered or of another format.
            ParameterError: a value out of its range, or an unknown name.
            DeviceError: a device or a precision that this machine does not offer.
        """
        if batch_size is not None:
            arguments.checked_whole("batch_size", batch_size, lowest=1)
        if isinstance(precision, str) and precision == "auto" and runtime.resolve_device(device).type == "cpu":
            precision = "fp32"
        with use_threads(threads):
            pipeline = hub.load_bundle(
                model, device, precision, batch_size=batch_size, revision=revision, cache_dir=cache_dir
            )
        return cls(pipeline, threads)

    def save_pretrained(self, folder: str | os.PathLike[str], card: str | None = None) -> Path:
        """Write the model as a bundle for ``from_pretrained`` and ``masktools.load``, and return its folder.

        Args:
            folder: path of the bundle; it must not exist yet.
            card: the text of the model card; a table of the encoder's sizes by default.

        Raises:
            ParameterError: a folder that exists, or whose parent does not.
        """
        sizes = {"sample_rate": self.sample_rate, "n_layers": self.n_layers, "width": self.width, "hop_s": self.hop_s}
        return hub.save_bundle(self.pipeline, folder, card or _CARD.format(name=self.name, **sizes), self.name)

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, card: str | None = None) -> str:
        """Upload the model to the Hugging Face hub, as the user who is signed in there, and return its address.

        Args:
            repo_id: ``owner/name``; it is made if it does not exist.
            private: whether only you may see it; the default of your account if None.
            card: the text of the model card; a table of the encoder's sizes by default.

        Raises:
            BundleError: huggingface_hub is not installed, or the hub refuses the upload.
        """
        with TemporaryDirectory() as place:
            folder = self.save_pretrained(Path(place) / "bundle", card)
            return downloads.upload(folder, repo_id, private, files=files_for_hub(folder))

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, {self.sample_rate} Hz, {self.n_layers} layers of {self.width}, {self.device})"

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.pipeline.name

    @property
    def sample_rate(self) -> int:
        """The model's own rate in Hz; recordings of any other are resampled."""
        return self.pipeline.sample_rate

    @property
    def n_layers(self) -> int:
        """Number of layers: the input of the first block, and the output of each block."""
        return self.pipeline.transformer.config.depth + 1

    @property
    def width(self) -> int:
        """Dimensions of the vector of one token."""
        return self.pipeline.transformer.config.width

    @property
    def hop_s(self) -> float:
        """Seconds from one frame to the next by default, those of a column of tokens."""
        return self.pipeline.grid.column_s

    @property
    def device(self) -> torch.device:
        """Device on which the model computes."""
        return self.pipeline.device

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the weights that embeddings depend on and of their settings, the same on every machine."""
        return identity_of(self.pipeline)

    def dim(self, pool: str = "mean", layer: LayerLike = "last") -> int:
        """Return the dimensions of the vector of a clip; layers side by side are added up.

        Raises:
            ParameterError: an unknown name, or a layer that the model does not have.
        """
        n_out = parse_layers(layer, self.n_layers - 1).n_out
        return n_out * clip_factor(check_pool(pool), self.pipeline.grid.n_rows) * self.width

    def frame_dim(self, pool: str = "mean", layer: LayerLike = "last") -> int:
        """Return the dimensions of the vector of a frame (of a token, with the pool ``none``), layers added up.

        Raises:
            ParameterError: an unknown name, or a layer that the model does not have.
        """
        n_out = parse_layers(layer, self.n_layers - 1).n_out
        return n_out * frame_factor(check_pool(pool), self.pipeline.grid.n_rows) * self.width

    def frame_hop_s(self, hop_s: float | None = None) -> float:
        """Return the seconds from one frame to the next that a request for ``hop_s`` yields.

        Raises:
            ParameterError: a hop that is not positive, or shorter than a mel frame.
        """
        return parse_hop(hop_s, self.pipeline.grid).seconds(self.pipeline.grid)

    @overload
    def encode(
        self, waves: np.ndarray | Recording | Source, sample_rate: Rates = None, **options: Unpack[Options]
    ) -> Embedding: ...

    @overload
    def encode(
        self, waves: list[Any] | tuple[Any, ...], sample_rate: Rates = None, **options: Unpack[Options]
    ) -> list[Embedding]: ...

    @overload
    def encode(
        self, waves: Waves, sample_rate: Rates = None, **options: Unpack[Options]
    ) -> Embedding | list[Embedding]: ...

    @torch.inference_mode()
    def encode(
        self,
        waves: Waves,
        sample_rate: Rates = None,
        *,
        layer: LayerLike = "last",
        pool: str = "mean",
        prefix: PrefixLike = "learned",
        hop_s: float | None = None,
        window: str | float = "model",
        frames: bool = True,
        tokens: bool = False,
        progress: Progress | None = None,
    ) -> Embedding | list[Embedding]:
        """Return the embedding of a recording; for a list, a tuple or a batch of them, a list.

        The result for a recording does not depend on its batch: on a CPU exactly, on a GPU up to the rounding of its
        precision. Open files (``io.open_recording``) and sources are read piece by piece, and take no more memory
        for an hour than for a minute, except for the result.

        Args:
            waves: numpy (t,) or (t, channels), as from soundfile; torch (t,), (channels, t) or (b, channels, t), as
                from
                torchaudio, on any device; an open audio file; a ``Source``; or a list or tuple of these, of any
                lengths. Channels are averaged. Results are always numpy arrays.
            sample_rate: sampling rate in Hz, one for all or one for each; files and sources have their own.
            layer: 0 is the input of the first block, 1 its output; negative numbers count from the last one;
                ``last``; ``mean``, the average of all; ``all``, or a list of numbers: side by side; or an array of
                floats, the weight of each layer in a sum.
            pool: mean, rows, max, mean_std, rows_std or none: how token vectors are combined (``features.POOLS``).
            prefix: ``learned``; ``condition``, the embedding of each window by the model's conditioner (``clap`` is
                another
                name for it): a probe then measures the conditioner too; or vectors (d,) or (b, d).
            hop_s: seconds from one frame to the next; a column of tokens, 0.186 s, if None. Longer: the average (with
                ``max`` the maximum) of the columns whose centres lie in each such interval. Shorter: the recording is
                encoded 2, 4, 8 or 16 times, each time a part of a column later, so that frames have their centres at 0,
                hop, 2 hop, ...; ``frame_hop_s`` tells the true hop. The vector of the clip is then pooled over all
                these passes, which makes it more accurate, above all for short recordings.
            window: length of a pass: ``model`` for the model's own, 9.85 s, or fewer seconds.
            frames: whether to return a vector for each frame.
            tokens: whether to return the tokens.
            progress: called with (windows done, windows in total).

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: samples or rates of another kind, a layer that the model does not have, an unknown name, or
                a value out of its range.
        """
        frames, tokens = arguments.checked_switch("frames", frames), arguments.checked_switch("tokens", tokens)
        arguments.checked_call("progress", progress)
        sources, alone = as_sources(waves, sample_rate)
        grid = self.pipeline.grid
        choice, hop = parse_layers(layer, self.n_layers - 1), parse_hop(hop_s, grid)
        window_cols = check_window(window, self.pipeline.window_cols, grid.column_s)
        before, needs_wave = parse_prefix(prefix, self.pipeline, len(sources))
        if check_pool(pool) == "none" and not frames:
            raise ParameterError("with the pool none there are frames only, but frames is False: choose another pool")
        every_times = [Times(grid, hop, source.n_samples, source.sample_rate) for source in sources]
        shifts = range(hop.n_shifts)
        widths = [times.n_columns(shift) for times in every_times for shift in shifts]
        n_windows = sum(len(shapes.cover(n_cols, window_cols, window_cols)) for n_cols in widths if n_cols)
        every_gathered = [
            Gathered(times, choice, pool, self.width, frames, tokens, source.duration_s)
            for times, source in zip(every_times, sources, strict=True)
        ]
        batches = Batches(self.pipeline, choice, pool, progress, n_windows)
        with use_threads(self.threads):
            for index, (source, gathered) in enumerate(zip(sources, every_gathered, strict=True)):
                for shift in shifts:
                    for piece in tokenised_windows(
                        self.pipeline, source, gathered.times, shift, window_cols, needs_wave
                    ):
                        condition = before(index, piece.wave)
                        batches.add(Task(gathered, piece.window, shift, piece.tokens, condition))
            batches.finish()
        found = [gathered.embedding() for gathered in every_gathered]
        return found[0] if alone else found


def embed(
    pipeline: Pipeline,
    samples: np.ndarray,
    sample_rate: int,
    layer: LayerLike = "last",
    pool: str = "mean",
    *,
    frames: bool = True,
    progress: Progress | None = None,
) -> Embedding:
    """Return the embedding of a recording (channels, t), full scale 1; see ``Encoder.encode`` for the arguments.

    Raises:
        AudioError: no samples, or some that are not finite.
        ParameterError: a layer that the model does not have, or an unknown name.
    """
    wave = np.asarray(samples, np.float32).T
    return Encoder(pipeline).encode(wave, sample_rate, layer=layer, pool=pool, frames=frames, progress=progress)


class EncoderModule(nn.Module):
    """An encoder with fixed options, as a torch module: (n, t) at its rate -> (n, d), one vector for each sound.

    It computes where its weights are moved to, stays in evaluation mode, and gives no gradients.

    Args:
        encoder: the encoder; it belongs to the module from now on.
        options: options of ``Encoder.encode``, the same for every call.

    Raises:
        ParameterError: options that the model does not have, or the pool ``none``.
    """

    def __init__(self, encoder: Encoder, **options: Any) -> None:
        super().__init__()
        layer, pool = options.get("layer", "last"), options.get("pool", "mean")
        if pool == "none":
            raise ParameterError("one vector for a sound is needed, and the pool none has none: choose another")
        self.encoder, self.options = encoder, options
        self.clip_dim, self.frame_dim = encoder.dim(pool, layer), encoder.frame_dim(pool, layer)
        self.frame_hop_s = encoder.frame_hop_s(options.get("hop_s"))
        pipeline = encoder.pipeline
        parts = (pipeline.front_end, pipeline.tokenizer, pipeline.transformer, pipeline.conditioner)
        self.parts = nn.ModuleList(part for part in parts if isinstance(part, nn.Module))
        self.train(False)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.encoder.pipeline.transformer.mask_vector.device

    def train(self, mode: bool = True) -> "EncoderModule":
        """Stay in evaluation mode: embeddings are computed without dropout."""
        return super().train(False)

    def forward(self, audio: Tensor) -> Float[Tensor, "n d"]:
        """Return one vector for each sound; layers side by side are concatenated.

        Raises:
            ParameterError: audio of another shape or kind.
            AudioError: no samples, or some that are not finite.
        """
        found = self._encode(audio, frames=False)
        return self._stacked([np.ravel(one.clip) for one in found if one.clip is not None], (self.clip_dim,))

    def over_time(self, audio: Tensor) -> tuple[Float[Tensor, "n m d"], np.ndarray]:
        """Return a vector for each frame of each sound, and the centres of the frames in seconds, (m,) float64.

        Raises:
            ParameterError: audio of another shape or kind.
            AudioError: no samples, or some that are not finite.
        """
        found = self._encode(audio, frames=True)
        times_s = np.zeros(0) if not found or found[0].times_s is None else found[0].times_s
        shape = (len(times_s), self.frame_dim)
        vectors = [np.moveaxis(one.frames, -2, 0).reshape(shape) for one in found if one.frames is not None]
        return self._stacked(vectors, shape), times_s

    def _encode(self, audio: Tensor, frames: bool) -> list[Embedding]:
        if not isinstance(audio, Tensor):
            raise ParameterError(f"audio must be a tensor of floats (n, t), got {arguments.shown(audio)}")
        if audio.ndim != 2 or not audio.is_floating_point():
            raise ParameterError(f"audio must be floats (n, t), got {audio.dtype} of shape {tuple(audio.shape)}")
        self.encoder.pipeline.device = self.device
        options: dict[str, Any] = {**self.options, "frames": frames}
        return self.encoder.encode(list(audio), self.encoder.sample_rate, **options)

    def _stacked(self, vectors: list[np.ndarray], shape: tuple[int, ...]) -> Tensor:
        stacked = np.stack(vectors) if vectors else np.zeros((0, *shape), np.float32)
        return torch.from_numpy(stacked).to(self.device)

"""The encoder in the shapes that evaluation suites ask for, MAEB and X-ARES; neither is needed to import it.

MAEB, the audio side of mteb: ``mteb.evaluate(model_meta("mini"), tasks)`` measures a model, ``mteb.mock_run`` tries it
on nothing. X-ARES takes the path of a file with one class whose name ends with ``Encoder``: one line,
``from masktools.adapters import XaresEncoder``.
"""

import math
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from masktools.core.errors import ParameterError
from masktools.features import Encoder, EncoderModule, LayerLike

_NEEDS_ONE = "one vector for a sound is needed, and the pool none has none: choose another"


class MaebEncoder:
    """An encoder with the face that mteb asks for. Nothing of mteb is imported.

    Args:
        model: the name of a model at hand, the folder of a bundle, or ``owner/name`` on the Hugging Face hub.
        revision: revision of a model on the hub.
        device: auto, cpu, cuda, cuda:N or mps; auto if None.
        layer: as ``Encoder.encode`` has it; layers side by side follow each other in one vector.
        pool: mean, rows, max, mean_std or rows_std.
        meta: description of the model by mteb.

    Raises:
        BundleError: no such model.
        ParameterError: an unknown name, or a value out of its range.
    """

    def __init__(
        self,
        model: str = "mini",
        revision: str | None = None,
        *,
        device: str | None = None,
        layer: LayerLike = "last",
        pool: str = "mean",
        meta: Any = None,
    ) -> None:
        if pool == "none":
            raise ParameterError(_NEEDS_ONE)
        self.encoder = Encoder.from_pretrained(model, device=device or "auto", revision=revision)
        self.layer, self.pool = layer, pool
        self.mteb_model_meta = meta
        self.dim = self.encoder.dim(pool, layer)

    def get_audio_embeddings(self, inputs: Iterable[Mapping[str, Any]], **options: Any) -> np.ndarray:
        """Return one vector for each sound, (n, d) float32.

        Args:
            inputs: batches whose ``audio`` is a list of ``{"array": (t,) or (channels, t), "sampling_rate": Hz}``, of
                any lengths and rates; where no rate is given it is the model's.
            options: further options of mteb, such as ``show_progress_bar``; not used.

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: batches without audio, or arrays of another kind.
        """
        vectors = []
        for batch in inputs:
            if "audio" not in batch:
                raise ParameterError(f"a batch must have audio, got {', '.join(batch) or 'nothing'}")
            waves, rates = zip(*map(self._wave, batch["audio"]), strict=True) if len(batch["audio"]) else ((), ())
            found = self.encoder.encode(list(waves), list(rates), layer=self.layer, pool=self.pool, frames=False)
            vectors += [np.ravel(one.clip) for one in found if one.clip is not None]
        return np.stack(vectors) if vectors else np.zeros((0, self.dim), np.float32)

    def _wave(self, item: Mapping[str, Any]) -> tuple[np.ndarray, int]:
        """Return samples (t,) or (t, channels) and their rate."""
        samples = np.asarray(item["array"], np.float32)
        return samples.T, int(item.get("sampling_rate") or self.encoder.sample_rate)

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any = None,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **options: Any,
    ) -> np.ndarray:
        """Return one vector for each sound: ``get_audio_embeddings``, whatever the task.

        Args:
            inputs: as ``get_audio_embeddings`` has them.
            task_metadata: not needed here.
            hf_split: not needed here.
            hf_subset: not needed here.
            prompt_type: not needed here.
            options: not needed here.

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: batches without audio, or arrays of another kind.
        """
        return self.get_audio_embeddings(inputs, **options)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Return the cosine of every vector of one set with every one of another, (n1, n2)."""
        return _unit(embeddings1) @ _unit(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Return the cosine of each vector of one set with its partner in another, (n,)."""
        return (_unit(embeddings1) * _unit(embeddings2)).sum(axis=-1)


def _unit(vectors: Any) -> np.ndarray:
    rows = np.atleast_2d(np.asarray(vectors, np.float64))
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def model_meta(
    model: str = "mini",
    *,
    name: str | None = None,
    revision: str | None = None,
    layer: LayerLike = "last",
    pool: str = "mean",
) -> Any:
    """Return what ``mteb.get_model`` and ``mteb.evaluate`` need to load a model: an ``mteb.ModelMeta``.

    Args:
        model: the name of a model at hand, the folder of a bundle, or ``owner/name`` on the Hugging Face hub.
        name: ``owner/name``, as it stands in tables; masktools/ and the model's own name if None.
        revision: revision of a model on the hub.
        layer: as ``Encoder.encode`` has it.
        pool: mean, rows, max, mean_std or rows_std.

    Raises:
        BundleError: no such model.
        ParameterError: an unknown name, a value out of its range, or mteb is not installed.
    """
    if pool == "none":
        raise ParameterError(_NEEDS_ONE)
    try:
        models = import_module("mteb.models")
    except ImportError as error:
        raise ParameterError("model_meta needs the package mteb: pip install mteb") from error
    encoder = Encoder.from_pretrained(model, device="cpu", revision=revision)
    n_parameters = sum(weight.numel() for weight in encoder.pipeline.transformer.parameters())
    n_parameters += sum(weight.numel() for weight in encoder.pipeline.tokenizer.parameters())
    known: dict[str, Any] = {}

    def load(_: str, revision: str | None = None, *, device: str | None = None, **options: Any) -> MaebEncoder:
        return MaebEncoder(model, revision, device=device, layer=layer, pool=pool, meta=known["meta"])

    known["meta"] = models.ModelMeta(
        loader=load,
        name=name or f"masktools/{encoder.name}",
        revision=revision,
        release_date=None,
        languages=None,
        n_parameters=n_parameters,
        memory_usage_mb=None,
        max_tokens=math.inf,
        embed_dim=encoder.dim(pool, layer),
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name="cosine",
        use_instructions=False,
        training_datasets=None,
        modalities=["audio"],
    )
    return known["meta"]


class XaresEncoder(EncoderModule):
    """Audio -> vectors over time. ``forward``: (b, t) at ``sampling_rate`` -> (b, m, d).

    Args:
        model: the name of a model at hand, the folder of a bundle, or ``owner/name`` on the Hugging Face hub.
        layer: as ``Encoder.encode`` has it.
        pool: mean, rows or max: how the rows of a column become one.
        hop_s: seconds from one vector to the next; a column of tokens, 0.186 s, if None.

    Attributes:
        sampling_rate: sampling rate in Hz.
        output_dim: numbers in a vector.
        hop_size_in_ms: milliseconds from one vector to the next.

    Raises:
        BundleError: no such model.
        ParameterError: an unknown name, or a value out of its range.
    """

    def __init__(
        self, model: str = "mini", layer: LayerLike = "last", pool: str = "mean", hop_s: float | None = None
    ) -> None:
        super().__init__(Encoder.from_pretrained(model, device="cpu"), layer=layer, pool=pool, hop_s=hop_s)
        self.sampling_rate: int = self.encoder.sample_rate
        self.output_dim: int = self.frame_dim
        self.hop_size_in_ms: float = 1000.0 * self.frame_hop_s

    def forward(self, audio: Tensor) -> Float[Tensor, "n m d"]:
        """Return a vector for each moment of each sound.

        Raises:
            ParameterError: audio of another shape or kind.
            AudioError: no samples, or some that are not finite.
        """
        return self.over_time(audio)[0]

"""The common API of HEAR: ``load_model``, ``get_scene_embeddings`` and ``get_timestamp_embeddings``.

Audio is (n, t) in [-1, 1], mono, at ``model.sample_rate``. Timestamps are in milliseconds: the centre of a frame,
never behind the end of the sound.

Source: HEAR (arXiv:2203.03022) and its common API.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from masktools.core.arguments import checked_real, shown
from masktools.core.errors import ParameterError
from masktools.features import Encoder, EncoderModule


class HearModel(EncoderModule):
    """An encoder with the attributes that HEAR requires.

    Attributes:
        sample_rate: sampling rate in Hz; the only one that it accepts.
        scene_embedding_size: dimensions of the vector of a sound.
        timestamp_embedding_size: dimensions of the vector of a frame.
    """

    def __init__(self, encoder: Encoder, **options: Any) -> None:
        super().__init__(encoder, **options)
        self.sample_rate: int = encoder.sample_rate
        self.scene_embedding_size: int = self.clip_dim
        self.timestamp_embedding_size: int = self.frame_dim


def load_model(
    model_file_path: str = "",
    *,
    layer: int | str | list[int] | list[float] = "last",
    pool: str = "mean",
    hop_ms: float | None = None,
    prefix: str = "learned",
    window: str | float = "model",
    precision: str = "fp32",
    batch_size: int | None = None,
    threads: int | None = None,
) -> HearModel:
    """Load a model on the CPU; the caller moves it to its device.

    Args:
        model_file_path: the name of a model at hand, the folder of a bundle, or ``owner/name`` on the Hugging Face hub;
            the bundled model if it is empty.
        layer: as in ``Encoder.encode``; layers side by side are concatenated.
        pool: mean, rows, max, mean_std or rows_std.
        hop_ms: milliseconds from one timestamp to the next; a column of tokens, 185.76 ms, if None. 50 gives 46.44 ms
            at
            four times the cost.
        prefix: learned or condition.
        window: length of a pass: ``model``, or seconds.
        precision: fp32, bf16, fp16 or int8.
        batch_size: windows that a GPU computes at once.
        threads: most CPU threads.

    Raises:
        BundleError: no such model.
        ParameterError: an unknown name, or a value out of its range.
    """
    model = "mini" if model_file_path in ("", None) else model_file_path
    encoder = Encoder.from_pretrained(model, device="cpu", precision=precision, threads=threads, batch_size=batch_size)
    hop_s = None if hop_ms is None else checked_real("hop_ms", hop_ms, "milliseconds") / 1000
    return HearModel(encoder, layer=layer, pool=pool, hop_s=hop_s, prefix=prefix, window=window)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Float[Tensor, "n d"]:
    """Return one vector for each sound, float32.

    Args:
        audio: (n, t) at the model's rate.
        model: model from ``load_model``.

    Raises:
        ParameterError: audio of another shape or kind.
        AudioError: no samples, or some that are not finite.
    """
    return _checked(model)(audio)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Float[Tensor, "n m d"], Float[Tensor, "n m"]]:
    """Return a vector for each frame of each sound, and the centre of each frame in ms, both float32.

    Args:
        audio: (n, t) at the model's rate.
        model: model from ``load_model``.

    Raises:
        ParameterError: audio of another shape or kind.
        AudioError: no samples, or some that are not finite.
    """
    vectors, times_s = _checked(model).over_time(audio)
    stamps_ms = torch.from_numpy((1000.0 * times_s).astype(np.float32)).to(model.device)
    return vectors, stamps_ms.expand(len(vectors), -1).clone()


def _checked(model: object) -> HearModel:
    if not isinstance(model, HearModel):
        raise ParameterError(f"model must be what load_model gave, got {shown(model)}")
    return model

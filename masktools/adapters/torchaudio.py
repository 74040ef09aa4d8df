"""The encoder as torchaudio's pipelines hold models: ``SPECMASKGIT_MINI.get_model().extract_features(waveform)``.

What a bundle offers is named as in ``torchaudio.pipelines.Wav2Vec2Bundle``, whose place it can take; torchaudio
itself is not needed.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from masktools.core.arguments import checked_whole, shown
from masktools.core.errors import ParameterError
from masktools.features import Encoder, EncoderModule

__all__ = ["SPECMASKGIT_MINI", "FeatureModel", "SpecMaskGitBundle"]


class FeatureModel(EncoderModule):
    """Waveforms -> the features of every block over time. It stays in evaluation and gives no gradients."""

    def extract_features(
        self, waveforms: Float[Tensor, "n t"], lengths: Tensor | None = None, num_layers: int | None = None
    ) -> tuple[list[Float[Tensor, "n m d"]], Tensor | None]:
        """Return what leaves each block, a vector for each 0.186 s, and how many of them are of each waveform.

        Args:
            waveforms: waveforms in [-1, 1], at the rate of the bundle.
            lengths: (n,) samples of each that count; what follows them changes nothing, and its vectors are 0.
            num_layers: blocks that are wanted, from the first on; all of them if None.

        Returns:
            A list with (n, m, d) for each block, and (n,) whole numbers, None where no lengths were given.

        Raises:
            ParameterError: waveforms of another shape, or more blocks than there are.
            AudioError: no samples, or some that are not finite.
        """
        depth = self.encoder.n_layers - 1
        n_blocks = depth if num_layers is None else checked_whole("num_layers", num_layers, 1, depth)
        if not isinstance(waveforms, Tensor) or waveforms.ndim != 2 or not waveforms.is_floating_point():
            raise ParameterError(f"waveforms must be floats (n, t), got {shown(waveforms)}")
        stops = [waveforms.shape[1]] * len(waveforms) if lengths is None else lengths.tolist()
        if len(stops) != len(waveforms) or not all(0 < stop <= waveforms.shape[1] for stop in stops):
            raise ParameterError(f"lengths must be one in 1 to {waveforms.shape[1]} for each waveform, got {stops}")
        waves = [wave[:stop] for wave, stop in zip(waveforms, stops, strict=True)]
        options: dict[str, Any] = {**self.options, "layer": list(range(1, n_blocks + 1)), "frames": True}
        self.encoder.pipeline.device = self.device
        found = self.encoder.encode(waves, self.encoder.sample_rate, **options)
        frames = [torch.from_numpy(one.frames).transpose(0, 1) for one in found if one.frames is not None]
        stacked = pad_sequence(frames, batch_first=True).to(self.device)  # (n, m, l, d)
        counts = torch.tensor([len(frame) for frame in frames], device=self.device)
        return list(stacked.unbind(2)), None if lengths is None else counts

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return what leaves the last block, (n, m, d), and how many vectors are of each waveform."""
        features, counts = self.extract_features(waveforms, lengths)
        return features[-1], counts


@dataclass(frozen=True)
class SpecMaskGitBundle:
    """A model by name, and what belongs to it. Nothing is read before it is asked for.

    Args:
        model: the name of a model at hand, the folder of a bundle, or ``owner/name`` on the Hugging Face hub.
    """

    model: str = "mini"

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder.from_pretrained(self.model, device="cpu")

    @property
    def sample_rate(self) -> int:
        """The rate of the waveforms in Hz.

        Raises:
            BundleError: no such model.
        """
        return self._encoder.sample_rate

    def get_model(self) -> FeatureModel:
        """Return the model, on the CPU; ``.to(device)`` moves it.

        Raises:
            BundleError: no such model, or one that is incomplete or altered.
        """
        return FeatureModel(Encoder.from_pretrained(self.model, device="cpu"), pool="mean")


SPECMASKGIT_MINI = SpecMaskGitBundle("mini")
"""The model in the package."""

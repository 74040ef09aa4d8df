"""The encoder as X-ARES holds it: a module whose class name ends with ``Encoder``, sequences out.

X-ARES takes the path of a file with one such class in it: one line, ``from masktools.adapters import XaresEncoder``.
"""

from jaxtyping import Float
from torch import Tensor

from masktools.features import Encoder, EncoderModule, LayerLike

__all__ = ["XaresEncoder"]


class XaresEncoder(EncoderModule):
    """Audio -> vectors over time. ``forward``: (b, t) at ``sampling_rate`` -> (b, m, d).

    Args:
        model: the name of a model at hand, the folder of a bundle, or ``owner/name`` on the Hugging Face hub.
        layer: as ``Encoder.encode`` has it.
        pool: mean, rows or max: how the rows of a column become one.
        hop_s: from one vector to the next; a column of tokens, 0.186 s, if None.

    Attributes:
        sampling_rate: in Hz.
        output_dim: numbers in a vector.
        hop_size_in_ms: from one vector to the next.

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

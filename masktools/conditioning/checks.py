"""What a conditioner may be asked to embed."""

from collections.abc import Sequence

from masktools.arguments import shown
from masktools.errors import ParameterError
from masktools.shapes import Wave

__all__ = ["check_texts", "check_wave"]


def check_texts(texts: Sequence[str]) -> None:
    """Check that there is something to read.

    Raises:
        ParameterError: There are no texts, or one is empty.
    """
    if isinstance(texts, str) or not texts:
        raise ParameterError(f"prompts must be a list of at least one text, got {shown(texts)}")
    for text in texts:
        if not text.strip():
            raise ParameterError(f"a prompt must name a sound, but {text!r} is empty")


def check_wave(wave: Wave, sample_rate: int) -> None:
    """Check that there is something to hear.

    Raises:
        ParameterError: There are no samples, some are not finite, or the rate is not positive.
    """
    if sample_rate < 1:
        raise ParameterError(f"sample_rate must be positive, got {sample_rate} Hz")
    if wave.shape[-1] == 0:
        raise ParameterError("a wave to embed must have samples, got none")
    if not wave.isfinite().all():
        raise ParameterError("a wave to embed must be finite, got NaN or infinite samples")

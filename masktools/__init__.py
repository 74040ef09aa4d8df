"""masktools: one masked model of mel spectrograms that fills, extends, generates and embeds audio.

Importing the package loads neither torch nor numpy; the first use of ``load``, ``Model`` or ``Encoder`` does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masktools.features import Encoder
    from masktools.model import Model, load

__all__ = ["Encoder", "Model", "__version__", "load"]

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name in ("Model", "load"):
        import masktools.model

        return getattr(masktools.model, name)
    if name == "Encoder":
        import masktools.features

        return masktools.features.Encoder
    raise AttributeError(f"module 'masktools' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

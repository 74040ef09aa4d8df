"""The encoder in the shapes that evaluation suites ask for; none of the suites is needed to import them."""

from masktools.adapters.maeb import MaebEncoder, model_meta
from masktools.adapters.xares import XaresEncoder

__all__ = ["MaebEncoder", "XaresEncoder", "model_meta"]

"""The encoder as other libraries hold one: evaluation suites, timm, transformers and torchaudio.

Each library has a module of its own, which needs that library and is loaded by nothing else: `adapters.timm`,
`adapters.transformers`; `adapters.torchaudio` and `adapters.suites` (MAEB, X-ARES) need none.
"""

from masktools.adapters.suites import MaebEncoder, XaresEncoder, model_meta

__all__ = ["MaebEncoder", "XaresEncoder", "model_meta"]

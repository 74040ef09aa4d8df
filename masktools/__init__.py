"""masktools: one masked model of mel spectrograms that restores, extends, generates and embeds audio.

Importing the package loads neither torch nor numpy; the first use of ``load``, ``Model`` or ``Encoder`` does.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masktools.core.errors import MasktoolsError
    from masktools.core.settings import (
        BandSettings,
        ContinuationSettings,
        DecodingSettings,
        GapSettings,
        LoopSettings,
        PromptSettings,
        RepairSettings,
        VariationSettings,
    )
    from masktools.features import Encoder
    from masktools.model import Model, Result, load

__all__ = [
    "BandSettings", "ContinuationSettings", "DecodingSettings", "Encoder", "GapSettings", "LoopSettings",
    "MasktoolsError", "Model", "PromptSettings", "RepairSettings", "Result", "VariationSettings", "__version__", "load",
]  # fmt: skip

__version__ = "0.2.0"

_HOMES = {"Model": "model", "Result": "model", "load": "model", "Encoder": "features", "MasktoolsError": "core.errors"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name) or ("core.settings" if name in __all__ else None)
    if home is None:
        raise AttributeError(f"module 'masktools' has no attribute {name!r}")
    return getattr(importlib.import_module(f"masktools.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

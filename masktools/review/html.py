"""Pages that play and show without a server and without a network: templates, with sounds and pictures inside."""

import base64
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import soundfile
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from masktools.errors import ParameterError

__all__ = ["Player", "data_uri", "render", "wav_bytes"]

_PACKAGE = "masktools.review"


class Player(NamedTuple):
    """A recording to be played."""

    caption: str
    source: str  # an address: of a file relative to the page, or one that holds the recording
    ours: bool = False  # whether masktools made it
    note: str = ""  # in smaller letters


def render(template: str, package: str = _PACKAGE, **values: Any) -> str:
    """Return the page that a template makes of values, all of which are escaped.

    Args:
        template: its file name in the folder ``templates`` of the package, or of this one.
        package: whose template it is.
        values: what the template shows; ``alone`` tells that all of the page is in one file, so that a browser can be
            told to fetch nothing.
    """
    return _environment(package).get_template(template).render(values)


@cache
def _environment(package: str) -> Environment:
    loader = ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, _PACKAGE))])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["asset"] = _asset
    return environment


@cache
def _asset(name: str) -> Markup:
    return Markup((files(_PACKAGE) / "static" / name).read_text(encoding="utf-8"))  # noqa: S704  our own file


def data_uri(kind: str, content: bytes) -> str:
    """Return content as an address that holds it.

    >>> data_uri("image/png", b"PNG")
    'data:image/png;base64,UE5H'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def wav_bytes(samples: np.ndarray, sample_rate: int, bits: int) -> bytes:
    """Return a WAV of samples as they are: nothing is scaled, what lies beyond full scale is clipped.

    Args:
        samples: (channels, t), full scale 1; what is not finite becomes zero.
        sample_rate: in Hz.
        bits: of a sample, 16 or 24.

    Raises:
        ParameterError: another number of bits, or samples of another shape.
    """
    if bits not in (16, 24):
        raise ParameterError(f"a player's samples must have 16 or 24 bits, got {bits}")
    if samples.ndim != 2 or not samples.size:
        raise ParameterError(f"samples must be of shape (channels, t) and not empty, got {samples.shape}")
    full_scale = 2.0 ** (bits - 1)
    finite = np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    codes = np.rint(finite * full_scale).clip(-full_scale, full_scale - 1).astype(np.int64)
    held = BytesIO()  # libsndfile takes the upper bits of 32, so that codes stay what they are
    soundfile.write(held, (codes << (32 - bits)).astype(np.int32).T, sample_rate, f"PCM_{bits}", format="WAV")
    return held.getvalue()

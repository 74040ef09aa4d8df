"""How a band is extended."""

from dataclasses import dataclass
from math import isfinite

from masktools.arguments import checked_name, settle
from masktools.errors import ParameterError
from masktools.restoration.band_stereo import CHANNEL_MODES, LINKED
from masktools.restoration.texture import TEXTURES

__all__ = ["BandSettings"]

_MAX_DB = 24.0


@dataclass(frozen=True)
class BandSettings:
    """Settings of bandwidth extension beside the cutoff, the seed and the decoding."""

    lfr: bool = True  # low-frequency replacement: the original, plus what was generated above the cutoff
    channels: str = LINKED  # one of CHANNEL_MODES
    texture: str = "model"  # one of TEXTURES; without lfr always the model's
    leak_free: bool = True  # False: known tokens are computed from the recording as it is
    quiet_guard_db: float | None = 3.0  # over the floor's continuation, in pauses; None leaves them alone
    hf_gain_db: float = 0.0  # of the added band
    limit_peaks: bool = True  # the added band gives way where the sum would leave full scale
    clean_above: bool = False  # what the recording has above the cutoff is taken away first, if it is faint
    to_hz: float | None = None  # up to where; None: where the band of such recordings ends

    def __post_init__(self) -> None:
        """Check every kind, name and range."""
        settle(self)
        checked_name("channels", self.channels, CHANNEL_MODES)
        checked_name("texture", self.texture, TEXTURES)
        if self.quiet_guard_db is not None and not (isfinite(self.quiet_guard_db) and abs(self.quiet_guard_db) < 60):
            raise ParameterError(
                f"quiet_guard_db must lie in (-60, 60) dB, or be None for no guard, got {self.quiet_guard_db:g} dB"
            )
        if self.to_hz is not None and not self.lfr:
            raise ParameterError("to is for what is added to a recording: without lfr the band ends with the model's")
        if not abs(self.hf_gain_db) <= _MAX_DB:
            raise ParameterError(f"hf_gain_db must lie in [-{_MAX_DB:g}, {_MAX_DB:g}] dB, got {self.hf_gain_db:g} dB")

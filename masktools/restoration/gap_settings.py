"""How gaps are filled: every setting beside the recording, the gaps and the model, and the method for each length."""

from dataclasses import dataclass

from masktools.arguments import checked_name, settle
from masktools.classical import GAP_FILLS
from masktools.classical.janssen import MAX_GAP_S
from masktools.errors import ParameterError
from masktools.restoration.band_stereo import INDEPENDENT, LINKED, MID_SIDE, check_channels
from masktools.restoration.texture import TEXTURES

__all__ = ["AUTO", "BLEND", "METHODS", "MODEL", "SEARCH", "GapSettings"]

AUTO, MODEL, BLEND, SEARCH = "auto", "model", "blend", "search"
METHODS = (AUTO, MODEL, *GAP_FILLS)
"""By length, by the model, or by a classical method."""

MODEL_ABOVE_S = 0.186  # one column of tokens; what is shorter has one column of its own at most
MAX_CANDIDATES = 64
MAX_MATCH_DB = 60.0


@dataclass(frozen=True)
class GapSettings:
    """Settings of gap filling beside the decoding."""

    seed: int = 0
    method: str = MODEL  # one of METHODS
    classical_below_s: float = 0.06  # with "auto": gaps up to here are Janssen's
    max_gap_s: float = 4.0  # with "auto": longer gaps are refused
    n_candidates: int = 1  # fills by the model of each gap, of which the one that fits best is taken
    match_level_db: float = 6.0  # by which a fill is made louder or fainter at most, to meet what is known
    channels: str = LINKED  # one of CHANNEL_MODES
    texture: str = "model"  # one of TEXTURES
    leak_free: bool = True  # False: known tokens are computed from audio that still holds what is in the gaps

    def __post_init__(self) -> None:
        """Check every kind, name and range."""
        settle(self)
        checked_name("method", self.method, METHODS)
        checked_name("texture", self.texture, TEXTURES)
        for name, value in (("classical_below_s", self.classical_below_s), ("max_gap_s", self.max_gap_s)):
            if not value >= 0:
                raise ParameterError(f"{name} must not be negative, got {value:g} s")
        if not 1 <= self.n_candidates <= MAX_CANDIDATES:
            raise ParameterError(f"n_candidates must lie in [1, {MAX_CANDIDATES}], got {self.n_candidates}")
        if not 0 <= self.match_level_db <= MAX_MATCH_DB:
            raise ParameterError(f"match_level_db must lie in [0, {MAX_MATCH_DB:g}] dB, got {self.match_level_db:g} dB")

    def check_channels(self, n_channels: int) -> None:
        """Refuse a way of treating channels that is unknown or not for so many.

        Raises:
            ParameterError: the message says what there is.
        """
        check_channels(self.channels, n_channels)

    @property
    def linked(self) -> bool:
        """Whether all channels have the same random numbers."""
        return self.channels != INDEPENDENT

    @property
    def mid_side(self) -> bool:
        """Whether the middle and the side of two channels are filled, not the channels themselves."""
        return self.channels == MID_SIDE

    @property
    def searches_first(self) -> bool:
        """Whether a gap that is the model's is filled from the recording itself, where that holds something alike."""
        return self.method == AUTO and self.texture == "blend"

    def seeds_for(self, number: int, channels: tuple[int, ...]) -> tuple[int, ...]:
        """Return the seeds of what a classical method leaves to chance.

        Args:
            number: of the gap in its recording.
            channels: that are filled.
        """
        return (self.seed % 2**64, number, *(() if self.linked else channels))

    def method_for(self, length_s: float) -> str:
        """Return what fills a gap of that length: the model, a classical method, or the "blend" of both.

        Raises:
            ParameterError: with "auto", a gap longer than ``max_gap_s``.
        """
        if self.method == AUTO:
            if length_s > self.max_gap_s:
                raise ParameterError(
                    f"gaps must be at most {self.max_gap_s:g} s long, got one of {length_s:.6g} s, of which nothing "
                    "but an invention can be made: set max_gap_s (--max-gap) higher to have it filled all the same"
                )
            if length_s > max(self.classical_below_s, MODEL_ABOVE_S):
                return MODEL
            if length_s > self.classical_below_s:
                return BLEND
        chosen = "janssen" if self.method == AUTO else self.method
        return "burg" if chosen == "janssen" and length_s > MAX_GAP_S else chosen

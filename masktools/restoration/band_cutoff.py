"""Where a recording's own band ends, and whether a model can go on from there."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from masktools.arguments import checked_real
from masktools.errors import ParameterError, unknown_name
from masktools.pipeline import Pipeline

__all__ = ["EXTENDABLE", "FULL_BAND", "OUT_OF_REACH", "Decision", "check_cutoff", "choose_cutoff", "cutoff_limits_hz"]

EXTENDABLE, FULL_BAND, OUT_OF_REACH = "extendable", "full_band", "out_of_reach"
_HIGHEST_SHARE = 0.86  # of the model's band: above it there is next to nothing left to add


@runtime_checkable
class BandEdge(Protocol):
    """What was found about the band of a recording."""

    @property
    def cutoff_hz(self) -> float | None:
        """Where the band ends, or None where no edge was found."""
        ...


@dataclass(frozen=True)
class Decision:
    """Whether a recording is to be extended, from which frequency on, or why not."""

    cutoff_hz: float | None  # None unless it is to be extended
    status: str  # extendable, full_band or out_of_reach
    reason: str = ""  # one sentence, where it is not to be extended

    def __post_init__(self) -> None:
        """Check that a cutoff is given exactly where there is something to do."""
        if self.status not in (EXTENDABLE, FULL_BAND, OUT_OF_REACH):
            raise unknown_name("status", self.status, (EXTENDABLE, FULL_BAND, OUT_OF_REACH))
        if (self.cutoff_hz is None) == (self.status == EXTENDABLE):
            raise ParameterError(
                f"a decision has a cutoff if and only if it is {EXTENDABLE!r}, "
                f"got {self.cutoff_hz} Hz and {self.status!r}"
            )


def cutoff_limits_hz(pipeline: Pipeline) -> tuple[float, float]:
    """Return the lowest and the highest cutoff that a model can work with.

    It must hear its lowest row of tokens at least, and have something left to add.
    """
    return pipeline.grid.row_edges_hz[1], _HIGHEST_SHARE * pipeline.mel.f_max


def choose_cutoff(bandwidth: BandEdge, pipeline: Pipeline, sample_rate: int) -> Decision:
    """Return what to do with a recording whose band was measured.

    Args:
        bandwidth: what ``detection.find_bandwidth`` found.
        pipeline: the model.
        sample_rate: of the recording, in Hz.

    Returns:
        The cutoff to extend from; or the status ``full_band`` where no edge was found, and ``out_of_reach`` where the
        model has next to nothing to add above it, or hears nothing below it.
    """
    cutoff_hz = bandwidth.cutoff_hz
    if cutoff_hz is None:
        return Decision(None, FULL_BAND, "no edge was found above which the recording has nothing")
    refusal = _refusal(pipeline, cutoff_hz)
    if refusal is not None:
        return Decision(None, OUT_OF_REACH, f"its band ends at {cutoff_hz:.0f} Hz, and {refusal}")
    return Decision(min(float(cutoff_hz), sample_rate / 2), EXTENDABLE)


def check_cutoff(pipeline: Pipeline, cutoff_hz: float, sample_rate: int) -> None:
    """Refuse a cutoff that the recording or the model does not have.

    Raises:
        ParameterError: the message says what it must be.
    """
    cutoff_hz = checked_real("cutoff", cutoff_hz, "Hz")
    if not 0 < cutoff_hz <= sample_rate / 2:
        raise ParameterError(
            f"cutoff must lie in (0, {sample_rate / 2:g}] Hz, half the recording's sample rate, got {cutoff_hz:g} Hz"
        )
    refusal = _refusal(pipeline, cutoff_hz)
    if refusal is not None:
        lowest, highest = cutoff_limits_hz(pipeline)
        limit = f"at most {highest:.0f}" if cutoff_hz > highest else f"at least {lowest:.0f}"
        raise ParameterError(f"cutoff must be {limit} Hz, got {cutoff_hz:g} Hz: {refusal}")


def _refusal(pipeline: Pipeline, cutoff_hz: float) -> str | None:
    lowest, highest = cutoff_limits_hz(pipeline)
    if cutoff_hz > highest:
        return (
            f"this model's band ends at {pipeline.mel.f_max:g} Hz, so that above {highest:.0f} Hz it has next to "
            "nothing to add"
        )
    if cutoff_hz < lowest:
        return f"below {lowest:.0f} Hz this model hears nothing that it could extend"
    return None

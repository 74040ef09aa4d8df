"""Plan of a bandwidth extension: the cutoff of a recording, and whether a model can extend from there."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from masktools.core.arguments import checked_real
from masktools.core.errors import ParameterError, unknown_name
from masktools.pipeline import Pipeline
from masktools.pipeline.hub import check_job

EXTENDABLE, FULL_BAND, OUT_OF_REACH = "extendable", "full_band", "out_of_reach"
USUAL_TOP_HZ = 20_000.0  # upper limit of the band of full-band recordings
_MODEL_SHARE = 0.86  # of the model's band: above it the model adds next to nothing
_TOP_SHARE = 0.9  # of the band up to the top: above it next to nothing is left to add


@runtime_checkable
class BandEdge(Protocol):
    """Result of the detection of a cutoff."""

    @property
    def cutoff_hz(self) -> float | None:
        """The cutoff, or None where no edge was found."""
        ...


@dataclass(frozen=True)
class Decision:
    """Whether to extend a recording, and from which frequency on, or why not."""

    cutoff_hz: float | None  # None if it is not to be extended
    status: str  # extendable, full_band or out_of_reach
    reason: str = ""  # one sentence, if it is not to be extended

    def __post_init__(self) -> None:
        """Check that a cutoff is given exactly if the recording is to be extended."""
        if self.status not in (EXTENDABLE, FULL_BAND, OUT_OF_REACH):
            raise unknown_name("status", self.status, (EXTENDABLE, FULL_BAND, OUT_OF_REACH))
        if (self.cutoff_hz is None) == (self.status == EXTENDABLE):
            raise ParameterError(
                f"a decision has a cutoff if and only if it is {EXTENDABLE!r}, "
                f"got {self.cutoff_hz} Hz and {self.status!r}"
            )


def choose_top(pipeline: Pipeline, sample_rate: int, to_hz: float | None = None) -> float:
    """Return the upper limit for the extension of a recording: the requested one, or that of full-band recordings.

    Args:
        pipeline: the model.
        sample_rate: sampling rate of the recording in Hz; one below the model's is raised to it.
        to_hz: requested limit in Hz, if any.

    Raises:
        ParameterError: a frequency above half the sample rate.
    """
    nyquist_hz = max(sample_rate, pipeline.sample_rate) / 2
    if to_hz is None:
        return min(max(USUAL_TOP_HZ, pipeline.mel.f_max), nyquist_hz)
    if not 0 < to_hz <= nyquist_hz:
        raise ParameterError(
            f"to must lie in (0, {nyquist_hz:g}] Hz, half the sample rate of the result, got {to_hz:g} Hz: "
            "resample the recording to a higher rate first, or ask for less"
        )
    return float(to_hz)


def model_reaches(pipeline: Pipeline, cutoff_hz: float) -> bool:
    """Tell whether the model itself can add something above a cutoff."""
    return cutoff_hz <= _MODEL_SHARE * pipeline.mel.f_max


def cutoff_limits_hz(pipeline: Pipeline, top_hz: float | None = None) -> tuple[float, float]:
    """Return the lowest and the highest cutoff for an extension up to a top, or to the model's own.

    At least the model's lowest row of tokens must be known, and something must be left to add.

    Raises:
        ParameterError: a model without bandwidth extension.
    """
    check_job(pipeline, "bwe")
    model_hz = pipeline.mel.f_max
    highest = _MODEL_SHARE * model_hz
    if top_hz is not None:
        highest = max(highest, _TOP_SHARE * top_hz) if top_hz > model_hz else _MODEL_SHARE * top_hz
    return pipeline.grid.row_edges_hz[1], highest


def choose_cutoff(
    bandwidth: BandEdge, pipeline: Pipeline, sample_rate: int, to_hz: float | None = None, lfr: bool = True
) -> Decision:
    """Return the decision for a recording with a given bandwidth.

    Args:
        bandwidth: result of ``detection.find_bandwidth``.
        pipeline: the model.
        sample_rate: sampling rate of the recording in Hz.
        to_hz: upper limit of the extension in Hz; see ``choose_top``.
        lfr: whether the original is kept below the cutoff; otherwise the band ends with the model's.

    Returns:
        The cutoff to extend from; or the status ``full_band`` if no edge was found, or one near the top of full-band
        recordings, and ``out_of_reach`` if next to nothing is left to add, or nothing below is known to the model.

    Raises:
        ParameterError: a top above half the sample rate.
    """
    top_hz = choose_top(pipeline, sample_rate, to_hz if lfr else pipeline.mel.f_max)
    cutoff_hz = bandwidth.cutoff_hz
    if cutoff_hz is None:
        return Decision(None, FULL_BAND, "no edge was found above which the recording has nothing")
    if to_hz is None and cutoff_hz > cutoff_limits_hz(pipeline, top_hz)[1] >= _TOP_SHARE * USUAL_TOP_HZ:
        return Decision(None, FULL_BAND, f"its band ends at {cutoff_hz:.0f} Hz, as that of whole recordings does")
    refusal = _refusal(pipeline, cutoff_hz, top_hz)
    if refusal is not None:
        return Decision(None, OUT_OF_REACH, f"its band ends at {cutoff_hz:.0f} Hz, and {refusal}")
    return Decision(min(float(cutoff_hz), sample_rate / 2), EXTENDABLE)


def check_cutoff(pipeline: Pipeline, cutoff_hz: float, sample_rate: int, top_hz: float) -> None:
    """Raise where a cutoff does not fit the recording or the model, or is not below the top.

    Raises:
        ParameterError: the message says what it must be.
    """
    cutoff_hz = checked_real("cutoff", cutoff_hz, "Hz")
    if not 0 < cutoff_hz <= sample_rate / 2:
        raise ParameterError(
            f"cutoff must lie in (0, {sample_rate / 2:g}] Hz, half the recording's sample rate, got {cutoff_hz:g} Hz"
        )
    if top_hz <= cutoff_hz:
        raise ParameterError(f"to must lie above the cutoff of {cutoff_hz:g} Hz, got {top_hz:g} Hz")
    refusal = _refusal(pipeline, cutoff_hz, top_hz)
    if refusal is not None:
        lowest, highest = cutoff_limits_hz(pipeline, top_hz)
        limit = f"at most {highest:.0f}" if cutoff_hz > highest else f"at least {lowest:.0f}"
        raise ParameterError(f"cutoff must be {limit} Hz, got {cutoff_hz:g} Hz: {refusal}")


def _refusal(pipeline: Pipeline, cutoff_hz: float, top_hz: float) -> str | None:
    lowest, highest = cutoff_limits_hz(pipeline, top_hz)
    if cutoff_hz > highest:
        what = "this model's band ends at" if top_hz == pipeline.mel.f_max else "it is to end at"
        return f"{what} {top_hz:g} Hz, so that above {highest:.0f} Hz there is next to nothing to add"
    if cutoff_hz < lowest:
        return f"below {lowest:.0f} Hz this model hears nothing that it could extend"
    return None

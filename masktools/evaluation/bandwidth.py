"""Bandwidth extension: recordings low-passed at a cutoff, extended by every method."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from masktools.classical import BAND_FILLS
from masktools.classical.fills import high_pass
from masktools.core.errors import ParameterError
from masktools.core.runtime import threads
from masktools.evaluation.clips import Clip, Clips, occupied_hz
from masktools.evaluation.common import (
    Meter,
    TrueTokens,
    batches,
    check_clips,
    chosen_methods,
    clean_tokens,
    decode_masked,
    described,
    make_report,
    small_seeds,
    stacked,
)
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.report import Report, Row
from masktools.evaluation.scores import SetScores, Statistics
from masktools.mel.spectrogram import band_mask
from masktools.metrics import lsd_db, lsd_split_db, quiet_excess_db, third_octave_error_db
from masktools.model import Model
from masktools.pipeline import Progress
from masktools.restoration.band_extension import column_windows
from masktools.solver import SolverConfig, derive_seed

UNPROCESSED, MODEL, MODEL_ALONE, MODEL_NO_LFR = "unprocessed", "model", "model_alone", "model_no_lfr"
RECORDING, CEILING = "recording", "ceiling"
_TEXTURES = {MODEL: "blend", RECORDING: "recording"}  # of the others the vocoder's
BANDWIDTH_METHODS = (
    UNPROCESSED,
    *(name for name in BAND_FILLS if name != UNPROCESSED),
    MODEL,
    RECORDING,
    MODEL_ALONE,
    MODEL_NO_LFR,
    CEILING,
)
"""The methods by name: nothing, what one can do without a model, the model as it is used, the model with the
recording's texture, the model alone (with its vocoder's), that without low-frequency replacement, and its tokenizer and
vocoder given what was above the cutoff."""

_FLOOR_NOTE = "elsewhere: the second halves of the originals against their first, where nothing was taken away"
_SLOPE_HZ = 300.0  # below the cutoff: of the filter that took the band away
_TOP_SHARE = 0.95  # of half the sample rate: what lies above is the edge of whoever resampled the recording


@dataclass(frozen=True)
class BandwidthSettings:
    """Settings of the measurement of bandwidth extension."""

    cutoffs_hz: tuple[float, ...] = ()  # where there is none: the edge of the model's top row, and 4 kHz
    min_bandwidth_hz: float = 10_000.0  # that a recording must reach; measured where nobody said
    top_hz: float | None = None  # measured up to here; the model's band or 95 % of the clips', whichever is lower
    methods: tuple[str, ...] = ()  # all where none is named
    leak_free: bool = True  # False: known tokens are computed from the whole band, and levels left as they are, as in
    # the paper
    seed: int = 0
    solver: SolverConfig | None = None  # the model's own where there is none
    statistics: Statistics = field(default_factory=Statistics)

    def __post_init__(self) -> None:
        """Check every range."""
        if any(not 0 < cutoff < np.inf for cutoff in self.cutoffs_hz):
            raise ParameterError(f"cutoffs_hz must be above 0 Hz, got {self.cutoffs_hz}")
        if not 0 <= self.min_bandwidth_hz < np.inf:
            raise ParameterError(f"min_bandwidth_hz must be at least 0 Hz, got {self.min_bandwidth_hz:g} Hz")
        if self.top_hz is not None and not max(self.cutoffs_hz, default=0.0) < self.top_hz < np.inf:
            raise ParameterError(f"top_hz must lie above the cutoffs, got {self.top_hz:g} Hz")
        chosen_methods(self.methods, BANDWIDTH_METHODS)


def evaluate_bandwidth(
    model: Model,
    clips: Sequence[Clip],
    settings: BandwidthSettings = BandwidthSettings(),
    embedders: Sequence[Embedder] = (),
    progress: Progress | None = None,
) -> Report:
    """Return how close each method of extending a recording comes to what it had above a cutoff.

    Args:
        model: the model.
        clips: at the model's rate; those that do not reach high enough are left out.
        settings: of the measurement.
        embedders: what the distances between sets are computed with.
        progress: called with the pieces of work done and their number.

    Raises:
        ParameterError: no clips, none that reaches high enough, clips at another rate, or a cutoff that the model
            does not have.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3 and table 8.
    """
    check_clips(model, clips)
    clips = _high_enough(clips, settings.min_bandwidth_hz)
    methods = chosen_methods(settings.methods, BANDWIDTH_METHODS)
    if not settings.leak_free:  # as in the paper, which has no textures
        methods = tuple(method for method in methods if method != RECORDING)
    cutoffs_hz = settings.cutoffs_hz or (model.pipeline.grid.row_edges_hz[-2], 4000.0)
    top_hz = settings.top_hz or min(model.pipeline.mel.f_max, _TOP_SHARE * model.sample_rate / 2)
    meter = Meter(progress, len(clips) * len(cutoffs_hz) * len(methods))
    rows: list[Row] = []
    scores = SetScores(embedders, settings.statistics)
    with threads(model.threads):
        for places in batches(clips):
            waves = stacked(clips, places)
            for number, cutoff_hz in enumerate(cutoffs_hz):
                case = f"above {cutoff_hz:.0f} Hz"
                low = low_pass(waves, model.sample_rate, cutoff_hz)
                for place in places:
                    scores.add(place, clips[place], SetScores.ORIGINAL, clips[place].wave, case)
                    scores.add_halves(place, case)
                for method in methods:
                    job = _Job(model, settings, cutoff_hz, top_hz, derive_seed(settings.seed, number, places[0]))
                    extended = job.extended(method, waves, low, meter.within(len(places)))
                    for place, wave in zip(places, extended, strict=True):
                        rows += _measured(clips[place], wave, method, cutoff_hz, top_hz, case)
                        scores.add(place, clips[place], method, wave, case)
                    meter.step(len(places))
    figures = (*settings.statistics.summary(rows), *scores.figures())
    about = described("bwe", model, clips, settings, embedders)
    notes = [
        f"Third octaves, bias and lsd_hi_db are of the band from the cutoff to {top_hz:.0f} Hz, "
        f"lsd_lo_db of that to {_SLOPE_HZ:.0f} Hz below the cutoff",
        *scores.notes,
        *([_FLOOR_NOTE] if embedders else []),
    ]
    return make_report("Bandwidth extension", about, clips, rows, figures, notes)


def low_pass(waves: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return waves (b, t) without what they have above a cutoff, float32.

    It is the complement of the filter with which a generated band is added, so that the true band, added to it, gives
    the recording back.
    """
    return np.stack([wave - high_pass(wave, sample_rate, cutoff_hz) for wave in waves]).astype(np.float32)


def _high_enough(clips: Sequence[Clip], min_bandwidth_hz: float) -> Clips:
    def reason(clip: Clip) -> str | None:
        reached_hz = clip.bandwidth_hz or occupied_hz(clip.wave, clip.sample_rate)
        return f"it reaches {reached_hz:.0f} Hz" if reached_hz < min_bandwidth_hz else None

    return Clips.keeping(clips, "band-limited", reason, f"that reaches {min_bandwidth_hz:g} Hz")


@dataclass(frozen=True, eq=False)
class _Job:
    """Everything that does not depend on the method."""

    model: Model
    settings: BandwidthSettings
    cutoff_hz: float
    top_hz: float
    seed: int

    def extended(self, method: str, waves: np.ndarray, low: np.ndarray, progress: Progress | None) -> np.ndarray:
        """Return band-limited waves (b, t) extended by a method; all but the ceiling know only ``low``.

        Without ``leak_free``, the model's known tokens are those of ``waves``.
        """
        rate = self.model.sample_rate
        if method == UNPROCESSED:
            return low
        if method in BAND_FILLS:
            fill, seeds = BAND_FILLS[method], small_seeds(self.seed, len(low))
            each = zip(low, seeds, strict=True)
            filled = [fill(wave[None], rate, self.cutoff_hz, self.top_hz, seed)[0] for wave, seed in each]
            return np.stack(filled)
        if method == CEILING:
            return np.concatenate([self._knowing(*pair, progress) for pair in zip(waves, low, strict=True)])
        if self.settings.leak_free:
            texture = _TEXTURES.get(method, "model")
            return self._restored(self.model, low, method != MODEL_NO_LFR, texture, progress)
        decoded = self._decoded(waves, progress)
        if method == MODEL_NO_LFR:
            return decoded
        return low + np.stack([high_pass(wave, rate, self.cutoff_hz) for wave in decoded]).astype(np.float32)

    def _knowing(self, wave: np.ndarray, low: np.ndarray, progress: Progress | None) -> np.ndarray:
        """Return one wave (1, t) extended with the right tokens, window by window."""
        pipeline = self.model.pipeline
        answer = clean_tokens(pipeline, wave[None])
        windows = column_windows(pipeline, len(wave))
        answers = [answer[:, :, window.start : window.stop] for window in windows]
        return self._restored(Model(TrueTokens(pipeline, answers)), low[None], True, "model", progress, guard_db=None)

    def _restored(
        self,
        model: Model,
        low: np.ndarray,
        lfr: bool,
        texture: str,
        progress: Progress | None,
        guard_db: float | None = 3.0,
    ) -> np.ndarray:
        result = model.bwe(
            np.ascontiguousarray(low.T),
            model.sample_rate,
            self.cutoff_hz,
            lfr=lfr,
            seed=self.seed,
            solver=self.settings.solver,
            channels="independent",
            texture=texture,
            quiet_guard_db=guard_db,
            progress=progress,
        )
        return np.ascontiguousarray(result.samples.T)

    def _decoded(self, waves: np.ndarray, progress: Progress | None) -> np.ndarray:
        pipeline = self.model.pipeline
        n_cols = pipeline.grid.n_columns(waves.shape[1])
        mask = band_mask(pipeline.grid, n_cols, self.cutoff_hz, pipeline.mel.f_max)
        solver = self.settings.solver or pipeline.decoding.get("bwe", SolverConfig())
        seeds = [derive_seed(self.seed, number) for number in range(len(waves))]
        return decode_masked(pipeline, waves, mask, seeds, solver, leak_free=False, progress=progress)


def _measured(clip: Clip, wave: np.ndarray, method: str, cutoff_hz: float, top_hz: float, case: str) -> list[Row]:
    """Return the distances of an extended recording from what it was."""
    rate = clip.sample_rate
    envelope = third_octave_error_db(clip.wave, wave, rate, (cutoff_hz, top_hz))
    below = lsd_db(clip.wave, wave, rate, (0.0, cutoff_hz - _SLOPE_HZ))
    distance = lsd_split_db(clip.wave, wave, rate, cutoff_hz, top_hz)
    found = {
        "third_octave_db": envelope.rms,
        "bias_db": envelope.bias,
        "lsd_lo_db": below,
        "lsd_hi_db": distance.hi,
        "lsd_db": distance.full,
        "quiet_excess_db": quiet_excess_db(clip.wave, wave),
    }
    return Row.each(clip, method, found, case)

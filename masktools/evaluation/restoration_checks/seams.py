"""Seams, levels and samples of filled gaps: gaps cut into whole recordings, filled as restoration fills them.

Every way of filling is measured beside a stretch from elsewhere that is put in without a seam.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from masktools.classical import GAP_FILLS
from masktools.errors import ParameterError
from masktools.evaluation.clips import Clip, Clips
from masktools.evaluation.protocols.common import Meter, chosen_methods, make_report
from masktools.evaluation.protocols.tokens import TrueTokens
from masktools.evaluation.report import Figure, Report, Row, summarise
from masktools.gaps import Gap
from masktools.metrics import level_db, level_error_db, lsd_db, seam_crest_db
from masktools.model import Model
from masktools.pipeline import Pipeline, Progress
from masktools.restoration import inpaint
from masktools.runtime import threads
from masktools.shapes import Mel, Tokens
from masktools.solver import SolverConfig, derive_seed

__all__ = ["CEILING", "GAP_METHODS", "HARD_SPLICE", "ORACLE", "TrueMel", "measure_gap_fills"]

HARD_SPLICE, CEILING, ORACLE = "hard_splice", "ceiling", "oracle"
GAP_METHODS = (HARD_SPLICE, *GAP_FILLS, "model", "auto", CEILING, ORACLE)
"""A stretch from elsewhere; the classical methods; the model; by length; the vocoder given the tokens of what was in
the gap; and the vocoder given its mel spectrogram, which tells what putting a fill in its place costs by itself."""

GAPS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.186, 0.372, 1.0, 1.858)
SHORT_S = 0.05  # gaps up to here are compared sample by sample
EDGE_S = 0.1  # inside each edge, where levels are compared
CONTEXT_S = 1.0  # known audio that there must be at each side
QUIET_DB = -60.0  # dBFS; gaps in what is fainter, or beside it, are not measured
_TRIES = 50
_MAX_SNR_DB = 100.0
_ROUNDING_S = 1e-9


class TrueMel(TrueTokens):
    """A pipeline whose tokens stand for the very mel spectrogram that they were made of."""

    def tokenise(self, mel: Mel) -> Tokens:
        """Return the tokens of a mel spectrogram, which is what the next call of ``to_mel_from`` gives back."""
        self._heard = mel
        return super().tokenise(mel)

    def to_mel_from(self, tokens: Tokens) -> Mel:
        """Return the mel spectrogram that was made tokens of."""
        return self._heard


@dataclass(frozen=True)
class _Hole:
    """A gap that is cut into a clip."""

    place: int  # of the clip
    number: int  # among the gaps of its length in the clip
    start: int
    stop: int
    case: str


def measure_gap_fills(
    clips: Sequence[Clip],
    gap_lengths_s: Sequence[float] = GAPS_S,
    methods: Sequence[str] = (),
    model: Model | None = None,
    *,
    n_positions: int = 3,
    texture: str = "blend",
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Return how gaps are filled at the clips' own rate, by method and length of the gap.

    ``seam_crest_db`` is of each seam: the largest residual of a predictor within 1.5 ms of the join over the 99 %
    quantile of its surroundings; ``seam_crest_p90_db`` is its 90 % quantile over all seams. ``level_edge_db`` is by how
    much the 100 ms inside an edge are louder or fainter than what was there, ``level_gap_db`` the same of the whole
    gap, without signs; ``level_step_db`` how far the 100 ms inside an edge are from the 100 ms outside. ``snr_db`` is
    of gaps up to 50 ms. ``n_changed`` counts samples outside the gap that are not the original's.

    Args:
        clips: of any rate; those that are shorter than the longest gap and two seconds are left out.
        gap_lengths_s: in seconds.
        methods: of ``GAP_METHODS``; all that there can be where none is named.
        model: for ``model``, ``auto``, ``ceiling`` and ``oracle``, which are left out without one.
        n_positions: gaps of each length in each clip, at places drawn by the seed where the clip is not silent.
        texture: what the model's fills are made of.
        seed: of the places, and of what is left to chance.
        progress: called with the gaps and methods done and their number.

    Raises:
        ParameterError: no clip that is long enough, no place that is not silent, a value out of its range, or an
            unknown method.
    """
    if not gap_lengths_s or any(not 0.001 <= length <= 60 for length in gap_lengths_s) or n_positions < 1:
        raise ParameterError(
            f"gap_lengths_s must be lengths in [0.001, 60] s, at least one, and n_positions at least 1, "
            f"got {tuple(gap_lengths_s)} and {n_positions}"
        )
    needing = {"model", "auto", CEILING, ORACLE}
    if model is None and needing & set(methods):
        raise ParameterError(f"{', '.join(sorted(needing & set(methods)))} can only be measured with a model, got none")
    chosen = [name for name in chosen_methods(methods, GAP_METHODS) if model is not None or name not in needing]
    wanted_s = max(gap_lengths_s) + 2 * CONTEXT_S
    clips = Clips.keeping(
        clips,
        "short",
        lambda clip: f"{clip.duration_s:.3g} s, the gap needs {wanted_s:.3g} s" if clip.duration_s < wanted_s else None,
        f"of {wanted_s:.3g} s, which the longest gap needs",
    )
    holes = [
        hole
        for place, clip in enumerate(clips)
        for length_s in gap_lengths_s
        for hole in _holes(clip, place, length_s, n_positions, seed)
    ]
    if not holes:
        raise ParameterError(f"clips must be louder than {QUIET_DB:g} dBFS somewhere for gaps to be cut into them")
    pipeline = None if model is None else model.pipeline
    meter = Meter(progress, len(holes) * len(chosen))
    rows: list[Row] = []
    with threads(None if model is None else model.threads):
        for hole in holes:
            clip = clips[hole.place]
            for method in chosen:
                filled = _filled(
                    pipeline, clip, hole, method, texture, derive_seed(seed, hole.place, hole.number) >> 31
                )
                rows += _measured(clip, filled, hole, method)
                meter.step()
    settings = {
        "protocol": "seams",
        "model": None if model is None else model.name,
        "gap_lengths_s": list(gap_lengths_s),
        "n_positions": n_positions,
        "n_gaps": len(holes),
        "texture": texture,
        "seed": seed,
    }
    figures = (*summarise(rows), *_quantiles(rows))
    return make_report("Seams and levels of filled gaps", settings, clips, rows, figures)


def _holes(clip: Clip, place: int, length_s: float, n_positions: int, seed: int) -> list[_Hole]:
    """Return gaps of one length at places of a clip where there is something to be heard in and beside them."""
    rate, n = clip.sample_rate, len(clip.wave)
    length, context = max(1, round(length_s * rate)), round(CONTEXT_S * rate)
    rng = np.random.default_rng((seed, place, length))
    edge = round(EDGE_S * rate)
    holes: list[_Hole] = []
    for _ in range(_TRIES):
        start = int(rng.integers(context, max(context + 1, n - context - length + 1)))
        stop = start + length
        parts = (clip.wave[start - edge : start], clip.wave[start:stop], clip.wave[stop : stop + edge])
        if min(level_db(part, rate) for part in parts) > QUIET_DB:
            holes.append(_Hole(place, len(holes), start, stop, f"{1000 * length / rate:.0f} ms"))
        if len(holes) == n_positions:
            break
    return holes


def _filled(pipeline: Pipeline | None, clip: Clip, hole: _Hole, method: str, texture: str, seed: int) -> np.ndarray:
    """Return the wave (t,) of a clip with a gap filled by a method."""
    wave, rate = clip.wave, clip.sample_rate
    empty = wave.copy()
    if method == HARD_SPLICE:
        length = hole.stop - hole.start
        far = hole.start - length if hole.start - length >= 0 else hole.stop
        far = max(0, min(far, len(wave) - length))
        empty[hole.start : hole.stop] = wave[far : far + length]
        return empty
    gap = Gap(hole.start / rate, hole.stop / rate)
    if method in (CEILING, ORACLE) and pipeline is not None:
        knowing = TrueTokens(pipeline) if method == CEILING else TrueMel(pipeline)
        return inpaint(knowing, wave[None], rate, [gap], seed=seed, texture="model", leak_free=False).samples[0]
    empty[hole.start : hole.stop] = np.nan
    solver = SolverConfig() if pipeline is None else pipeline.decoding.get("inpaint", SolverConfig())
    return inpaint(
        pipeline, empty[None], rate, [gap], seed=seed, solver=solver, texture=texture, method=method
    ).samples[0]


def _measured(clip: Clip, filled: np.ndarray, hole: _Hole, method: str) -> list[Row]:
    """Return what there is to say of one filled gap; both of its seams and edges count on their own."""
    rate, n = clip.sample_rate, len(clip.wave)
    span_s = hole.start / rate, hole.stop / rate
    edge_s = min(EDGE_S, span_s[1] - span_s[0])
    inside = ((span_s[0], span_s[0] + edge_s), (span_s[1] - edge_s, span_s[1]))
    outside = ((span_s[0] - EDGE_S, span_s[0]), (span_s[1], min(n / rate, span_s[1] + EDGE_S)))
    found: list[tuple[str, float]] = [("seam_crest_db", seam_crest_db(filled, rate, join_s)) for join_s in span_s]
    found += [("level_edge_db", abs(level_error_db(clip.wave, filled, rate, edge))) for edge in inside]
    found += [
        ("level_step_db", abs(level_db(filled, rate, within) - level_db(filled, rate, without)))
        for within, without in zip(inside, outside, strict=True)
    ]
    found.append(("level_gap_db", abs(level_error_db(clip.wave, filled, rate, span_s))))
    found.append(("lsd_db", lsd_db(clip.wave, filled, rate, span_s=span_s)))
    if span_s[1] - span_s[0] <= SHORT_S + _ROUNDING_S + 1 / rate:
        found.append(("snr_db", _snr_db(clip.wave[hole.start : hole.stop], filled[hole.start : hole.stop])))
    changed = clip.wave != filled
    changed[hole.start : hole.stop] = False
    found.append(("n_changed", float(changed.sum())))
    named = replace(clip, name=f"{clip.name} at {span_s[0]:.3f} s")
    return [Row.of(named, method, metric, value, hole.case) for metric, value in found]


def _snr_db(true: np.ndarray, found: np.ndarray) -> float:
    """Return the ratio of signal to noise in dB, 100 dB at most."""
    signal, error = (float(np.sum(np.square(part, dtype=np.float64))) for part in (true, found - true))
    return float(-10 * np.log10(max(error / signal, 10 ** (-_MAX_SNR_DB / 10))))


def _quantiles(rows: Sequence[Row]) -> list[Figure]:
    """Return the 90 % quantile of the crests of all seams, for each method and length."""
    crests: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.metric == "seam_crest_db":
            crests.setdefault((row.method, row.case), []).append(row.value)
    return [
        Figure(
            "all seams",
            method,
            "seam_crest_p90_db",
            float(np.quantile(values, 0.9)),
            None,
            None,
            len(values),
            case=case,
        )
        for (method, case), values in crests.items()
    ]

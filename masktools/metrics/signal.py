"""Distances in decibels between a reference wave and an estimate of it; and the level and pitch of a single wave.

Conventions

- Waves are arrays of shape (t,) or (channels, t), full scale 1; channels are measured one by one and averaged.
- dBFS is relative to a full-scale sine, which has 0 (AES17). Levels are clipped to a floor, so that
  digital silence equals any other silence and a recording equals itself exactly.
- ``span_s`` is (start, end) in seconds; ``band_hz`` is (low, high) in Hz. None means all of it.
- Spectra are of 2048 samples every 512 under a Hann window: distances of recordings of different sample rates are
  not comparable, resample both first.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import ShortTimeFFT, lfilter, welch
from scipy.signal.windows import hann

from masktools.core.errors import ParameterError

FLOOR_DB = -80.0  # dBFS
N_FFT, HOP_LENGTH = 2048, 512  # samples
BLOCK_FRAMES = 8  # frames over which a third-octave level is averaged
AR_ORDER = 32
SEAM_S, SURROUNDINGS_S = 0.0015, 0.1  # either side of a join
_ROUNDING = 1e-24  # a power ratio within the rounding error of float64

Pair = tuple[float, float]


class SpectralDistance(NamedTuple):
    """Log-spectral distances in dB: below a cutoff, above it, and over both."""

    lo: float
    hi: float
    full: float


class EnvelopeError(NamedTuple):
    """Error of third-octave levels in dB; the bias is positive where the estimate is louder."""

    rms: float
    bias: float


def lsd_db(
    reference: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int,
    band_hz: Pair | None = None,
    span_s: Pair | None = None,
    floor_db: float = FLOOR_DB,
) -> float:
    """Return the log-spectral distance in dB: 0 for equal waves, 3 to 4 for a very good estimate.

    The root mean square over frequency of the difference of the two level spectra in dB, averaged over time.
    Other projects give "LSD" in bels: 0.84 there is 8.4 dB here.

    Args:
        reference: the true wave.
        estimate: a wave of the same shape.
        sample_rate: sampling rate in Hz.
        band_hz: only bins in [low, high].
        span_s: only frames whose centre lies in [start, end), or else the frame nearest to its centre.
        floor_db: level in dBFS to which lower ones are clipped, on both sides.

    Raises:
        ParameterError: shapes differ, nothing to measure, or a band or a span outside the recording.

    Source: Gray and Markel, Distance measures for speech processing (1976), section II, with a floor.
    """
    (distance,) = _distances(reference, estimate, sample_rate, [band_hz], span_s, floor_db)
    return distance


def lsd_split_db(
    reference: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int,
    cutoff_hz: float,
    top_hz: float | None = None,
    span_s: Pair | None = None,
) -> SpectralDistance:
    """Return the log-spectral distances below a cutoff, from there to ``top_hz``, and from 0 to ``top_hz``.

    Raises:
        ParameterError: see ``lsd_db``.
    """
    top = sample_rate / 2 if top_hz is None else top_hz
    bands: list[Pair | None] = [(0.0, cutoff_hz), (cutoff_hz, top), (0.0, top)]
    return SpectralDistance(*_distances(reference, estimate, sample_rate, bands, span_s, FLOOR_DB))


def third_octave_error_db(
    reference: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int,
    band_hz: Pair | None = None,
    span_s: Pair | None = None,
) -> EnvelopeError:
    """Return the error of the levels of third-octave bands: root mean square and mean.

    Powers are averaged over 8 frames (0.19 s at 22.05 kHz) before they are compared, so that two noises of
    equal colour agree though no sample does: the measure for rain, breath and cymbals.

    Args:
        reference: the true wave.
        estimate: a wave of the same shape.
        sample_rate: sampling rate in Hz.
        band_hz: only bands whose centre lies in [low, high]; from 100 Hz on by default.
        span_s: only frames whose centre lies in [start, end).

    Raises:
        ParameterError: see ``lsd_db``.

    Source: band edges of IEC 61260-1, base two.
    """
    pairs = channel_pairs(reference, estimate)
    low, high = _band(band_hz or (100.0, sample_rate / 2), sample_rate)
    edges = [(below, above) for centre, below, above in _third_octaves(sample_rate) if low <= centre <= high]
    if not edges:
        raise ParameterError(f"the band must hold the centre of a third octave, got {low:g}-{high:g} Hz")
    hz = np.fft.rfftfreq(N_FFT, 1 / sample_rate)
    of_bands = np.array([(hz >= below) & (hz < above) for below, above in edges], np.float64)
    of_bands = of_bands[of_bands.any(axis=1)]  # the lowest bands of a high rate are narrower than a bin
    errors = []
    for one, other in pairs:
        levels = [_blocks(_power(wave, sample_rate, span_s)) @ of_bands.T for wave in (one, other)]
        true, found = (_decibels(level, FLOOR_DB) for level in levels)
        errors.append(found - true)
    error = np.stack(errors)
    return EnvelopeError(float(np.sqrt(np.mean(error**2))), float(error.mean()))


def level_db(wave: np.ndarray, sample_rate: int, span_s: Pair | None = None) -> float:
    """Return the level in dBFS, a full-scale sine at 0; the channels' powers are averaged.

    Raises:
        ParameterError: a span outside the recording.
    """
    part = np.stack([span_of(channel, sample_rate, span_s) for channel in _channels(wave)])
    return float(_decibels(2 * float(np.mean(part**2)), FLOOR_DB))


def level_error_db(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, span_s: Pair | None = None) -> float:
    """Return by how many dB the estimate is louder than the reference.

    Raises:
        ParameterError: see ``lsd_db``.
    """
    channel_pairs(reference, estimate)
    return level_db(estimate, sample_rate, span_s) - level_db(reference, sample_rate, span_s)


def band_level_db(wave: np.ndarray, sample_rate: int, band_hz: Pair, span_s: Pair | None = None) -> float:
    """Return the level in dBFS of a frequency band, a full-scale sine inside it at 0; DC does not count.

    Raises:
        ParameterError: a band or a span outside the recording.

    Source: Welch (1967), Hann windows of 2048 samples, half overlapped.
    """
    low, high = _band(band_hz, sample_rate)
    parts = np.stack([span_of(channel, sample_rate, span_s) for channel in _channels(wave)])
    length = min(N_FFT, parts.shape[-1])
    hz, density = welch(parts, sample_rate, nperseg=length, nfft=N_FFT)
    power = density[:, (hz >= low) & (hz <= high)].sum(axis=1).mean() * hz[1]
    return float(_decibels(2 * power, FLOOR_DB))


def si_sdr_db(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Return the scale-invariant ratio of signal to distortion in dB.

    Infinite for a scaled copy, minus infinity for silence.

    Raises:
        ParameterError: shapes differ, or the reference is silent.

    Source: Le Roux et al., SDR - half-baked or well done? (arXiv:1811.02508), Eq. 3.
    """
    ratios = []
    for true, found in channel_pairs(reference, estimate):
        energy = float(true @ true)
        if energy == 0:
            raise ParameterError("the reference must not be silent, got zeros only")
        target = (float(found @ true) / energy) * true  # Eq. 3
        distortion, wanted = float(np.sum((found - target) ** 2)), float(target @ target)
        if wanted <= _ROUNDING * distortion or wanted == 0:
            ratios.append(-np.inf)
        else:
            ratios.append(np.inf if distortion <= _ROUNDING * wanted else 10 * np.log10(wanted / distortion))
    return float(np.mean(ratios))


def seam_crest_db(wave: np.ndarray, sample_rate: int, join_s: float) -> float:
    """Return by how much a join sticks out of its surroundings in dB; around 0 where it is inaudible.

    The residual of a linear predictor of order 32: its greatest value within 1.5 ms of the join, over the
    99 % quantile of the 100 ms on either side. The worst channel counts.

    Args:
        wave: the wave that was joined.
        sample_rate: sampling rate in Hz.
        join_s: time of the join in seconds.

    Raises:
        ParameterError: a join outside the recording.
    """
    channels = _channels(wave)
    join, n = round(join_s * sample_rate), channels.shape[1]
    if not 0 < join < n:
        raise ParameterError(f"the join must lie inside the recording of {n / sample_rate:g} s, got {join_s:g} s")
    margin, reach = max(1, round(SEAM_S * sample_rate)), round(SURROUNDINGS_S * sample_rate)
    start, stop = max(0, join - reach), min(n, join + reach)
    if stop - start < 4 * AR_ORDER + 2 * margin:
        raise ParameterError(f"a seam needs {4 * AR_ORDER + 2 * margin} samples around it, got {stop - start}")
    return max(_crest(channel[start:stop], join - start, margin) for channel in channels)


def _crest(part: np.ndarray, join: int, margin: int) -> float:
    residual = np.abs(lfilter(_whitening(part), 1.0, part))
    samples = np.arange(len(part))
    near = (samples >= join - margin) & (samples < join + margin)
    around = ~near & (samples >= AR_ORDER)  # the predictor has no full history before
    faint = 10 ** (-100 / 20)  # so that silence joined to silence is no seam
    return float(20 * np.log10((residual[near].max() + faint) / (np.quantile(residual[around], 0.99) + faint)))


def _whitening(part: np.ndarray) -> np.ndarray:
    """Return the prediction-error filter 1, -a1, ... of the autocorrelation method."""
    tapered = part * hann(len(part), sym=False)
    spectrum = np.abs(np.fft.rfft(tapered, 2 * len(part))) ** 2
    correlation = np.fft.irfft(spectrum)[: AR_ORDER + 1]
    if correlation[0] <= 0:
        return np.eye(1, AR_ORDER + 1)[0]
    correlation[0] *= 1 + 1e-9
    return np.concatenate([[1.0], -solve_toeplitz(correlation[:-1], correlation[1:])])


def _distances(
    reference: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int,
    bands: list[Pair | None],
    span_s: Pair | None,
    floor_db: float,
) -> list[float]:
    hz = np.fft.rfftfreq(N_FFT, 1 / sample_rate)
    chosen = []
    for band_hz in bands:
        low, high = _band(band_hz or (0.0, sample_rate / 2), sample_rate)
        chosen.append((hz >= low) & (hz <= high))
        if not chosen[-1].any():
            raise ParameterError(f"the band must hold a bin of {hz[1]:.3g} Hz, got {low:g}-{high:g} Hz")
    squares = []
    for pair in channel_pairs(reference, estimate):
        true, found = (_decibels(_power(wave, sample_rate, span_s), floor_db) for wave in pair)
        squares.append((found - true) ** 2)
    return [float(np.mean([np.sqrt(square[:, bins].mean(axis=1)).mean() for square in squares])) for bins in chosen]


def _power(wave: np.ndarray, sample_rate: int, span_s: Pair | None) -> np.ndarray:
    """Return the power spectra (frames, bins) of one channel, a full-scale sine at 1 in its bin."""
    padded = np.pad(wave, N_FFT // 2)
    window = hann(N_FFT, sym=False)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    centres = np.arange(len(frames)) * HOP_LENGTH
    if span_s is not None:
        start, stop = _span(span_s, len(wave), sample_rate)
        inside = (centres >= start) & (centres < stop)
        if not inside.any():
            inside = np.arange(len(frames)) == np.argmin(np.abs(centres - (start + stop) / 2))
        frames = frames[inside]
    return np.abs(np.fft.rfft(frames * window) * (2 / window.sum())) ** 2


def _blocks(power: np.ndarray) -> np.ndarray:
    """Return powers averaged over blocks of frames; frames left over join the last block."""
    starts = np.arange(0, max(1, len(power) - BLOCK_FRAMES + 1), BLOCK_FRAMES)
    counts = np.diff(np.append(starts, len(power)))
    return np.add.reduceat(power, starts) / counts[:, None]


def _third_octaves(sample_rate: int) -> Iterator[tuple[float, float, float]]:
    """Yield centre, lower and upper edge in Hz of every third octave below the Nyquist frequency."""
    for number in range(-16, 15):  # 25 Hz to 25.4 kHz
        centre = 1000.0 * 2 ** (number / 3)
        if centre * 2 ** (1 / 6) <= sample_rate / 2:
            yield centre, centre * 2 ** (-1 / 6), centre * 2 ** (1 / 6)


def _decibels(power: np.ndarray | float, floor_db: float) -> np.ndarray:
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (floor_db / 10))))


def channel_pairs(reference: np.ndarray, estimate: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the channels (t,) of two waves in pairs, float64.

    Raises:
        ParameterError: shapes differ, or there are no samples.
    """
    true, found = _channels(reference), _channels(estimate)
    if true.shape != found.shape:
        raise ParameterError(
            f"the estimate must have the reference's shape {np.shape(reference)}, got {np.shape(estimate)}"
        )
    return list(zip(true, found, strict=True))


def _channels(wave: np.ndarray) -> np.ndarray:
    array = np.asarray(wave, np.float64)
    if array.ndim not in (1, 2) or not array.size:
        raise ParameterError(f"a wave must be of shape (t,) or (channels, t) and not empty, got {array.shape}")
    return np.atleast_2d(array)


def _band(band_hz: Pair, sample_rate: int) -> Pair:
    low, high = band_hz
    nyquist = sample_rate / 2
    if not 0 <= low < high <= nyquist:
        raise ParameterError(f"the band must lie in 0-{nyquist:g} Hz, low before high, got {low:g}-{high:g} Hz")
    return low, high


def _span(span_s: Pair, n: int, sample_rate: int) -> tuple[int, int]:
    start, stop = round(span_s[0] * sample_rate), round(span_s[1] * sample_rate)
    if not 0 <= start < stop <= n:
        length = f"{n / sample_rate:g}"
        raise ParameterError(f"the span must lie in 0-{length} s, start before end, got {span_s[0]:g}-{span_s[1]:g} s")
    return start, stop


def span_of(wave: np.ndarray, sample_rate: int, span_s: Pair | None) -> np.ndarray:
    """Return the samples of a wave (t,) in a span.

    Raises:
        ParameterError: a span outside the recording.
    """
    if span_s is None:
        return wave
    start, stop = _span(span_s, len(wave), sample_rate)
    return wave[start:stop]


_FRAME, _HOP = 2048, 512  # samples
QUIET_SHARE = 0.1  # share of the frames


def quiet_excess_db(reference: np.ndarray, estimate: np.ndarray, floor_db: float = FLOOR_DB) -> float:
    """Return the median level increase in dB over the quietest 10 % of the reference's frames.

    Levels are clipped to the floor: silence that stays below it has no excess.

    Args:
        reference: the true wave, (t,) or (channels, t), full scale 1; channels are averaged.
        estimate: a wave of the same shape.
        floor_db: floor in dBFS, a full-scale sine at 0.

    Raises:
        ParameterError: shapes differ, or there are no samples.
    """
    levels = [_levels_db(np.stack(wave), floor_db) for wave in zip(*channel_pairs(reference, estimate), strict=True)]
    n_quiet = max(1, round(QUIET_SHARE * len(levels[0])))
    quiet = np.argsort(levels[0], kind="stable")[:n_quiet]
    return float(np.median(levels[1][quiet] - levels[0][quiet]))


def _levels_db(wave: np.ndarray, floor_db: float) -> np.ndarray:
    """Return the level of each frame; the last is padded where the wave is shorter than one."""
    power = np.mean(np.square(wave), axis=0)
    padded = np.pad(power, (0, max(0, _FRAME - len(power))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP].mean(axis=1)
    return 10 * np.log10(np.maximum(2 * frames, 10 ** (floor_db / 10)))


RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))  # n_fft, hop and window length, in samples
_FLOOR = 1e-5


class StftDistance(NamedTuple):
    """Spectral convergence, the L1 distance of log magnitudes, and their sum, averaged over resolutions."""

    convergence: float
    log_magnitude: float
    total: float


def stft_distance(
    reference: np.ndarray, estimate: np.ndarray, resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS
) -> StftDistance:
    """Return the multi-resolution STFT distance of waves (t,): 0 for equal ones.

    Magnitudes below 1e-5 count as 1e-5.

    Raises:
        ParameterError: shapes differ, no samples, or a silent reference.

    Source: Yamamoto et al., Parallel WaveGAN (arXiv:1910.11480), Eqs. 3 to 6.
    """
    true, found = (np.asarray(wave, np.float64) for wave in (reference, estimate))
    if true.shape != found.shape or true.ndim != 1 or not true.size:
        raise ParameterError(f"waves must be of one shape (t,) and not empty, got {true.shape} and {found.shape}")
    if not true.any():
        raise ParameterError("the reference must not be silent, got zeros only")
    parts = []
    for n_fft, hop, length in resolutions:
        stft = ShortTimeFFT(hann(length, sym=False), hop, 1.0, mfft=n_fft)
        one, other = (np.maximum(np.abs(stft.stft(_padded(wave, length))), _FLOOR) for wave in (true, found))
        convergence = float(np.linalg.norm(one - other) / np.linalg.norm(one))
        parts.append((convergence, float(np.abs(np.log(one) - np.log(other)).mean())))
    convergence, log_magnitude = (float(value) for value in np.mean(parts, axis=0))
    return StftDistance(convergence, log_magnitude, convergence + log_magnitude)


def _padded(wave: np.ndarray, n_samples: int) -> np.ndarray:
    return np.pad(wave, (0, max(0, n_samples - len(wave))))


_THRESHOLD = 0.15  # of the normalised difference (YIN), below which a period is accepted


def pitch_of_note(wave: np.ndarray, sample_rate: int, lowest_hz: float = 40.0, highest_hz: float = 4500.0) -> float:
    """Return the pitch of a note as a MIDI number with its fraction, NaN where no frame is periodic.

    It is the median over frames that are no more than 30 dB below the loudest.

    Args:
        wave: (t,) one note.
        sample_rate: sampling rate in Hz.
        lowest_hz: lowest pitch in Hz.
        highest_hz: highest pitch in Hz.

    Raises:
        ParameterError: not one channel, or limits that are not in order.

    Source: YIN (de Cheveigne and Kawahara, JASA 111, 2002), steps 2 to 5.
    """
    if np.ndim(wave) != 1 or not 0 < lowest_hz < highest_hz <= sample_rate / 2:
        raise ParameterError(
            f"a note must be (t,) and 0 < lowest_hz < highest_hz <= {sample_rate / 2:g} must hold, got "
            f"{np.shape(wave)}, {lowest_hz:g} and {highest_hz:g}"
        )
    longest, shortest = int(np.ceil(sample_rate / lowest_hz)), max(2, int(sample_rate / highest_hz))
    size = 2 * longest
    samples = np.pad(np.asarray(wave, np.float64), (0, max(0, size - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: max(1, longest // 2)]
    power = np.square(frames).mean(axis=1)
    frames = frames[power > max(power.max() * 1e-3, 1e-12)]
    if not len(frames):
        return float("nan")
    difference = _differences(frames, longest)
    mean = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, difference.shape[1])
    share = np.ones_like(difference)
    share[:, 1:] = difference[:, 1:] / np.maximum(mean, 1e-12)
    periods = [_period(row, shortest) for row in share]
    found = [period for period in periods if period is not None]
    if not found:
        return float("nan")
    return float(69 + 12 * np.log2(np.median(sample_rate / np.array(found)) / 440.0))


def _differences(frames: np.ndarray, longest: int) -> np.ndarray:
    """Return the squared difference (n, longest + 1) between the first half of frames and each lag."""
    size = frames.shape[1]
    n_fft = 1 << (size + longest).bit_length()
    head = frames[:, :longest]
    spectra = np.fft.rfft(frames, n_fft) * np.conj(np.fft.rfft(head, n_fft))
    product = np.fft.irfft(spectra, n_fft)[:, : longest + 1]
    energy = np.cumsum(np.pad(np.square(frames), ((0, 0), (1, 0))), axis=1)
    later = energy[:, longest : 2 * longest + 1] - energy[:, : longest + 1]
    return np.maximum(later[:, :1] + later - 2 * product, 0.0)


def _period(share: np.ndarray, shortest: int) -> float | None:
    """Return the period in samples, refined by a parabola; None for an aperiodic frame.

    It is the first dip whose parabola goes below the threshold: between two lags the samples of a deep dip may not.
    """
    lags = np.arange(shortest, len(share) - 1)
    left, middle, right = share[lags - 1], share[lags], share[lags + 1]
    falls, rises, bend = middle <= left, middle <= right, left - 2 * middle + right
    inside = falls & rises & (bend > 0)
    depth = middle - np.divide(np.square(left - right), 8 * bend, out=np.zeros(len(lags)), where=inside)
    dips = (falls | (lags == shortest)) & (rises | (lags == len(share) - 2))
    below = np.flatnonzero(dips & (depth < _THRESHOLD))
    if not len(below):
        return None
    first = below[0]
    return float(lags[first] + (0.5 * (left - right)[first] / bend[first] if bend[first] > 0 else 0.0))

"""Print the tables of the model card: gaps and a missing upper band, on the test split of an audio cache.

Usage: python docs/measure_model.py CACHE [MODEL] [N_OF_A_KIND]
"""

import sys
from collections import defaultdict

import numpy as np
from scipy.signal import fftconvolve, firwin

import masktools
from masktools.metrics.signal import level_error_db, lsd_db, third_octave_error_db
from masktools.training.data import AudioCache

SECONDS, GAP_START_S, GAPS_S = 12, 6.0, (0.4, 1.0)
CUTOFF_HZ, BAND_HZ = 4000, (4400.0, 10_500.0)


def measure_gaps(model, wave, rate, found):
    """Add (LSD, level error) of each fill of the gaps in the middle of a recording."""
    for gap_s in GAPS_S:
        start, n = int(GAP_START_S * rate), int(gap_s * rate)
        span = (GAP_START_S, GAP_START_S + gap_s)
        empty, copied = wave.copy(), wave.copy()
        empty[start : start + n] = 0
        copied[start : start + n] = wave[start - n : start]
        filled = model.inpaint(empty, rate, [span], seed=0).samples
        for name, fill in (("empty", empty), ("copied", copied), ("filled", filled)):
            level = level_error_db(wave, fill, rate, span) if name != "empty" else np.nan
            found[f"gap {gap_s:g} s", name].append((lsd_db(wave, fill, rate, span_s=span), level))


def measure_band(model, wave, rate, found):
    """Add (LSD, third-octave error, bias) of the band above the cutoff, before and after."""
    low = fftconvolve(wave, firwin(511, CUTOFF_HZ, fs=rate), mode="same").astype(np.float32)
    extended = model.bwe(low, rate, CUTOFF_HZ, seed=0).samples
    for name, version in (("low-passed", low), ("extended", extended)):
        octaves = third_octave_error_db(wave, version, rate, band_hz=BAND_HZ)
        found["band", name].append((lsd_db(wave, version, rate, band_hz=BAND_HZ), *octaves))


def main(folder, name="mini", n="12"):
    """Measure up to n recordings of each kind, and print medians."""
    model, cache = masktools.load(name), AudioCache(folder)
    rate = cache.sample_rate
    for kind in ("music", "environment"):
        long_enough = [r for r in cache.split("test") if r.kind == kind and r.n_samples >= SECONDS * rate]
        chosen = long_enough[:: max(1, len(long_enough) // int(n))][: int(n)]
        found = defaultdict(list)
        for recording in chosen:
            wave = cache.wave(recording, 0, SECONDS * rate)
            measure_gaps(model, wave, rate, found)
            measure_band(model, wave, rate, found)
        print(f"{kind}, {len(chosen)} recordings, medians in dB")
        for (job, version), rows in found.items():
            figures = "  ".join(f"{value:7.2f}" for value in np.median(np.array(rows), axis=0))
            print(f"  {job:<10} {version:<11} {figures}")


if __name__ == "__main__":
    main(*sys.argv[1:])

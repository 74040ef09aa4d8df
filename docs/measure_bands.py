"""Measure what is added above 11 kHz, at 44.1 kHz: python docs/measure_bands.py SOURCE... [--cutoffs 4000,8000,11000].

SOURCE is a manifest or a folder of full-band recordings, whose split `test` is measured, as whole recordings. Each is
low-passed and extended again, by `masktools bwe` and by spectral band replication. With --dull, 3 s of each are
low-passed instead, and what the recording's own full-band moments lend (`--like own`) is set beside replication, from
the cutoff to 18 kHz. Prints a table of Markdown: medians over recordings of the error of third-octave levels, of their
mean error, and of how much louder the band is in the quietest tenth of the frames.
"""

import argparse

import numpy as np

import masktools
from masktools.classical import BAND_FILLS
from masktools.classical.fills import high_pass
from masktools.evaluation.clips import read_clips
from masktools.metrics import third_octave_error_db
from masktools.restoration.band_level import band_powers

RATE, TOP_HZ, MEASURED_HZ, DULL_S = 44_100, 20_000.0, (11_000.0, 18_000.0), 3.0
FLOOR = 10**-9.5  # power, in which pauses are told apart


def measured(true, found, band_hz, span_s):
    """Return the three figures of a wave (t,), in dB."""
    error = third_octave_error_db(true, found, RATE, band_hz, span_s)
    within = slice(*(round(edge * RATE) for edge in span_s))
    quiet = np.argsort(band_powers(true[within], RATE, [(100.0, TOP_HZ)])[:, 0], kind="stable")
    levels = [band_powers(wave[within], RATE, [band_hz])[quiet[: len(quiet) // 10], 0] for wave in (true, found)]
    return error.rms, error.bias, float(np.median(10 * np.log10((levels[1] + FLOOR) / (levels[0] + FLOOR))))


def extended(model, wave, cutoff_hz, dull):
    """Yield the name of each method, the band and the span that are measured, and what the method makes of a wave."""
    low = (wave - high_pass(wave, RATE, cutoff_hz)).astype(np.float32)
    inside, seconds = np.ones(len(wave), np.float32), len(wave) / RATE
    band_hz, span_s = (max(MEASURED_HZ[0], cutoff_hz), MEASURED_HZ[1]), (0.0, seconds)
    if dull:
        span_s = ((seconds - DULL_S) / 2, (seconds + DULL_S) / 2)
        band_hz = (cutoff_hz, MEASURED_HZ[1])
        at = np.arange(len(wave)) / RATE
        inside = np.clip(100 * np.minimum(at - span_s[0], span_s[1] - at), 0, 1).astype(np.float32)
    given = (1 - inside) * wave + inside * low
    replicated = BAND_FILLS["replication"](low[None], RATE, cutoff_hz, TOP_HZ)[0]
    yield "left empty", band_hz, span_s, given
    yield "replication", band_hz, span_s, (1 - inside) * wave + inside * replicated
    more = {"like": "own"} if dull else {"texture": "blend"}
    yield "`--like own`" if dull else "`bwe`", band_hz, span_s, model.bwe(given, RATE, cutoff_hz, **more).samples


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="+")
    parser.add_argument("--cutoffs", default="11000", help="in Hz, joined with commas")
    parser.add_argument("--dull", action="store_true", help="only a stretch of each lacks its band")
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    model, found = masktools.load(args.model), {}
    clips = read_clips(args.source, RATE, min_seconds=DULL_S + 4.0 if args.dull else 1.0)
    for clip in clips:
        for cutoff_hz in map(float, args.cutoffs.split(",")):
            for method, band_hz, span_s, wave in extended(model, clip.wave, cutoff_hz, args.dull):
                kept = found.setdefault((f"{cutoff_hz / 1000:g} kHz", clip.kind, method), [])
                kept.append(measured(clip.wave, wave, band_hz, span_s))
    print("| from | kind | n | method | error, dB | mean error, dB | pauses, dB |\n|---|---|---|---|---|---|---|")
    for (cutoff, kind, method), values in sorted(found.items()):
        rms, bias, pauses = np.median(values, axis=0)
        print(f"| {cutoff} | {kind} | {len(values)} | {method} | {rms:.1f} | {bias:+.1f} | {pauses:+.1f} |")


if __name__ == "__main__":
    main()

"""Make the pictures of the README by the bundled model: python docs/make_pictures.py [MODEL]."""

import sys
from pathlib import Path

import masktools
from masktools.demo.recordings import RECORDINGS, low_passed, with_gaps
from masktools.demo.stage import Panel, draw

FOLDER = Path(__file__).parent / "pictures"
SEED = 0


def main(model_name: str = "mini") -> None:
    """Fill the gaps of a recording, extend its upper band, and draw both."""
    model = masktools.load(model_name)
    recordings = {recording.name: recording for recording in RECORDINGS}
    FOLDER.mkdir(exist_ok=True)

    music = recordings["music"]
    original, rate = music.play()
    damaged = with_gaps(original, rate, music.gaps)
    filled = model.inpaint(damaged.T, rate, gaps=music.gaps, seed=SEED).samples.T
    versions = {"Original": original, "0.4 s and 1 s lost": damaged, "Filled by masktools": filled}
    panels = [Panel(title, samples, rate, gaps=music.gaps) for title, samples in versions.items()]
    (FOLDER / "inpaint.png").write_bytes(draw(panels))

    dull = low_passed(original, rate, music.cutoff_hz)
    extended = model.bwe(dull.T, rate, cutoff_hz=music.cutoff_hz, seed=SEED).samples.T
    versions = {"Original": original, "Low-passed at 5.5 kHz": dull, "Extended by masktools": extended}
    panels = [Panel(title, samples, rate, cutoff_hz=music.cutoff_hz) for title, samples in versions.items()]
    (FOLDER / "bwe.png").write_bytes(draw(panels))


if __name__ == "__main__":
    main(*sys.argv[1:])

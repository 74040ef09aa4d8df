"""
What is wrong with a tape
=========================

Before anything is repaired one wants to know what there is: where the band ends, what was lost, how loud it is.
"""

import tempfile
from pathlib import Path

import soundfile

import masktools
from masktools.cli.main import main
from masktools.demo.recordings import low_passed, play_music, with_gaps

music, rate = play_music()
tape = with_gaps(low_passed(music[:, : 7 * rate], rate, 5500.0), rate, [(2.5, 2.9), (5.2, 6.2)])
place = Path(tempfile.mkdtemp()) / "tape.wav"
soundfile.write(place, tape.T, rate)
main(["probe", str(place)])

# %%
# The tape itself:

masktools.Result(tape, rate, {"job": "tape", "gaps": [{"start_s": 2.5, "end_s": 2.9}, {"start_s": 5.2, "end_s": 6.2}]})

"""
Loops
=====

The end of a recording is made to lead into its start, so that it can be played round and round.
"""

import numpy as np

import masktools
from masktools.demo.recordings import play_music

music, rate = play_music()
bar = music[:, rate : 4 * rate]
model = masktools.load("mini")
round_ = model.loop(bar, rate, seam_s=0.3)

# %%
# Twice in a row; the seam is in the middle.

masktools.Result(np.concatenate([round_.samples, round_.samples], axis=1), rate, {"job": "twice"})

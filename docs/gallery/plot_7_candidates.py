"""
Candidates and seeds
====================

A fill is one of many that fit. With ``n_candidates`` several are tried and the one that fits its surroundings best is
taken; another ``seed`` gives another one.
"""

import masktools
from masktools.demo.recordings import play_rain, with_gaps

rain, rate = play_rain()
damaged = with_gaps(rain[:, : 5 * rate], rate, [(2.0, 2.8)])
model = masktools.load("mini")
model.inpaint(damaged, rate, method="model", n_candidates=3, seed=0)

# %%

model.inpaint(damaged, rate, method="model", n_candidates=3, seed=1)

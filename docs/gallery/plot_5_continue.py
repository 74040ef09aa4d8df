"""
Going on
========

A recording goes on for two seconds after its end. What is added is an invention in its style.
"""

import masktools
from masktools.demo.recordings import play_rain

rain, rate = play_rain()
model = masktools.load("mini")
longer = model.continuation(rain[:, : 4 * rate], rate, seconds=2.0)

# %%
# Up to 4 s it is the recording, sample by sample.

longer

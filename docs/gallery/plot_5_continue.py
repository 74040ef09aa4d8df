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
longer

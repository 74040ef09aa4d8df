"""
Bandwidth
=========

Rain that a low-pass has made dull at 4 kHz. The band above is added up to 20 kHz, below it every sample stays.
"""

# sphinx_gallery_thumbnail_number = 2

import masktools
from masktools.demo.recordings import low_passed, play_rain

rain, rate = play_rain()
dull = low_passed(rain[:, : 5 * rate], rate, 4000.0)
masktools.Result(dull, rate, {"job": "dull"})

# %%
# Where the band ends is found:

model = masktools.load("mini")
bright = model.bwe(dull, rate)
bright

# %%

print(f"cutoff {bright.report['cutoff_hz']:.0f} Hz")

"""
Gaps by length
==============

Three gaps of 30 ms, 0.4 s and 1 s in music: the short one is filled by linear prediction, the others from places of the
recording that are alike, or by the model, whatever fits better. The brackets show where.
"""

import masktools
from masktools.demo.recordings import play_music, with_gaps

music, rate = play_music()  # (channels, t), as torchaudio and librosa have it
music = music[:, : 7 * rate]
gaps = [(1.0, 1.03), (2.5, 2.9), (4.5, 5.5)]
damaged = with_gaps(music, rate, gaps)

model = masktools.load("mini")
filled = model.inpaint(damaged, rate)  # the gaps are found
filled

# %%
# The report says what was found and what was done.

for gap in filled.report["gaps"]:
    print(f"{gap['start_s']:.3f} to {gap['end_s']:.3f} s: {gap['method']}")

# %%
# The damaged recording, for comparison:

masktools.Result(damaged, rate, {"job": "damaged", "gaps": filled.report["gaps"]})

"""
Tokens
======

A recording is a grid of tokens: five rows from low to high, a column for each 0.186 s. Jobs are masks on it.
"""

import matplotlib.pyplot as plt

import masktools
from masktools.demo.recordings import play_music

music, rate = play_music()
model = masktools.load("mini")
encoded = model.encode(music[:1, : 5 * rate], rate)
figure, axes = plt.subplots(figsize=(8, 2))
axes.imshow(encoded.tokens[0], origin="lower", aspect="auto", interpolation="nearest")
axes.set(xlabel="column (0.186 s)", ylabel="row")
figure.tight_layout()

# %%
# What the tokens stand for, through decoder and vocoder:

model.decode(encoded)

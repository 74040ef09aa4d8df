"""
Layers
======

What each layer of the encoder says of rain, music and a voice, and of a second stretch of each: the cosine of what is
alike should be higher than that of what is not.
"""

import matplotlib.pyplot as plt
import numpy as np

import masktools
from masktools.demo.recordings import play_music, play_rain, play_voice

encoder = masktools.Encoder.from_pretrained("mini")
stretches = []
for play in (play_rain, play_music, play_voice):
    sound, rate = play()
    stretches += [(sound[:, start * rate : (start + 3) * rate], rate) for start in (0, 3)]
vectors = np.stack([encoder.encode(wave, rate, layer="all").clip for wave, rate in stretches])  # (6, layers, d)
vectors -= vectors.mean(axis=0)
unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
n_layers = unit.shape[1]
alike = [np.mean([unit[n, at] @ unit[n + 1, at] for n in (0, 2, 4)]) for at in range(n_layers)]
other = [np.mean([unit[n, at] @ unit[(n + 3) % 6, at] for n in (0, 2, 4)]) for at in range(n_layers)]

# %%
# Two stretches of one sound, and of two:

figure, axes = plt.subplots(figsize=(7, 3))
axes.plot(alike, marker="o", label="two stretches of one sound")
axes.plot(other, marker="o", label="of two sounds")
axes.set(xlabel="layer", ylabel="cosine")
axes.legend()
figure.tight_layout()

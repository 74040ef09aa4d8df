"""
Spectral repair
===============

A whistle over a voice, between 2 and 3 kHz for half a second: only that rectangle of time and frequency is replaced.
"""

import numpy as np

import masktools
from masktools.demo.recordings import play_voice

voice, rate = play_voice()
voice = voice[:, : 4 * rate].copy()
time_s = np.arange(rate // 2) / rate
voice[:, 2 * rate : 2 * rate + rate // 2] += 0.2 * np.sin(2 * np.pi * 2500 * time_s).astype(np.float32)
masktools.Result(voice, rate, {"job": "with a whistle"})

# %%

model = masktools.load("mini")
model.repair(voice, rate, "1.98-2.52,2300-2700")

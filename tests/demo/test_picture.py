"""Spectrograms that can be read."""

import io

import numpy as np
import pytest
from PIL import Image

from masktools.core.errors import ParameterError
from masktools.demo.stage import Panel, draw

RATE = 22_050
NOISE = np.random.default_rng(0).normal(0, 0.1, (1, RATE)).astype(np.float32)


def pixels(png):
    assert png.startswith(b"\x89PNG")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.float64)


def test_a_picture_has_one_panel_below_the_other():
    one, three = (pixels(draw([Panel("Noise", NOISE, RATE)] * n, n_cols=300)) for n in (1, 3))
    assert one.shape[1] == three.shape[1] > 300
    assert 1.8 * one.shape[0] < three.shape[0] < 3 * one.shape[0]


def test_a_gap_is_dark_and_its_edges_are_marked():
    damaged = NOISE.copy()
    damaged[:, RATE // 3 : 2 * RATE // 3] = 0
    whole = pixels(draw([Panel("Noise", NOISE, RATE)], n_cols=300))
    broken = pixels(draw([Panel("Noise", damaged, RATE, gaps=((1 / 3, 2 / 3),))], n_cols=300))
    middle = np.s_[80:150, 200:225]
    assert broken[middle].mean() < 0.3 * whole[middle].mean()
    blue = (broken[..., 2] > 180) & (broken[..., 0] < 160)
    assert blue.sum() > 30 > ((whole[..., 2] > 180) & (whole[..., 0] < 160)).sum()


def test_recordings_of_other_rates_and_lengths_share_one_scale():
    short = pixels(draw([Panel("Noise", NOISE, RATE), Panel("Half", NOISE[:, : RATE // 2], RATE)], n_cols=300))
    below = short[short.shape[0] // 2 :]
    assert below[:, 100:200].mean() > 2 * below[:, 230:350].mean()


def test_a_picture_is_the_same_every_time():
    panels = [Panel("Noise", NOISE, RATE, cutoff_hz=4000)]
    assert draw(panels, n_cols=60) == draw(panels, n_cols=60)


def test_a_picture_needs_a_panel():
    with pytest.raises(ParameterError, match="at least one panel"):
        draw([])

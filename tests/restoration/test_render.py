"""Texture: what is missing is made of the recording, and made as loud as the model says."""

import numpy as np
import pytest
import torch

from masktools.classical import BAND_FILLS, GAP_FILLS
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig
from masktools.networks.grain import Grain, GrainConfig
from masktools.pipeline import Pipeline
from masktools.restoration.render import (
    MAX_SHAPING_DB,
    TEXTURES,
    Decoder,
    Unknown,
    band_gains_db,
    fill_mel,
    shape,
)
from masktools.solver import SolverConfig
from tests.restoration.jobs import bwe, inpaint
from tests.tiny import MEL, SAMPLE_RATE, noise, tiny_pipeline

GAP = (1.0, 1.4)
INSIDE = slice(int(1.05 * SAMPLE_RATE), int(1.35 * SAMPLE_RATE))


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


def level_db(wave):
    return 20 * np.log10(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))


@pytest.mark.parametrize("sample_rate", [22_050, 48_000])
def test_gains_of_nothing_change_nothing_and_gains_of_6_db_double(sample_rate):
    wave = noise(1.0, sample_rate)[0]
    flat = np.zeros((80, 90))
    np.testing.assert_allclose(shape(wave, sample_rate, flat, MelConfig()), wave, atol=1e-9)
    assert level_db(shape(wave, sample_rate, flat + 6, MelConfig())) - level_db(wave) == pytest.approx(6, abs=0.01)


def test_a_band_is_made_louder_where_its_own_gain_says_so():
    gains = np.zeros((80, 90))
    gains[40:] = 12.0
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    low, high = (0.1 * np.sin(2 * np.pi * hz * t) for hz in (200, 8000))
    middle = slice(5000, 15_000)
    changes = [level_db(shape(w, SAMPLE_RATE, gains, MEL)[middle]) - level_db(w[middle]) for w in (low, high)]
    assert changes == pytest.approx([0, 12], abs=0.1)


def test_gains_are_bounded_and_go_as_far_as_they_are_asked_to():
    quiet, loud = np.full((80, 60), -1.0), np.full((80, 60), 1.0)
    assert band_gains_db(loud, quiet, MEL).max() == pytest.approx(MAX_SHAPING_DB)
    np.testing.assert_allclose(band_gains_db(loud, quiet, MEL, 0.5), 0.5 * MAX_SHAPING_DB)
    assert not band_gains_db(loud, loud, MEL).any()


def test_every_texture_names_methods_that_there_are():
    for texture in TEXTURES.values():
        assert texture is None or (texture.gap in GAP_FILLS and texture.band in BAND_FILLS)


@pytest.mark.parametrize("texture", TEXTURES)
def test_known_samples_stay_as_they_were_whatever_fills_the_gap(pipeline, texture):
    samples = noise(3.0, n_channels=2)
    filled = inpaint(pipeline, samples, SAMPLE_RATE, [GAP], texture=texture)
    start, stop = (round(edge * SAMPLE_RATE) for edge in GAP)
    np.testing.assert_array_equal(filled.samples[:, :start], samples[:, :start])
    np.testing.assert_array_equal(filled.samples[:, stop:], samples[:, stop:])
    assert np.isfinite(filled.samples).all()
    assert filled.report["texture"] == texture


def test_grain_is_in_what_is_rendered_where_it_was_unknown_and_nowhere_else(pipeline):
    grainy = Pipeline(pipeline.mel, **pipeline.parts | {"grain": Grain(GrainConfig(width=4))})
    cells = torch.zeros(1, 80, 64, dtype=torch.bool)
    cells[..., 16:48] = True
    masks = cells[:, ::16, ::16], cells
    plain, grained = (
        fill_mel(Decoder(model, SolverConfig(n_steps=2)), torch.from_numpy(noise(0.7)), Unknown(lambda _: masks), [1])
        for model in (pipeline, grainy)
    )
    assert torch.equal(grained.tokens, plain.tokens)
    assert torch.equal(grained.filled, plain.filled), "levels are told by what was decoded"
    assert torch.equal(grained.deep[~cells], plain.deep[~cells])
    assert (grained.deep[cells] != plain.deep[cells]).float().mean() > 0.9


def test_what_was_in_the_gap_is_never_heard(pipeline):
    samples = noise(3.0)
    other = samples.copy()
    other[:, int(GAP[0] * SAMPLE_RATE) : int(GAP[1] * SAMPLE_RATE)] = 0.5
    for texture in TEXTURES:
        fills = [inpaint(pipeline, s, SAMPLE_RATE, [GAP], texture=texture).samples for s in (samples, other)]
        np.testing.assert_array_equal(*fills)


def test_blended_noise_is_about_as_loud_as_its_surroundings(pipeline):
    samples = noise(3.0)
    filled = inpaint(pipeline, samples, SAMPLE_RATE, [GAP], texture="blend").samples[0]
    assert abs(level_db(filled[INSIDE]) - level_db(samples)) < MAX_SHAPING_DB / 2 + 3


def test_channels_on_their_own_are_filled_as_they_would_be_alone(pipeline):
    samples = np.concatenate([noise(3.0), noise(3.0, seed=1)])
    together = inpaint(pipeline, samples, SAMPLE_RATE, [GAP], texture="recording", channels="independent").samples
    alone = inpaint(pipeline, samples[:1], SAMPLE_RATE, [GAP], texture="recording", channels="independent").samples
    np.testing.assert_allclose(together[0], alone[0], atol=1e-6)


def test_silence_is_filled_with_silence(pipeline):
    silent = np.zeros((1, 3 * SAMPLE_RATE), np.float32)
    for texture in TEXTURES:
        assert not inpaint(pipeline, silent, SAMPLE_RATE, [GAP], texture=texture).samples.any()


@pytest.mark.parametrize("texture", ["blend", "recording"])
def test_a_band_is_added_above_the_cutoff_and_nothing_is_changed_below(pipeline, texture):
    from scipy.signal import firwin, oaconvolve

    low = oaconvolve(noise(2.0)[0], firwin(511, 3800, fs=SAMPLE_RATE), "same").astype(np.float32)[None]
    extended = bwe(pipeline, low, SAMPLE_RATE, 4000, texture=texture)
    added = np.abs(np.fft.rfft((extended.samples[0] - low[0]) * np.hanning(low.shape[1])))
    hz = np.fft.rfftfreq(low.shape[1], 1 / SAMPLE_RATE)
    assert added[hz > 4500].max() > 1e4 * added[hz < 3500].max()
    assert extended.report["texture"] == texture


def test_an_unknown_texture_is_refused(pipeline):
    for job in (lambda t: inpaint(pipeline, noise(3.0), SAMPLE_RATE, [GAP], texture=t),
                lambda t: bwe(pipeline, noise(2.0), SAMPLE_RATE, 4000, texture=t)):  # fmt: skip
        with pytest.raises(ParameterError, match=r"unknown texture 'blent'.*did you mean 'blend'"):
            job("blent")

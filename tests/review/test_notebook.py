"""Results and comparisons show themselves in notebooks: players and spectrograms in a cell that stays small."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from masktools.model import Result
from masktools.review import Repair, compare
from masktools.review.notebook import LONGEST_S, MAX_BYTES
from tests.tiny import noise

RATE = 44_100


def held(html, kind):
    """Return what a cell holds of a kind."""
    return [base64.b64decode(found) for found in re.findall(rf"data:{kind};base64,([A-Za-z0-9+/=]+)", html)]


def result(seconds, n_channels=2, rate=RATE, **report):
    return Result(noise(seconds, rate, n_channels).T, rate, {"job": "inpaint", "gaps": [], **report})


def test_a_short_result_is_played_whole_and_drawn():
    one = result(1.0)
    html = one._repr_html_()
    (sound,), (picture,) = held(html, "audio/wav"), held(html, "image/png")
    samples, rate = soundfile.read(io.BytesIO(sound))
    assert rate == RATE
    np.testing.assert_allclose(samples, one.samples, atol=2**-15)
    assert Image.open(io.BytesIO(picture)).width > 700
    assert "inpaint, 44100 Hz, 2 ch, 1.00 s" in html


@pytest.mark.parametrize(("n_channels", "rate"), [(1, 22_050), (2, 44_100), (2, 192_000), (16, 48_000)])
def test_whatever_the_recording_a_cell_stays_small(n_channels, rate):
    html = result(30.0, n_channels, rate, gaps=[{"start_s": 20.0, "end_s": 20.5}])._repr_html_()
    assert len(html) <= MAX_BYTES
    (sound,) = held(html, "audio/wav")
    about = soundfile.info(io.BytesIO(sound))
    assert 0 < about.duration <= LONGEST_S
    assert about.channels == n_channels
    start = float(re.search(r"shown: ([\d.]+) to", html)[1])
    assert start <= 20.0 <= start + max(about.duration, 2.6)


def test_tensors_silence_and_nothing_are_shown_too():
    for samples in (torch.zeros(2, 2205), np.zeros(2205, np.float32), np.full(2205, np.nan, np.float32)):
        assert "<audio" in Result(samples, 22_050, {})._repr_html_()
    assert "0.00 s" in Result(np.zeros(0, np.float32), 22_050, {"job": "bwe"})._repr_html_()


def test_words_of_a_report_are_words():
    html = result(0.1, job="<script>alert(1)</script>")._repr_html_()
    assert "<script" not in html


def test_a_comparison_plays_both_versions_of_the_same_stretch(tmp_path):
    before = noise(20.0, RATE, 2).T
    after = before.copy()
    after[15 * RATE : 16 * RATE] *= 0.5
    for name, samples in (("a", before), ("b", after)):
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    found = compare(tmp_path / "a.wav", tmp_path / "b.wav", repairs=[Repair(15.0, 16.0)], title="A <b> & B")
    html = found._repr_html_()
    assert len(html) <= MAX_BYTES
    sounds = [soundfile.read(io.BytesIO(sound))[0] for sound in held(html, "audio/wav")]
    assert len(sounds) == 2
    assert sounds[0].shape == sounds[1].shape
    assert np.abs(sounds[0] - sounds[1]).max() > 0.01
    assert "Before <audio" in html
    assert "After <audio" in html
    assert "A &lt;b&gt; &amp; B" in html
    assert len(held(html, "image/png")) == 1

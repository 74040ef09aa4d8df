"""The transformer is asked what is masked: one that knows nothing is at chance, and one that knows, never wrong."""

import numpy as np
import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.evaluation.transformer import TransformerSettings, evaluate_transformer
from masktools.model import Model
from tests.evaluation.sounding import clips
from tests.tiny import tiny_pipeline

CLIPS = clips(2)
SETTINGS = TransformerSettings(mask_ratios=(0.25, 1.0), gaps_s=(0.4,), n_masks=2)


class Knowing(torch.nn.Module):
    """Gives each slot the same logits: all weight on one code, or none on any."""

    def __init__(self, n_codes, config, code=None):
        super().__init__()
        self.config = config
        self.row = torch.zeros(n_codes)
        if code is not None:
            self.row[code] = 50.0

    def logits(self, tokens, mask, condition=None):
        return self.row.expand(*tokens.shape, -1)


def model(code=None):
    pipeline = tiny_pipeline(n_cols=8)
    pipeline.transformer = Knowing(pipeline.tokenizer.n_codes, pipeline.transformer.config, code)
    return Model(pipeline)


def test_who_knows_nothing_is_as_uncertain_as_there_are_codes():
    report = evaluate_transformer(model(), CLIPS, SETTINGS)
    n_codes = model().pipeline.tokenizer.n_codes
    assert {figure.case for figure in report.figures} == {"ratio 0.25", "ratio 1", "gap 400 ms"}
    for figure in report.figures:
        if figure.metric != "first_right":
            assert figure.value == pytest.approx(np.log(n_codes), abs=1e-5)


def test_who_always_says_one_code_is_right_as_often_as_it_comes():
    asked = model()
    n = asked.pipeline.window_samples
    middles = [clip.wave[(len(clip.wave) - n) // 2 :][:n].copy() for clip in CLIPS]
    tokens = torch.cat([asked.pipeline.encode(torch.from_numpy(wave)[None]).flatten() for wave in middles])
    code = int(tokens.bincount().argmax())
    report = evaluate_transformer(model(code), CLIPS, SETTINGS)
    found = report.value("noises", "transformer", "first_right", "ratio 1")
    assert found == pytest.approx(float((tokens == code).float().mean()), abs=1e-6)
    wrong = report.value("noises", "transformer", "cross_entropy", "ratio 1")
    assert wrong == pytest.approx(50 * (1 - found), abs=0.5)


def test_the_same_seed_asks_the_same():
    tiny = Model(tiny_pipeline(n_cols=8))
    first, again = (evaluate_transformer(tiny, CLIPS, SETTINGS).per_clip for _ in range(2))
    assert first == again


def test_clips_too_short_for_the_gap_are_left_out():
    with pytest.raises(ParameterError, match=r"at least one clip of 9\.\d+ s, got none of 6"):
        evaluate_transformer(model(), CLIPS, TransformerSettings(gaps_s=(9.0,)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mask_ratios": (0.0,)}, r"mask_ratios must lie in \(0, 1\]"),
        ({"gaps_s": (0.0,)}, "gaps_s must be lengths"),
        ({"mask_ratios": (), "gaps_s": ()}, "there must be mask_ratios or gaps_s"),
        ({"n_masks": 0}, "n_masks must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        TransformerSettings(**given)

"""What tokenizers and vocoders lose is measured; one that loses nothing has no error."""

import numpy as np
import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.evaluation.clips import Clip
from masktools.evaluation.reconstruction import (
    TOKENIZER,
    VOCODER,
    VocoderSettings,
    evaluate_tokenizer,
    evaluate_vocoder,
)
from masktools.model import Model
from tests.evaluation.memory import Loudness, knowing_model, melody
from tests.tiny import tiny_pipeline

CLIPS = [melody(0), melody(1), melody(2), melody(3, kind="speech"), melody(4, kind="speech")]
TINY = Model(tiny_pipeline(n_cols=32))


def test_a_tokenizer_that_loses_nothing_has_no_error():
    report = evaluate_tokenizer(knowing_model(CLIPS), CLIPS, embedders=[Loudness()])
    for group in ("music", "speech", "all, real"):
        assert report.value(group, TOKENIZER, "mel_l1") == 0
        assert report.value(group, TOKENIZER, "roughness") == 1
        assert report.value(group, TOKENIZER, "lsd_db") == pytest.approx(0, abs=1e-3)
        assert report.value(group, TOKENIZER, "fad") == pytest.approx(0, abs=1e-6)


def test_codes_are_counted_over_the_clips_of_a_group():
    model = knowing_model(CLIPS)
    report = evaluate_tokenizer(model, CLIPS)
    tokens = {
        kind: torch.cat(
            [model.pipeline.encode(torch.from_numpy(c.wave)[None]).flatten() for c in CLIPS if c.kind == kind]
        )
        for kind in ("music", "speech")
    }
    for kind, codes in tokens.items():
        assert report.value(kind, TOKENIZER, "tokens") == len(codes)
        assert report.value(kind, TOKENIZER, "codes_used") == len(codes.unique())
        assert 1 <= report.value(kind, TOKENIZER, "perplexity") <= len(codes.unique()) + 1e-9
    both = torch.cat(list(tokens.values()))
    assert report.value("all, real", TOKENIZER, "codes_used") == len(both.unique())


def test_random_parts_lose_much_and_the_tables_say_of_which_model():
    report = evaluate_tokenizer(TINY, CLIPS[:2], embedders=[Loudness()])
    assert report.value("music", TOKENIZER, "mel_l1") > 0.05
    ratio = report.value("music", TOKENIZER, "mel_l1_db") / report.value("music", TOKENIZER, "mel_l1")
    assert ratio == pytest.approx(50)  # [-1, 1] is 100 dB
    assert report.value("music", VOCODER, "lsd_db") > 3
    assert report.settings["model"] == "tiny"
    assert set(report.settings["weights"]) == {"tokenizer", "transformer", "vocoder", "conditioner"}
    assert report.settings["weights"]["tokenizer"] != report.settings["weights"]["vocoder"]
    assert "loudness of eight bands" in report.to_text()


def test_what_is_beyond_the_end_of_a_recording_does_not_count():
    cut = [Clip("a", clip.wave[: 2 * 22_050], 22_050) for clip in CLIPS[:1]]
    padded = evaluate_tokenizer(TINY, cut).value("recordings", TOKENIZER, "mel_l1")
    mel = TINY.pipeline.to_mel(torch.from_numpy(cut[0].wave[None]))
    again = TINY.pipeline.to_mel_from(TINY.pipeline.tokenise(mel))
    assert padded == pytest.approx(float((again - mel)[..., :173].abs().mean()), abs=1e-6)


def test_vocoders_are_compared_with_griffin_lim():
    seen = []
    report = evaluate_vocoder(
        knowing_model(CLIPS[:2]),
        CLIPS[:2],
        VocoderSettings(griffin_lim=(2, 8)),
        [Loudness()],
        lambda *at: seen.append(at),
    )
    for metric in ("stft_distance", "mel_l1", "lsd_db"):
        perfect, rough, better = (
            report.value("music", method, metric) for method in ("vocoder", "griffin_lim_2", "griffin_lim_8")
        )
        assert perfect == pytest.approx(0, abs=1e-3)
        assert perfect < better < rough
    assert seen[-1] == (6, 6)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("evaluate", [evaluate_tokenizer, evaluate_vocoder])
def test_clips_of_another_rate_are_refused(evaluate):
    with pytest.raises(ParameterError, match="must be at the model's rate of 22050 Hz, got 16000 Hz: read them with"):
        evaluate(TINY, [Clip("a", np.ones(16_000, np.float32), 16_000)])
    with pytest.raises(ParameterError, match="at least one clip to measure, got none"):
        evaluate(TINY, [])


@pytest.mark.parametrize("given", [(0,), (32, 32)])
def test_iterations_of_griffin_lim_are_checked(given):
    with pytest.raises(ParameterError, match="griffin_lim must be different numbers of at least 1, got"):
        VocoderSettings(griffin_lim=given)

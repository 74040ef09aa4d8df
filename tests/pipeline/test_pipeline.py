"""The pipeline: wave <-> mel <-> tokens, parts that fit, and one solver call for any mask."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import BundleError, DeviceError, MasktoolsError, MelMismatchError, ParameterError
from masktools.mel import MelFrontEnd
from masktools.networks.transformer import MaskedTransformer, TransformerConfig
from masktools.networks.transformer.cached import check_compiler
from masktools.networks.vocoder import Hifigan, HifiganConfig, LightVocoder, LightVocoderConfig
from masktools.pipeline import Pipeline, check_mel_settings, keep_known, share_of
from masktools.solver import SolverConfig
from tests.tiny import COLUMN, MEL, noise, other_mel, tiny_pipeline

PIPELINE = tiny_pipeline()
FEW = SolverConfig(n_steps=4)


def waves(seconds, n=1, seed=0):
    return torch.from_numpy(noise(seconds, n_channels=n, seed=seed))


def parts(**changes):
    given = {name: getattr(PIPELINE, name) for name in ("mel", "tokenizer", "transformer", "vocoder", "conditioner")}
    return given | changes


def test_parts_of_other_mel_settings_are_refused_by_field_and_value():
    vocoder = LightVocoder(LightVocoderConfig(width=8, depth=1), other_mel(f_max=8000.0, db_min=-100.0))
    with pytest.raises(MelMismatchError, match=r"its vocoder differ in f_max 11025 and 8000, db_min -80 and -100"):
        Pipeline(**parts(vocoder=vocoder))


def test_equal_mel_settings_pass():
    check_mel_settings(MEL, {"tokenizer": MEL})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_codes": 17}, "codes of the tokenizer and of the transformer must be of one number, got 16 and 17"),
        ({"n_rows": 4}, "token rows of the tokenizer and of the transformer must be of one number, got 5 and 4"),
        ({"condition_dim": 9}, "embeddings of the conditioner .* must be of one number, got 8 and 9"),
    ],
)
def test_parts_of_two_models_are_refused(changes, message):
    sizes = {"n_codes": 16, "width": 8, "depth": 1, "n_heads": 1, "condition_dim": 8} | changes
    with pytest.raises(BundleError, match=message):
        Pipeline(**parts(transformer=MaskedTransformer(TransformerConfig(**sizes))))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6 * COLUMN))
def test_any_wave_becomes_whole_columns_and_comes_back_at_its_length(n_samples):
    wave = waves(2)[:, :n_samples]
    tokens = PIPELINE.encode(wave)
    assert tokens.shape == (1, 5, -(-n_samples // COLUMN))
    assert PIPELINE.decode(tokens, n_samples).shape == wave.shape


def test_what_a_wave_does_not_reach_is_silence():
    mel = PIPELINE.to_mel(waves(1)[:, : COLUMN + 1000])
    assert mel.shape[-1] == 32
    assert (mel[..., 20:] == -1).all()
    assert (mel[..., :20] > -1).any(dim=1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Pipeline(**parts(), batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: PIPELINE.encode(torch.zeros(1, 0)), "at least one sample, got none"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_a_long_mel_spectrogram_is_the_one_computed_at_once(monkeypatch):
    wave = waves(4)
    monkeypatch.setattr("masktools.pipeline.walk._BLOCK_COLS", 3)
    frames = wave.shape[1] // 256
    whole = MelFrontEnd(MEL)(wave[:, : frames * 256])
    torch.testing.assert_close(PIPELINE.to_mel(wave[:, : frames * 256])[..., :frames], whole, atol=1e-6, rtol=0)


def test_tokens_of_a_long_recording_are_those_computed_at_once():
    mel = PIPELINE.to_mel(waves(8))
    assert mel.shape[-1] // 16 > 2 * PIPELINE.window_cols
    # The encoder sees one column to each side at most, the windows four.
    assert torch.equal(PIPELINE.tokenise(mel), PIPELINE.tokenizer.encode(mel))


def test_a_batch_walks_as_its_waves_do_alone():
    wave = waves(5, n=3)
    together = PIPELINE.decode(PIPELINE.encode(wave))
    alone = torch.cat([PIPELINE.decode(PIPELINE.encode(one[None])) for one in wave])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_erasing_hides_what_is_under_the_mask_from_every_known_token():
    mask = torch.zeros(1, 5, 16, dtype=torch.bool)
    mask[:, :, 6:9] = True
    mel = PIPELINE.to_mel(waves(2.9))
    other = mel.clone()
    other[..., 6 * 16 : 9 * 16] = torch.rand(80, 48)
    assert torch.equal(PIPELINE.erase(mel, mask), PIPELINE.erase(other, mask))
    assert (PIPELINE.erase(mel, mask)[..., 96:144] == -1).all()
    assert torch.equal(PIPELINE.erase(mel, mask)[..., :96], mel[..., :96])


@pytest.mark.parametrize("n_cols", [4, 16, 40])
def test_fill_keeps_known_tokens_at_any_width(n_cols):
    tokens = torch.randint(0, 16, (2, 5, n_cols), generator=torch.Generator().manual_seed(n_cols))
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[:, :, 1:] = True
    result = PIPELINE.fill(tokens.masked_fill(mask, -1), mask, [1, 2], FEW)
    assert torch.equal(result.tokens[~mask], tokens[~mask])
    assert result.tokens.min() >= 0


def test_fill_depends_on_the_seed_and_not_on_the_batch():
    tokens = torch.zeros(3, 5, 16, dtype=torch.int64)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    together = PIPELINE.fill(tokens, mask, [5, 6, 5], FEW).tokens
    assert torch.equal(together[0], together[2])
    assert not torch.equal(together[0], together[1])
    small = tiny_pipeline(batch_size=1)
    assert torch.equal(small.fill(tokens, mask, [5, 6, 5], FEW).tokens, together)
    assert torch.equal(PIPELINE.fill(tokens[1:2], mask[1:2], [6], FEW).tokens[0], together[1])


def test_a_condition_changes_what_is_filled():
    tokens = torch.zeros(1, 5, 16, dtype=torch.int64)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    plain, rain, dogs = (
        PIPELINE.fill(tokens, mask, [0], FEW, PIPELINE.condition(prompt)) for prompt in (None, "rain", "dogs bark")
    )
    assert plain.n_forwards == 4
    assert rain.n_forwards == 1 + 1 + 2 + 2  # guidance 0, 1, 2 and 3
    assert not torch.equal(rain.tokens, dogs.tokens)


def test_embeddings_serve_as_prompts():
    vector = PIPELINE.condition("rain")
    assert torch.allclose(PIPELINE.condition(3 * vector.numpy()), vector)
    assert PIPELINE.condition(None) is None
    with pytest.raises(ParameterError, match=r"embeddings must be \(b, 8\), got \(1, 9\)"):
        tiny_pipeline(conditioner=False).condition(np.ones((1, 9), np.float32))


def test_progress_rises_to_the_end():
    seen = []
    tokens = torch.zeros(1, 5, 40, dtype=torch.int64)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[:, 0, :3] = True
    PIPELINE.fill(tokens, mask, [0], FEW, progress=lambda done, total: seen.append((done, total)))
    done = [step for step, _ in seen]
    assert done == sorted(done)
    assert seen[-1][0] == seen[-1][1]


def test_parts_of_a_job_share_its_progress():
    seen = []
    share_of(lambda done, total: seen.append((done, total)), 1, 3)(4, 8)
    assert seen == [(12, 24)]
    assert share_of(None, 0, 1) is None


def test_a_vocoder_that_fails_is_named():
    broken = tiny_pipeline()
    broken.vocoder.head.weight.fill_(torch.nan)
    with pytest.raises(MasktoolsError, match="vocoder must return finite samples, got NaN or infinity"):
        broken.decode(torch.zeros(1, 5, 2, dtype=torch.int64))


@pytest.mark.parametrize("precision", [torch.bfloat16])
def test_reduced_precision_changes_no_token_of_given_audio(precision):
    wave = waves(2)
    reduced = tiny_pipeline(precision=precision)
    assert torch.equal(reduced.encode(wave), PIPELINE.encode(wave))
    assert reduced.decode(reduced.encode(wave)).dtype == torch.float32


def test_known_cells_come_back_and_steps_at_the_border_fade():
    generated, original = torch.zeros(1, 4, 12), torch.full((1, 4, 12), 0.8)
    unknown = torch.zeros(1, 4, 12, dtype=torch.bool)
    unknown[..., 2:] = True
    blended = keep_known(generated, original, unknown, n_frames=3)
    assert torch.equal(blended[..., :2], original[..., :2])
    torch.testing.assert_close(blended[0, 0, 2:6], torch.tensor([0.6, 0.4, 0.2, 0.0]))
    assert (blended[..., 5:] == 0).all()


def test_known_bins_fade_into_generated_ones_upwards():
    generated, original = torch.zeros(1, 6, 3), torch.full((1, 6, 3), 0.6)
    unknown = torch.zeros(1, 6, 3, dtype=torch.bool)
    unknown[:, 2:] = True
    blended = keep_known(generated, original, unknown, n_frames=0, n_bins=2)
    torch.testing.assert_close(blended[0, :, 1], torch.tensor([0.6, 0.6, 0.4, 0.2, 0.0, 0.0]))


def test_what_agrees_with_the_original_is_not_touched():
    original = torch.rand(1, 80, 32) * 2 - 1
    unknown = torch.zeros_like(original, dtype=torch.bool)
    unknown[..., 10:20] = True
    assert torch.equal(keep_known(original, original, unknown, 3, 4), original)


@pytest.mark.gpu
def test_a_gpu_walks_as_the_cpu_does():
    wave = waves(5)
    gpu = tiny_pipeline(device="cuda")
    mask = torch.zeros(1, 5, 27, dtype=torch.bool)
    mask[:, :, 5:20] = True
    filled = [one.fill(one.encode(wave), mask, [0], FEW).tokens.cpu() for one in (PIPELINE, gpu)]
    assert (filled[0] == filled[1]).float().mean() > 0.98
    torch.testing.assert_close(gpu.decode(filled[0]).cpu(), PIPELINE.decode(filled[0]), atol=1e-3, rtol=0)


@pytest.fixture
def crowded(monkeypatch):
    """A pipeline whose parts take two clips at once at most."""
    pipeline = tiny_pipeline(batch_size=8)

    def at_most_two(function):
        def call(first, *rest, **named):
            if len(first) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return function(first, *rest, **named)

        return call

    monkeypatch.setattr(pipeline.transformer, "logits", at_most_two(pipeline.transformer.logits))
    for name in ("encode", "decode"):
        monkeypatch.setattr(pipeline.tokenizer, name, at_most_two(getattr(pipeline.tokenizer, name)))
    return pipeline


def test_when_memory_runs_out_fewer_clips_are_computed_at_once_to_the_same_end(crowded):
    tokens = torch.zeros(5, 5, 16, dtype=torch.int64)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    seeds = [1, 2, 3, 4, 5]
    assert torch.equal(crowded.fill(tokens, mask, seeds, FEW).tokens, PIPELINE.fill(tokens, mask, seeds, FEW).tokens)
    assert crowded.batch_size == 2
    crowded.batch_size = 8
    wave = waves(2, n=5)
    assert torch.equal(crowded.encode(wave), PIPELINE.encode(wave))
    assert crowded.batch_size == 2


def test_who_asks_is_told_of_every_decoding():
    pipeline, seen = tiny_pipeline(), []
    pipeline.on_solved = seen.append
    tokens = torch.zeros(1, 5, 16, dtype=torch.int64)
    result = pipeline.fill(tokens, torch.ones_like(tokens, dtype=torch.bool), [0], FEW)
    assert seen == [result]


def test_a_compiled_transformer_sees_batches_of_powers_of_two(monkeypatch):
    seen = []

    def compiled(function, **settings):
        def call(tokens, mask, condition):
            seen.append((len(tokens), settings["mode"], settings["dynamic"]))
            return function(tokens, mask, condition)

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    pipeline = tiny_pipeline()
    pipeline.compile()
    tokens = torch.zeros(3, 5, 16, dtype=torch.int64)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    condition = pipeline.condition(["rain", "dogs", "wind"])
    wanted = PIPELINE.fill(tokens, mask, [5, 6, 7], FEW, condition).tokens
    assert torch.equal(pipeline.fill(tokens, mask, [5, 6, 7], FEW, condition).tokens, wanted)
    assert set(seen) == {(4, None, False)}


@pytest.mark.slow
def test_a_compiled_transformer_fills_as_the_plain_one_does():
    script = """
import torch
from tests.tiny import tiny_pipeline
from masktools.solver import SolverConfig
tokens = torch.zeros(3, 5, 16, dtype=torch.int64)
mask = torch.ones_like(tokens, dtype=torch.bool)
pipeline = tiny_pipeline()
def fill():
    return pipeline.fill(tokens, mask, [5, 6, 7], SolverConfig(n_steps=3), pipeline.condition(["rain", "dogs", "a"]))
plain = fill().tokens
pipeline.compile(backend="eager")
raise SystemExit(not torch.equal(fill().tokens, plain))
"""  # in a process of its own: torch traces no function whose shapes are checked
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])


def test_a_transformer_that_is_exchanged_is_the_one_that_predicts():
    pipeline, other = tiny_pipeline(), tiny_pipeline(seed=1)
    tokens = torch.zeros(1, 5, 16, dtype=torch.int64)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    pipeline.transformer = other.transformer
    assert torch.equal(pipeline.fill(tokens, mask, [5], FEW).tokens, other.fill(tokens, mask, [5], FEW).tokens)


def test_a_batch_of_no_clips_is_named():
    nothing = torch.zeros(0, 5, 16, dtype=torch.int64)
    assert PIPELINE.fill(nothing, nothing.bool(), [], FEW).tokens.shape == (0, 5, 16)
    with pytest.raises(ParameterError, match="a batch must hold at least one clip, got none"):
        PIPELINE.decode(nothing)
    with pytest.raises(ParameterError, match="a wave must have at least one sample, got none"):
        PIPELINE.encode(torch.zeros(0, 8192))


def test_what_is_packed_for_a_cpu_is_not_compiled():
    pipeline = tiny_pipeline()
    pipeline.pack()
    with pytest.raises(ParameterError, match="packed for a CPU must stay as it is"):
        pipeline.compile()


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr("masktools.networks.transformer.cached.which", lambda name: None)
    monkeypatch.setattr("masktools.networks.transformer.cached.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"needs g\+\+ or clang\+\+, none is found: load the model without compile"):
        tiny_pipeline().compile()
    with pytest.raises(DeviceError, match="for a GPU needs triton, which is not installed"):
        check_compiler(torch.device("cuda"))


def test_a_vocoder_gets_what_is_known_from_sound_as_far_down_as_it_states():
    wave = torch.from_numpy(noise(1.0, level=1e-4))  # some 20 dB below db_min at the most
    plain, deep = tiny_pipeline(), tiny_pipeline()
    deep.vocoder = Hifigan(HifiganConfig(channels=16, floor_db=-100.0), MEL).eval()
    clipped = deep.to_mel(wave)
    assert (plain.lowest_rendered, deep.lowest_rendered) == (-1.0, pytest.approx(-1.4))
    assert torch.equal(clipped, plain.to_mel(wave))
    whole = deep.to_mel(wave, deep.lowest_rendered)
    assert torch.equal(whole.clamp_min(-1.0), clipped)
    assert float((whole < -1.0).float().mean()) > 0.2
    unknown = torch.zeros_like(clipped, dtype=torch.bool)
    unknown[..., 16:32] = True
    given = deep.deepened(clipped, wave, unknown)
    assert torch.equal(given[~unknown], whole[~unknown])
    assert torch.equal(given[unknown], clipped[unknown]), "what is unknown tells nothing of what was there"
    assert plain.deepened(clipped, wave, unknown) is clipped
    assert torch.equal(deep.tokenise(clipped), plain.tokenise(clipped))

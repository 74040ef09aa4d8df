"""A streams model as the jobs hold it: tokens and waves, filling, generation, gaps, bundles, and what it cannot do."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from masktools.core.errors import BundleError, ParameterError
from masktools.mel import MelConfig
from masktools.model import Model
from masktools.networks.grain import Grain, GrainConfig
from masktools.pipeline import StreamWalk, Walk, hub
from masktools.pipeline.bundles import stored_part
from masktools.pipeline.streams import StreamSession
from tests.pipeline.streams.small import PLAN, SPANS, small_encodec, small_walk, transformer
from tests.tiny import SAMPLE_RATE, noise, tiny_pipeline, tone

CARD = "# small\n\nRandom weights."
COLUMN = 1024  # samples


@pytest.fixture(scope="module")
def walk():
    return small_walk()


def test_both_families_are_walks(walk):
    assert isinstance(walk, Walk)
    assert isinstance(tiny_pipeline(), Walk)
    assert (walk.shape.n_stages, walk.shape.n_rows, walk.shape.has_bands) == (3, 3, False)
    assert walk.window_samples == 24 * COLUMN


def test_a_wave_becomes_columns_of_tokens_and_a_wave_of_any_length(walk):
    for n_samples in (1, COLUMN, COLUMN + 1, 5000):
        wave = torch.from_numpy(noise(1.0)[:, :n_samples])
        tokens = walk.encode(wave)
        assert tokens.shape == (1, 3, -(-n_samples // COLUMN))
        assert walk.decode(tokens, n_samples).shape == (1, n_samples)


def test_a_long_wave_gets_the_same_grain_as_if_decoded_at_once(walk, monkeypatch):
    grainy = StreamWalk(walk.mel, **walk.parts | {"grain": Grain(GrainConfig(width=4))})
    tokens = torch.randint(0, 16, (1, 3, 90), generator=torch.Generator().manual_seed(0))
    whole = grainy.decode(tokens)
    assert not torch.allclose(whole, walk.decode(tokens), atol=1e-3)
    monkeypatch.setattr("masktools.pipeline.streams._CODEC_COLS", 40)
    monkeypatch.setattr("masktools.pipeline.streams._CODEC_CONTEXT", 16)
    assert torch.allclose(grainy.decode(tokens), whole, atol=1e-4)


def test_a_long_wave_is_encoded_as_if_at_once(walk, monkeypatch):
    wave = torch.from_numpy(noise(6.0))
    whole = walk.encode(wave)
    monkeypatch.setattr("masktools.pipeline.streams._CODEC_COLS", 40)
    monkeypatch.setattr("masktools.pipeline.streams._CODEC_CONTEXT", 16)
    assert torch.equal(walk.encode(wave), whole)
    assert walk.decode(whole).shape == (1, whole.shape[-1] * COLUMN)


@pytest.mark.parametrize("plan", [PLAN, SPANS, replace(PLAN[0], pace="share", overlap=0)])
@pytest.mark.parametrize("n_cols", [10, 24, 41])
def test_known_tokens_come_back_in_every_stream_and_masked_ones_are_never_read(walk, plan, n_cols):
    draw = torch.Generator().manual_seed(n_cols)
    tokens = torch.randint(0, 16, (2, 3, n_cols), generator=draw)
    mask = torch.zeros(2, 3, n_cols, dtype=torch.bool)
    mask[0, :, 4:] = True
    mask[1, :, :7] = True
    result = walk.fill(tokens, mask, [1, 2], plan)
    assert torch.equal(result.tokens[~mask], tokens[~mask])
    assert (result.tokens >= 0).all()
    assert (result.tokens < 16).all()
    garbled = torch.where(mask, torch.randint(0, 16, tokens.shape, generator=draw), tokens)
    assert torch.equal(walk.fill(garbled, mask, [1, 2], plan).tokens, result.tokens)
    alone = walk.fill(tokens[1:], mask[1:], [2], plan)
    assert torch.equal(alone.tokens, result.tokens[1:])


def test_nothing_masked_costs_nothing(walk):
    tokens = torch.zeros(1, 3, 30, dtype=torch.int64)
    assert walk.fill(tokens, tokens > 0, [0], PLAN).n_forwards == 0


def test_a_prior_rescores_and_at_weight_zero_changes_nothing():
    plain, rescored = small_walk(), small_walk(with_prior=True)
    mask = torch.ones(1, 3, 24, dtype=torch.bool)
    tokens = torch.zeros(1, 3, 24, dtype=torch.int64)
    without = plain.fill(tokens, mask, [0], PLAN).tokens
    silent = tuple(replace(config, rescore_weight=0.0) for config in PLAN)
    assert torch.equal(rescored.fill(tokens, mask, [0], silent).tokens, without)
    assert not torch.equal(rescored.fill(tokens, mask, [0], PLAN).tokens, without)
    reading = tuple(replace(config, policy="halton", overlap=0) for config in silent)
    assert torch.equal(rescored.fill(tokens, mask, [0], reading).tokens, plain.fill(tokens, mask, [0], reading).tokens)


def test_generation_of_any_length_follows_the_text_and_the_seed():
    model = Model(small_walk())
    first, second = model.generate(["rain", "a bell"], seconds=2.0, seed=3)
    assert len(first.samples) == 2 * SAMPLE_RATE
    assert np.isfinite(first.samples).all()
    assert first.report["n_steps"] == [4, 2, 2]
    (again,) = model.generate("rain", seconds=2.0, seed=3)
    assert np.array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, second.samples)
    told = []
    model.generate("rain", n_steps=(2, 1, 1), progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]


def test_steps_are_given_for_each_stream_or_for_all(walk):
    model = Model(walk)
    assert [config.n_steps for config in model.solver("generate", n_steps=5)] == [5, 5, 5]
    assert [config.n_steps for config in model.solver("generate", n_steps=(9, 2, 1), guidance=2.0)] == [9, 2, 1]
    with pytest.raises(ParameterError, match="one for each of 3 stages, got 2"):
        model.solver("generate", n_steps=(9, 2))
    assert model.solver("generate", "magnet")[2].guidance == 10.0


@pytest.mark.parametrize("texture", ["model", "blend"])
def test_gaps_are_filled_and_no_sample_outside_them_changes(texture):
    model = Model(small_walk())
    samples = (tone(440.0, 3.0, 16_000) + noise(3.0, 16_000, level=0.01))[0].astype(np.float32)
    broken = samples.copy()
    broken[16_000:24_000] = np.nan
    result = model.inpaint(broken, 16_000, [(1.0, 1.5)], seed=1, texture=texture)
    assert result.samples.shape == samples.shape
    assert np.array_equal(np.delete(result.samples, range(16_000, 24_000)), np.delete(samples, range(16_000, 24_000)))
    assert np.isfinite(result.samples).all()
    assert np.abs(result.samples[16_000:24_000]).max() > 0
    silenced = samples.copy()
    silenced[16_000:24_000] = 0.5
    assert np.array_equal(
        model.inpaint(silenced, 16_000, [(1.0, 1.5)], seed=1, texture=texture).samples, result.samples
    )


def test_a_recording_goes_on_by_a_streams_model():
    from masktools.restoration import continue_recording

    samples = tone(330.0, 2.0)
    longer = continue_recording(small_walk(), samples, SAMPLE_RATE, 1.0, solver=PLAN, texture="model")
    assert longer.samples.shape[1] == 3 * SAMPLE_RATE
    assert np.array_equal(longer.samples[:, : 2 * SAMPLE_RATE], samples)


def test_a_streams_model_says_what_it_cannot_do_and_which_models_can():
    model = Model(small_walk())
    with pytest.raises(ParameterError, match=r"model 'small' cannot extend the bandwidth \(bwe\).*use --model .*mini"):
        model.bwe(tone(440.0, 0.5)[0], SAMPLE_RATE)
    with pytest.raises(ParameterError, match=r"cannot repair stretches of time and frequency .*use --model .*mini"):
        model.repair(tone(440.0, 0.5)[0], SAMPLE_RATE, "0.1-0.2,1000-2000")
    with pytest.raises(ParameterError, match=r"cannot embed recordings .*it can generate, inpaint"):
        model.embed(tone(440.0, 0.5)[0], SAMPLE_RATE)


def test_tokens_of_recordings_are_arrays_and_come_back():
    model = Model(small_walk())
    encoded = model.encode(tone(440.0, 1.0)[0], SAMPLE_RATE)
    assert encoded.tokens.shape == (3, 22)
    assert len(model.decode(encoded).samples) == SAMPLE_RATE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return hub.save_bundle(small_walk(with_prior=True), tmp_path_factory.mktemp("models") / "small", CARD)


def test_a_streams_bundle_comes_back_as_it_was_saved(folder):
    loaded = hub.load_bundle(folder, device="cpu", precision="fp32")
    assert isinstance(loaded, StreamWalk)
    assert loaded.decoding == {"generate": PLAN, "inpaint": PLAN}
    original = small_walk(with_prior=True)
    wave = torch.from_numpy(noise(1.0))
    tokens = loaded.encode(wave)
    assert (tokens == original.encode(wave)).float().mean() > 0.9  # weights are rounded to fp16
    assert loaded.condition("rain").shape == (1, 1, 8)
    with pytest.raises(ParameterError, match="cannot be compiled"):
        hub.load_bundle(folder, compile=True)


def test_a_model_in_the_package_lends_parts(monkeypatch, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr("masktools.pipeline.bundles._BUNDLED", package)
    hub.save_bundle(small_walk(), package / "lender", CARD)
    lent = {"vocoder": "lender", "conditioner": "lender"}
    folder = hub.save_bundle(small_walk(), tmp_path / "borrower", CARD, lent=lent)
    assert not {"vocoder.safetensors", "conditioner.safetensors"} & {path.name for path in folder.iterdir()}
    made = [Model(hub.load_bundle(one, device="cpu")).generate("rain", seconds=0.4) for one in (folder, "lender")]
    assert np.array_equal(made[0][0].samples, made[1][0].samples)
    assert stored_part(folder, "vocoder")[1].keys() == stored_part("lender", "vocoder")[1].keys()
    with pytest.raises(ParameterError, match="the codec is another one than that of 'lender'"):
        hub.save_bundle(small_walk(seed=1), tmp_path / "other", CARD, lent={"codec": "lender"})
    with pytest.raises(ParameterError, match="must be that of a model in the package to be lent, got 'nobody'"):
        hub.save_bundle(small_walk(), tmp_path / "other", CARD, lent={"vocoder": "nobody"})
    (package / "lender" / "vocoder.safetensors").write_bytes(b"of another version")
    with pytest.raises(BundleError, match="its vocoder is that of the model 'lender' in the package, which in this"):
        hub.load_bundle(folder)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_streams_bundle_generates_in_any_precision(folder, precision):
    loaded = hub.load_bundle(folder, device="cpu", precision=precision)
    (made,) = Model(loaded).generate("rain", seconds=0.5)
    assert np.isfinite(made.samples).all()


def test_models_are_found_by_what_they_can_do(folder, monkeypatch):
    monkeypatch.setenv("MASKTOOLS_MODELS", str(folder.parent))
    assert "small" in hub.models_for("generate")
    assert "small" not in hub.models_for("bwe")
    assert "mini" in hub.models_for("bwe")


def test_a_codec_of_waves_needs_no_vocoder_and_keeps_its_weights_whole(tmp_path):
    codec, mel = small_encodec(), MelConfig(sample_rate=4000, f_max=2000.0)
    made = StreamWalk(mel, codec, transformer(), decoding={"generate": PLAN})
    (one,) = Model(made).generate(seconds=0.3)
    assert (len(one.samples), one.sample_rate) == (1200, 4000)
    loaded = hub.load_bundle(hub.save_bundle(made, tmp_path / "waves", CARD), device="cpu", precision="fp32")
    wave = torch.from_numpy(noise(1.0, 4000))
    assert torch.equal(loaded.encode(wave), made.encode(wave))
    assert torch.equal(loaded.decode(made.encode(wave)), made.decode(made.encode(wave)))
    with pytest.raises(BundleError, match="this model's codec goes with no vocoder"):
        StreamWalk(mel, codec, transformer(), small_walk().vocoder)
    with pytest.raises(BundleError, match=r"the codes of the codec and of the transformer must be of one number"):
        StreamWalk(mel, codec, transformer(n_codes=8))


def test_a_prior_writes_the_start_and_the_streams_go_on_from_it():
    walk = small_walk(with_prior=True)
    tokens, mask = torch.zeros(2, 3, 24, dtype=torch.int64), torch.ones(2, 3, 24, dtype=torch.bool)
    tokens[1], mask[1, :, :3] = 5, False  # which is known, and goes on from that
    condition = walk.condition(["rain", "a bell"])
    hybrid = tuple(replace(config, prior_start=0.25) for config in PLAN)
    made = walk.fill(tokens, mask, [3, 4], hybrid, condition)
    start = StreamSession(walk, condition).begin(6, [3, 4])
    assert start.n_forwards == 2 * (6 + 3 - 1), "a place at a time, with and without the text"
    assert torch.equal(made.tokens[0, :, :6], start.tokens[0])
    assert (made.tokens[1, :, :3] == 5).all()
    plain = walk.fill(tokens, mask, [3, 4], PLAN, condition)
    assert torch.equal(made.tokens[1], plain.tokens[1])
    assert not torch.equal(made.tokens[0], plain.tokens[0])
    alone = walk.fill(tokens[:1], mask[:1], [3], hybrid, condition[:1])
    assert torch.equal(alone.tokens[0], made.tokens[0])
    (heard,) = Model(walk).generate("rain", seconds=0.5, solver="prior_start=0.5,rescore_weight=0.35")
    assert np.isfinite(heard.samples).all()


def test_what_a_prior_writes_is_what_it_believes():
    """Each token is drawn from its own logits, given those at places before it: the likeliest of one code is itself."""
    walk = small_walk(with_prior=True)
    with torch.no_grad():
        for head in walk.prior.heads:  # so sure that a draw is the likeliest code, or all but that
            head.weight *= 200.0
    written = StreamSession(walk).begin(9, [1, 2]).tokens
    logits = walk.prior.all_logits(written)
    drawn = logits.gather(-1, written[..., None])[..., 0]
    assert (logits.amax(dim=-1) - drawn).max() < 0.05 * logits.abs().amax()
    assert len(written.unique()) > 1


def test_a_model_without_a_prior_says_so(walk):
    with pytest.raises(ParameterError, match="needs a causal model beside this one"):
        Model(walk).generate("rain", solver="prior_start=0.5")
    with pytest.raises(ParameterError, match="prior_start needs a model with a causal prior"):
        Model(tiny_pipeline()).generate(solver="prior_start=0.5")
    with pytest.raises(ParameterError, match=r"prior_start must lie in \[0, 1\), got 1"):
        Model(walk).generate(solver="prior_start=1")
    with pytest.raises(ParameterError, match="unknown setting of the decoding 'prior'"):
        Model(walk).generate(solver="prior=1")


def texts(lengths, seed):
    """Return states of texts of different lengths, zeros where a shorter one has none."""
    draw = torch.Generator().manual_seed(seed)
    states = torch.randn(len(lengths), max(lengths), 8, generator=draw)
    return states * (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None])[..., None]


@pytest.mark.parametrize("seed", [11, 12, 13])
@pytest.mark.parametrize("changes", [{}, {"prior_start": 0.3, "rescore_weight": 0.35}])
def test_a_batch_is_its_clips_in_any_order_also_with_texts_of_different_lengths(seed, changes):
    walk = small_walk(seed, with_prior=True)
    walk.transformer.double()
    walk.prior.double()
    condition, seeds = texts((1, 7, 0, 3), seed).double(), [seed, 5, 6, 7]
    mask = torch.ones(4, 3, 20, dtype=torch.bool)
    mask[1, :, 8:] = False
    tokens = torch.randint(0, 16, mask.shape, generator=torch.Generator().manual_seed(seed))
    plan = tuple(replace(config, **changes) for config in PLAN)
    together = walk.fill(tokens, mask, seeds, plan, condition).tokens
    order = torch.tensor([2, 0, 3, 1])
    turned = walk.fill(tokens[order], mask[order], [seeds[i] for i in order], plan, condition[order]).tokens
    assert torch.equal(turned, together[order])
    for item, length in enumerate((1, 7, 1, 3)):
        one = slice(item, item + 1)
        alone = walk.fill(tokens[one], mask[one], seeds[one], plan, condition[one, :length])
        assert torch.equal(alone.tokens, together[one])


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_strong_guidance_of_extreme_logits_gives_tokens_in_every_precision(precision):
    walk = small_walk(with_prior=True, precision=precision)
    with torch.no_grad():
        for head in (*walk.transformer.heads, *walk.prior.heads):
            head.weight *= 1e4 / head.weight.abs().sum(dim=1).max()
    plan = tuple(replace(config, guidance=20.0, prior_start=0.25) for config in SPANS)
    mask = torch.ones(2, 3, 24, dtype=torch.bool)
    made = walk.fill(torch.zeros_like(mask, dtype=torch.int64), mask, [1, 2], plan, texts((2, 5), 0)).tokens
    assert ((made >= 0) & (made < 16)).all()

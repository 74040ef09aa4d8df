"""The scale-wise transformer and its session: who attends whom, what is remembered, and what is drawn."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import CheckpointError, ParameterError
from masktools.networks.scales import ScaleSession, ScaleTokenizer, ScaleTransformer, draw_scales, scale_plan
from masktools.networks.scales.pyramid import ScalePyramid
from masktools.solver import SolverConfig
from masktools.solver.request import combine
from tests.networks.scales.small import SCALES, latents, mels, quantiser, scale_lists, tokenizer, transformer

VARIANTS = ({}, {"unit_queries": True}, {"shared_modulation": True})
seeds = st.integers(0, 1000)


def pair(scales, seed=0, **variant):
    """Return a transformer and a quantiser over the same scales."""
    return transformer(seed, 12, scales=scales, **variant), quantiser(ScalePyramid(scales), seed, 12, 6)


def given_of(codes, n):
    """Return tokens of noise and what a transformer is shown of them."""
    tokens = codes.encode(latents(codes.pyramid, n, 6))
    return tokens, codes.inputs(tokens)


def all_equal(tokens, others):
    return all(torch.equal(a, b) for a, b in zip(tokens, others, strict=True))


@pytest.fixture(scope="module")
def codec():
    return tokenizer()


def inputs_of(codec, n=2, seed=1):
    torch.manual_seed(seed)
    tokens = codec.encode(mels(n, 24))
    return tokens, codec.quantiser.inputs(tokens)


@settings(deadline=None, max_examples=15)
@given(scale_lists(), seeds, st.sampled_from(VARIANTS))
def test_no_token_hears_finer_scales_and_each_hears_its_own_and_coarser_ones(scales, seed, variant):
    net, codes = pair(scales, seed, **variant)
    inputs = [part.clone().requires_grad_() for part in given_of(codes, 2)[1]]
    logits = net(inputs, torch.randn(2, 5))
    for scale, place in enumerate(map(net.pyramid.place, range(len(scales)))):
        heard = [0.0] * len(inputs)
        if inputs:
            asked = logits[:, place].square().sum()
            gradients = torch.autograd.grad(asked, inputs, retain_graph=True, allow_unused=True)
            heard = [0.0 if one is None else float(one.abs().sum(2).min()) for one in gradients]
            assert all(one is None or not one.any() for one in gradients[scale:])
        assert [value > 0 for value in heard] == [number < scale for number in range(len(inputs))]


def test_each_token_hears_all_of_its_scale(codec):
    net = transformer()
    _, inputs = inputs_of(codec, 1)
    inputs = [part.clone().requires_grad_() for part in inputs]
    logits = net(inputs, torch.randn(1, 5))
    for token in range(net.pyramid.offsets[1], net.pyramid.offsets[2]):
        (gradient,) = torch.autograd.grad(logits[0, token].sum(), inputs[:1], retain_graph=True)
        assert (gradient.abs().sum(2) > 0).all()


@settings(deadline=None, max_examples=15)
@given(scale_lists(), seeds, st.sampled_from(VARIANTS), st.booleans(), st.booleans())
@torch.no_grad()
def test_a_session_that_remembers_gives_what_one_pass_gives(scales, seed, variant, conditional, one_by_one):
    net, codes = pair(scales, seed, **variant)
    tokens, inputs = given_of(codes, 3)
    condition = torch.randn(3, 5)
    whole = net(inputs, condition if conditional else None, n_items=3)
    session = ScaleSession(net, codes, condition, one_by_one)
    items = torch.arange(3)
    for scale, n in enumerate(net.pyramid.lengths):
        nothing = torch.zeros(3, n, dtype=torch.long), torch.ones(3, n, dtype=torch.bool)
        logits = session.predictor(scale, tokens[:scale])(*nothing, items, conditional)
        expected = whole[:, net.pyramid.place(scale)].expand(3, -1, -1)
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_session_computes_scales_that_it_was_not_asked_for(codec):
    net = transformer()
    tokens, inputs = inputs_of(codec, 2)
    session = ScaleSession(net, codec.quantiser)
    nothing = torch.zeros(1, 24, dtype=torch.long), torch.ones(1, 24, dtype=torch.bool)
    logits = session.predictor(2, tokens[:2])(*nothing, torch.tensor([1]), False)
    torch.testing.assert_close(logits, net(inputs)[1:, net.pyramid.place(2)], atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=6)
@given(
    scale_lists(),
    st.lists(st.integers(0, 2**40), min_size=2, max_size=4, unique=True),
    st.sampled_from([1.0, (1.0, 2.5), 0.0]),
    st.sampled_from([None, 3]),
    st.sampled_from([None, 0.8]),
)
def test_a_batch_draws_what_its_items_draw_alone(scales, seeds, guidance, top_k, top_p):
    net, codes = pair(scales)
    condition = torch.randn(len(seeds), 5)
    plan = scale_plan(len(scales), guidance, top_k=top_k, top_p=top_p)
    together = draw_scales(net, codes, seeds, condition, plan).tokens
    assert all_equal(together, draw_scales(net, codes, seeds, condition, plan).tokens)
    for item, seed in enumerate(seeds):
        alone = draw_scales(net, codes, [seed], condition[item : item + 1], plan).tokens
        assert all_equal([grid[item : item + 1] for grid in together], alone)


def test_refined_batches_too_draw_what_their_items_draw_alone(codec):
    net = transformer(refines=True)
    condition = torch.randn(3, 5)
    plan = scale_plan(3, (1.0, 2.0), n_steps=(1, 2, 4))
    together = draw_scales(net, codec.quantiser, [3, 1, 4], condition, plan)
    assert together.n_forwards > 3 + 3  # of a pass a scale, with and without condition
    for item, seed in enumerate([3, 1, 4]):
        alone = draw_scales(net, codec.quantiser, [seed], condition[item : item + 1], plan).tokens
        assert all_equal([grid[item : item + 1] for grid in together.tokens], alone)


def test_known_tokens_of_a_scale_are_shown_where_a_model_refines(codec):
    net = transformer(refines=True)
    _, inputs = inputs_of(codec, 1)
    tokens, mask = torch.zeros(1, 24, dtype=torch.long), torch.ones(1, 24, dtype=torch.bool)
    hidden = net(inputs, None, None, (tokens, mask))
    assert torch.equal(hidden, net(inputs)), "what is masked is not read"
    mask[0, 5] = False
    first, other = net(inputs, None, None, (tokens, mask)), net(inputs, None, None, (tokens + 1, mask))
    finest = net.pyramid.place(2)
    assert (first[:, finest] != other[:, finest]).any(dim=2).all()
    torch.testing.assert_close(first[:, : finest.start], other[:, : finest.start])


def test_a_model_that_does_not_refine_refuses_more_steps(codec):
    with pytest.raises(ParameterError, match="draws all tokens of a scale at once"):
        draw_scales(transformer(), codec.quantiser, [0], plan=scale_plan(3, n_steps=2))


@settings(deadline=None, max_examples=5)
@given(scale_lists(most=4), seeds)
def test_decodings_that_go_on_at_once_do_not_meet(scales, seed):
    net, codes = pair(scales, seed)
    conditions, plan = torch.randn(2, 1, 5), scale_plan(len(scales), (1.0, 2.0))
    one, other = (draw_scales(net, codes, [seed + n], conditions[n], plan).tokens for n in (0, 1))
    inside = []

    def meanwhile():
        inside.append(draw_scales(net, codes, [seed + 1], conditions[1], plan).tokens)

    assert all_equal(draw_scales(net, codes, [seed], conditions[0], plan, on_call=meanwhile).tokens, one)
    assert inside
    assert all(all_equal(made, other) for made in inside)


@settings(deadline=None, max_examples=10)
@given(scale_lists(), seeds, st.data())
def test_a_decoding_that_fails_anywhere_leaves_the_model_as_it_was(scales, seed, data):
    net, codes = pair(scales, seed)
    before, state = draw_scales(net, codes, [seed]).tokens, {key: own.clone() for key, own in net.state_dict().items()}
    left = [None] * data.draw(st.integers(0, len(scales) - 1))

    def fail():
        if not left:
            raise RuntimeError("in the middle")
        left.pop()

    with pytest.raises(RuntimeError, match="in the middle"):
        draw_scales(net, codes, [seed], on_call=fail)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in state.items())
    assert all_equal(draw_scales(net, codes, [seed]).tokens, before)


@settings(deadline=None, max_examples=6)
@given(scale_lists(), seeds, st.data())
def test_scales_that_are_given_are_kept_and_finer_ones_drawn(scales, seed, data):
    net, codes = pair(scales, seed)
    n_given = data.draw(st.integers(1, len(scales)))
    tokens, _ = given_of(codes, 2)
    drawn = draw_scales(net, codes, [1, 2], given=tokens[:n_given]).tokens
    assert all_equal(drawn[:n_given], tokens[:n_given])
    others = [draw_scales(net, codes, [3 + n, 40 + n], given=tokens[:n_given]).tokens for n in range(4)]
    assert any(not all_equal(drawn, other) for other in others) == (n_given < len(scales))


@settings(deadline=None, max_examples=10)
@given(scale_lists(), seeds)
@torch.no_grad()
def test_top_k_of_one_takes_the_likeliest_token(scales, seed):
    net, codes = pair(scales, seed)
    condition = torch.randn(2, 5)
    drawn = draw_scales(net, codes, [1, 2], condition, scale_plan(len(scales), top_k=1)).tokens
    logits = net(codes.inputs(drawn), condition)
    assert torch.equal(logits.argmax(2), net.pyramid.pack(drawn))


@given(st.floats(0, 5), st.integers(0, 99))
def test_guidance_of_var_and_of_the_house_are_one(t, seed):
    torch.manual_seed(seed)
    unconditional, conditional = torch.randn(2, 4, 9)
    of_var = (1 + t) * conditional - t * unconditional
    of_house = combine(unconditional, conditional, torch.full((4, 1), 1 + t))
    torch.testing.assert_close(of_house, of_var, atol=1e-4, rtol=1e-4)


def test_the_plan_ramps_guidance_from_the_first_scale_to_the_last():
    assert [config.guidance for config in scale_plan(5, (1.0, 3.0))] == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert [config.n_steps for config in scale_plan(3, n_steps=(1, 1, 8))] == [1, 1, 8]
    assert all(isinstance(config, SolverConfig) for config in scale_plan(1))
    with pytest.raises(ParameterError, match="temperature must be one number, or one for each of 3 scales, got 2"):
        scale_plan(3, temperature=(1.0, 0.9))


def test_an_untrained_model_knows_nothing_and_can_learn_one_batch(codec):
    torch.manual_seed(3)
    from masktools.networks.scales import ScaleTransformerConfig

    net = ScaleTransformer(ScaleTransformerConfig(SCALES, 12, 6, 5, width=64, depth=2, n_heads=2))
    with torch.no_grad():
        tokens, inputs = inputs_of(codec, 2)
    condition, wanted = torch.randn(2, 5), codec.pyramid.pack(tokens)

    def loss():
        return torch.nn.functional.cross_entropy(net(inputs, condition).flatten(0, 1), wanted.flatten())

    assert abs(loss().item() - torch.tensor(12.0).log().item()) < 0.05
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        found = loss()
        found.backward()
        optimizer.step()
    assert found < 0.5


def test_parts_of_other_scales_are_refused_by_name(codec):
    from masktools.networks.scales import ScaleTransformerConfig

    other = ScaleTransformer(ScaleTransformerConfig(((2, 1), (2, 4), (4, 6)), 12, 6, 5, 16, 1, 2))
    with pytest.raises(ParameterError, match=r"tokenizer \(2x1, 2x3, 4x6\) and of the transformer \(2x1, 2x4, 4x6\)"):
        ScaleSession(other, codec.quantiser)
    same_length = ScaleTransformer(ScaleTransformerConfig(((1, 2), (3, 2), (4, 6)), 12, 6, 5, 16, 2, 2))
    with pytest.raises(CheckpointError, match="has the scales 1x2, 3x2, 4x6, the model 2x1, 2x3, 4x6"):
        transformer().load_state_dict(same_length.state_dict())


def test_wrong_conditions_and_counts_are_refused(codec):
    net = transformer()
    with pytest.raises(ParameterError, match=r"a condition must be \(b, 5\)"):
        draw_scales(net, codec.quantiser, [0], torch.zeros(1, 4))
    with pytest.raises(ParameterError, match="one for each of 2 seeds, got 1"):
        draw_scales(net, codec.quantiser, [0, 1], torch.zeros(1, 5))
    with pytest.raises(ParameterError, match="must be of the scales"):
        draw_scales(net, codec.quantiser, [0], given=[torch.zeros(1, 1, 1, dtype=torch.long)])


@pytest.mark.parametrize(
    "options",
    [{}, {"layout": "block"}, {"shared_codebook": False}, {"truncate": (12, 20)}, {"phi": "none", "up": "nearest"}],
)
@torch.no_grad()
def test_the_tokenizer_gives_spectrograms_of_the_clips_size(options):
    scales = ((2, 1), (3, 5)) if "truncate" in options else SCALES
    torch.manual_seed(0)
    from masktools.networks.scales import ScaleTokenizerConfig

    codec = ScaleTokenizer(
        ScaleTokenizerConfig(16, scales, (2, 2), widths=(8, 8), n_codes=8, code_dim=4, **options)
    ).eval()
    clips = mels(2, 19)
    tokens = codec.encode(clips)
    assert [tuple(grid.shape[1:]) for grid in tokens] == list(ScalePyramid(scales).scales)
    for n_scales in range(1, len(scales) + 1):
        assert torch.equal(codec.decode(tokens[:n_scales], 19), codec.refinements(tokens, 19)[n_scales - 1])
        assert codec.decode(tokens[:n_scales], 19).shape == clips.shape
    estimate, quantised = codec(clips)
    assert estimate.shape == clips.shape
    torch.testing.assert_close(codec.decode(quantised.tokens, 19), estimate.clamp(-1, 1), atol=1e-5, rtol=1e-5)
    with pytest.raises(ParameterError, match="16 bins"):
        codec.encode(mels(1, 19, 15))


def test_a_finest_scale_that_is_not_the_grid_is_refused():
    from masktools.networks.scales import ScaleTokenizerConfig

    with pytest.raises(ParameterError, match="must have 5 rows, one for each 16 of 80 bins, got 4"):
        ScaleTokenizerConfig(scales=((1, 1), (4, 13)))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"multiplex": (4, 1)}, "multiplexing 4, 1, the model 2, 2"),
        ({"layout": "block"}, "layout 1, the model 0"),
        ({"n_codes": 9}, "codebook size 9, the model 8"),
    ],
)
def test_weights_of_another_multiplexing_or_codebook_are_refused_by_name(settings, what):
    from masktools.networks.scales import ScaleTokenizerConfig

    base = dict(n_mels=16, scales=((2, 1), (4, 6)), multiplex=(2, 2), widths=(8, 8), n_codes=8, code_dim=4)
    other = {**base, **settings}
    if settings.get("multiplex"):
        other["scales"] = ((2, 1), (2, 6))
    stored = ScaleTokenizer(ScaleTokenizerConfig(**other)).state_dict()
    with pytest.raises(CheckpointError, match=what):
        ScaleTokenizer(ScaleTokenizerConfig(**base)).load_state_dict(stored)

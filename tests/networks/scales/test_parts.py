"""Parts over scales as bundles hold them: laid out without memory, filled from weights in fp16, the same afterwards."""

import pytest
import torch

from masktools.core.configs import to_dict
from masktools.mel import MelConfig
from masktools.networks.packing import halved
from masktools.networks.scales import draw_scales
from masktools.networks.tokenizer import token_fingerprint
from masktools.pipeline.hub import make_part
from tests.networks.scales.small import mels, tokenizer, transformer

PRECISIONS = [None, torch.float32]


@pytest.mark.parametrize("precision", PRECISIONS)
@torch.no_grad()
def test_a_part_from_stored_weights_computes_as_it_did(precision):
    parts = {"tokenizer": tokenizer(), "transformer": transformer(unit_queries=True, refines=True)}
    made = {}
    for name, part in parts.items():
        stored = halved(part.state_dict())
        part.load_state_dict({key: value.to(part.state_dict()[key].dtype) for key, value in stored.items()})
        made[name] = make_part(name, "scales", to_dict(part.config), MelConfig(), stored, precision)
    clips = mels(2, 20)
    tokens = parts["tokenizer"].encode(clips)
    again = made["tokenizer"].encode(clips)
    assert all(torch.equal(a, b) for a, b in zip(tokens, again, strict=True))
    assert torch.equal(parts["tokenizer"].decode(tokens, 20), made["tokenizer"].decode(again, 20))
    drawn, others = (
        draw_scales(one["transformer"], one["tokenizer"].quantiser, [1, 2], torch.ones(2, 5)).tokens
        for one in (parts, made)
    )
    assert all(torch.equal(a, b) for a, b in zip(drawn, others, strict=True))


def test_the_fingerprint_is_of_tokens_and_not_of_the_decoder():
    one, other = tokenizer(), tokenizer()
    with torch.no_grad():
        other.decoder[0].weight.mul_(2.0)
    assert token_fingerprint(one.state_dict()) == token_fingerprint(other.state_dict())
    with torch.no_grad():
        other.quantiser.phi[0].weight.mul_(2.0)
    assert token_fingerprint(one.state_dict()) != token_fingerprint(other.state_dict())

"""A joint encoder small enough for tests: every letter is a piece, so that every English word can be spelt."""

import string

import pytest
import torch

from masktools.mel import MelConfig
from masktools.networks.conditioning import JointEncoder, JointEncoderConfig

WORDS = ["dog", "bark", "##ing", "rain", "violin", "a", "the", ","]
PIECES = list(dict.fromkeys([*WORDS, *string.ascii_lowercase, *(f"##{c}" for c in string.ascii_lowercase)]))


def small_encoder(seed: int = 0, **settings) -> JointEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = JointEncoderConfig(MelConfig(f_max=11_025.0), dim=8, text_hidden=16, widths=(8, 12, 16), **settings)
        return JointEncoder.from_vectors(PIECES, torch.randn(len(PIECES), 12), config).eval()


@pytest.fixture(scope="module")
def encoder():
    return small_encoder()

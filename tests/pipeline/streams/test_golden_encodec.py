"""EnCodec's golden values, which MAGNeT's tokens come from: the codes and the wave that audiocraft's modules give."""

import pytest
import torch

from masktools.networks.tokenizer import Encodec, EncodecConfig
from masktools.pipeline.convert.magnet import encodec_weights
from tests.pipeline.streams.golden import needs, read, under

pytestmark = needs("encodec_tiny")
TINY = EncodecConfig(
    sample_rate=4000, n_streams=4, n_codes=16, code_dim=8, n_filters=2, ratios=(5, 4, 2), pad_mode="reflect"
)


@pytest.fixture(scope="module")
def codec():
    codec = Encodec(TINY).eval()
    codec.load_state_dict(encodec_weights(under(read("encodec_tiny")[0], "encodec.")), strict=True)
    return codec


@torch.no_grad()
def test_golden_encodec_of_magnet_gives_the_same_codes_and_the_same_wave(codec):
    golden = read("encodec_tiny")[0]
    assert torch.equal(codec.encode(golden["wave"].float()), golden["codes"].long())
    torch.testing.assert_close(codec.decode(golden["codes"].long()), golden["decoded"].float(), atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("n_samples", [1, 39, 40, 41, 400, 493])
def test_golden_encodec_of_magnet_reads_any_length_in_whole_columns(codec, n_samples):
    tokens = codec.encode(torch.randn(1, n_samples, generator=torch.Generator().manual_seed(0)))
    assert tokens.shape == (1, 4, -(-n_samples // 40))
    assert codec.decode(tokens[:, :2]).shape == (1, tokens.shape[2] * 40)

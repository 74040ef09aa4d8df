"""A streams model with random weights, small enough for tests: all its parts are real, only small."""

import string

import torch

from masktools.networks.conditioning import JointEncoder, JointEncoderConfig
from masktools.networks.tokenizer import Encodec, EncodecConfig, MelRvq, MelRvqConfig
from masktools.networks.transformer import DelayedPrior, DelayedPriorConfig, StreamTransformer, StreamTransformerConfig
from masktools.networks.vocoder import LightVocoder, LightVocoderConfig
from masktools.pipeline import StreamWalk
from masktools.solver import SolverConfig
from tests.tiny import MEL

PIECES = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
BASE = dict(
    pace="closed",
    temperature=0.0,
    guidance=3.0,
    guidance_schedule="share_down",
    token_annealing="to_zero",
    confidence="whole",
    top_p=0.9,
)
PLAN = tuple(SolverConfig(n_steps=n, overlap=3, **BASE) for n in (4, 2, 2))
SPANS = tuple(SolverConfig(n_steps=n, group_score="max", **BASE) for n in (4, 2, 2))
SIZES = dict(n_streams=3, n_codes=16, n_cols=24, width=16, depth=2, n_heads=2, text_dim=8)


def transformer(seed=0, cls=StreamTransformer, config=StreamTransformerConfig, **changes):
    """Return a transformer over three streams, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(config(**(SIZES | changes))).eval()


def prior(seed=5, **changes):
    """Return a causal one."""
    return transformer(seed, DelayedPrior, DelayedPriorConfig, **changes)


def small_walk(seed=0, conditioner=True, with_prior=False, **settings):
    """Return a model over mel streams, whose window is 24 columns of 46 ms."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        codec = MelRvq(MelRvqConfig(n_streams=3, n_codes=16, code_dim=8, width=16, n_blocks=1))
        with torch.no_grad():  # codes where the encoder's outputs are, so that several are in use
            latents = codec.to_latents(torch.rand(1, MEL.n_mels, 256) * 2 - 1)[0].T
            for stream, book in enumerate(codec.quantiser.codebooks):
                book.weight.copy_(latents[torch.randperm(len(latents))[:16]] * 0.5**stream)
        vocoder = LightVocoder(LightVocoderConfig(width=16, depth=1), MEL)
        joint = JointEncoderConfig(MEL, dim=8, text_hidden=8, widths=(4, 4, 8), n_blocks=1)
        encoder = JointEncoder.from_vectors(PIECES, torch.randn(len(PIECES), 8), joint) if conditioner else None
    own = {"name": "small", "decoding": {"generate": PLAN, "inpaint": PLAN}} | settings
    external = prior() if with_prior else None
    return StreamWalk(MEL, codec, transformer(seed), vocoder, encoder, external, **own)


def small_encodec(seed=0):
    """Return EnCodec at a tiny size: hop 40 at 4 kHz, 3 streams of 16 codes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        codec = Encodec(EncodecConfig(4000, 3, 16, 8, 2, (5, 4, 2)))
        for number, layer in enumerate(codec.model.quantizer.layers):
            layer.codebook.embed.copy_(0.3 * 0.5**number * torch.randn(16, 8))
    return codec.eval()

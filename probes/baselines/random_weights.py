"""The encoder before it learned anything: the same tokenizer, the same architecture, weights drawn at random.

What a probe reads off it is what the tokens and the shape of the network give away; what it reads off the pretrained
one beyond that was learned.
"""

import torch

from masktools.features import Encoder
from masktools.networks.transformer import MaskedTransformer
from masktools.networks.transformer.model import embeddings_from_codes
from masktools.pipeline import Pipeline


def untrained(encoder: Encoder, seed: int = 0, from_codes: bool = True) -> Encoder:
    """Return an encoder whose transformer has just been made; its tokenizer and its conditioner are the given one's.

    Args:
        encoder: the pretrained one.
        seed: of the weights; torch's own random state is left as it was.
        from_codes: let the token embeddings begin where the codebook is, as the training of ``mini`` did; else they
            are random too.
    """
    given = encoder.pipeline
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = MaskedTransformer(given.transformer.config)
    if from_codes:
        width = transformer.config.width
        with torch.no_grad():
            transformer.token_embedding.weight.copy_(
                embeddings_from_codes(given.tokenizer.codebook.weight, width, seed)
            )
    pipeline = Pipeline(
        given.mel,
        given.tokenizer,
        transformer,
        given.vocoder,
        given.conditioner,
        name=f"{given.name}, untrained",
        device=given.device,
        precision=given.precision,
        batch_size=given.batch_size,
    )
    return Encoder(pipeline, encoder.threads)

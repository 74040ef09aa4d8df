"""Tokenizers: mel spectrogram <-> tokens on a grid of 16 x 16 patches; codecs: waves or mel <-> token streams."""

from masktools.networks.tokenizer.codecs import Encodec, EncodecConfig, MelRvq, MelRvqConfig
from masktools.networks.tokenizer.local import LocalTokenizer, LocalTokenizerConfig, decoding_weights, token_fingerprint
from masktools.networks.tokenizer.specvqgan import SpecVqgan, SpecVqganConfig

__all__ = [
    "CODECS", "TOKENIZERS", "Encodec", "EncodecConfig", "LocalTokenizer", "LocalTokenizerConfig", "MelRvq",
    "MelRvqConfig", "SpecVqgan", "SpecVqganConfig", "decoding_weights", "token_fingerprint",
]  # fmt: skip

TOKENIZERS = {"local": (LocalTokenizerConfig, LocalTokenizer), "specvqgan": (SpecVqganConfig, SpecVqgan)}
CODECS = {"encodec": (EncodecConfig, Encodec), "mel_rvq": (MelRvqConfig, MelRvq)}

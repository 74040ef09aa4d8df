"""Tokenizers: mel spectrogram <-> tokens on a grid of 16 x 16 patches."""

from masktools.tokenizer.fingerprint import token_fingerprint
from masktools.tokenizer.local import LocalTokenizer, LocalTokenizerConfig
from masktools.tokenizer.specvqgan import SpecVqgan, SpecVqganConfig

__all__ = ["TOKENIZERS", "LocalTokenizer", "LocalTokenizerConfig", "SpecVqgan", "SpecVqganConfig", "token_fingerprint"]

TOKENIZERS = {"local": (LocalTokenizerConfig, LocalTokenizer), "specvqgan": (SpecVqganConfig, SpecVqgan)}

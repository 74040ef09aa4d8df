"""What a pretrained encoder has to beat, each a row beside it in the same probe.

A baseline is made from the extractor of the pretrained row, so that it shares what can be shared: the rate, the mel
settings, the tokenizer, the architecture, the layers and their pooling.
"""

from collections.abc import Callable
from importlib.metadata import version

from probes.baselines.codes import code_histogram
from probes.baselines.conditioner import conditioner_vector
from probes.baselines.mel import mel_mean, mel_statistics
from probes.baselines.mfcc import check_librosa, mfcc_statistics
from probes.baselines.random_weights import untrained
from probes.features import EncoderExtractor, Extractor, FunctionExtractor

__all__ = ["BASELINES", "TITLES"]


def _mel(like: EncoderExtractor) -> Extractor:
    encoder = like.worker.encoder
    identity = f"mean {encoder.pipeline.mel}"
    return FunctionExtractor(TITLES["mel"], mel_mean(encoder.pipeline), identity, encoder.sample_rate)


def _mel_statistics(like: EncoderExtractor) -> Extractor:
    encoder = like.worker.encoder
    identity = f"mean, std, also of steps; {encoder.pipeline.mel}"
    return FunctionExtractor(TITLES["mel-stats"], mel_statistics(encoder.pipeline), identity, encoder.sample_rate)


def _mfcc(like: EncoderExtractor) -> Extractor:
    check_librosa()
    identity = f"20 MFCC, two differences, mean and std; librosa {version('librosa')}"
    return FunctionExtractor(TITLES["mfcc"], mfcc_statistics, identity, like.worker.encoder.sample_rate)


def _codes(like: EncoderExtractor) -> Extractor:
    identity = f"roots of shares; {like.worker.encoder.identity}"
    return FunctionExtractor(TITLES["codes"], code_histogram(like.worker.encoder), identity)


def _codes_by_row(like: EncoderExtractor) -> Extractor:
    identity = f"roots of shares by row; {like.worker.encoder.identity}"
    return FunctionExtractor(TITLES["codes-rows"], code_histogram(like.worker.encoder, by_row=True), identity)


def _random(like: EncoderExtractor) -> Extractor:
    return _untrained(like, "random", from_codes=False)


def _from_codes(like: EncoderExtractor) -> Extractor:
    return _untrained(like, "untrained", from_codes=True)


def _untrained(like: EncoderExtractor, name: str, from_codes: bool) -> Extractor:
    encoder = untrained(like.worker.encoder, from_codes=from_codes)
    settings = {"pool": like.pool, "windows": like.windows, "dtype": like.dtype, "hop_s": like.hop_s}
    return EncoderExtractor.of(encoder, **settings, label=TITLES[name])


def _conditioner(like: EncoderExtractor) -> Extractor:
    encoder = like.worker.encoder
    vector = conditioner_vector(encoder.pipeline)
    return FunctionExtractor(TITLES["conditioner"], vector, encoder.identity, encoder.sample_rate)


TITLES = {
    "mel": "mean mel spectrogram",
    "mel-stats": "mel statistics",
    "mfcc": "MFCC statistics",
    "codes": "code histogram",
    "codes-rows": "code histogram by row",
    "random": "random weights",
    "untrained": "random weights, embeddings of codes",
    "conditioner": "conditioner only",
}
"""What tables call each baseline."""

BASELINES: dict[str, Callable[[EncoderExtractor], Extractor]] = {
    "mel": _mel,
    "mel-stats": _mel_statistics,
    "mfcc": _mfcc,
    "codes": _codes,
    "codes-rows": _codes_by_row,
    "random": _random,
    "untrained": _from_codes,
    "conditioner": _conditioner,
}
"""Name of a row -> what makes its extractor from the pretrained row's."""

"""The rows of a table: the encoder with one prefix or the other, and what it has to beat.

- ``learned``: nothing is masked, and the prefix is the vector that the model learned for no condition (M-prefix)
- ``condition``: the prefix is what the model's conditioner hears in the recording (CLAP-prefix): part of what a probe
  finds is then the conditioner's

and those of ``probes.baselines.BASELINES``: name -> (extractor of the first row) -> extractor.
"""

from collections.abc import Callable, Mapping, Sequence

from masktools.core.errors import ParameterError, unknown_name
from masktools.extraction.worker import Worker
from probes.features import EncoderExtractor, Extractor

PREFIXES = ("learned", "condition")


def row_names() -> tuple[str, ...]:
    """Return the names of all rows."""
    return (*PREFIXES, *_baselines())


def extractors(
    names: Sequence[str],
    worker: Worker,
    pool: str = "mean",
    windows: str = "vector",
    dtype: str = "float32",
    hop_s: float | None = None,
) -> list[Extractor]:
    """Return what makes the vectors of each row.

    Args:
        names: of the rows; ``all`` stands for all that the model can give.
        worker: the model, and where it computes.
        pool: one of ``features.POOLS``, for the encoder.
        windows: one of ``features.WINDOWS``, for the encoder.
        dtype: of the encoder's vectors on the disk.
        hop_s: for the encoder: shorter than a column, recordings are heard several times.

    Raises:
        ParameterError: an unknown name, or a row that needs a conditioner where the model has none.
    """
    known = row_names()
    has_conditioner = worker.encoder.pipeline.conditioner is not None
    wanted: list[str] = []
    for name in names:
        if name == "all":
            wanted += [one for one in known if has_conditioner or not _needs_conditioner(one)]
        elif name not in known:
            raise unknown_name("row", name, (*known, "all"))
        elif _needs_conditioner(name) and not has_conditioner:
            raise ParameterError(f"the row {name} needs a model with a conditioner, {worker.encoder.name} has none")
        else:
            wanted.append(name)
    if not wanted:
        raise ParameterError(f"at least one row must be named: choose from {', '.join(known)}")
    ours = {prefix: EncoderExtractor(worker, prefix, pool, windows, dtype, hop_s) for prefix in PREFIXES}
    baselines = _baselines()
    return [ours[name] if name in ours else baselines[name](ours["learned"]) for name in dict.fromkeys(wanted)]


def _needs_conditioner(name: str) -> bool:
    return name.startswith("condition")


def _baselines() -> Mapping[str, Callable[[EncoderExtractor], Extractor]]:
    from probes.baselines import BASELINES

    return BASELINES

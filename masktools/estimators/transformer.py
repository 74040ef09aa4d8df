"""A scikit-learn transformer: recordings -> table of vectors, a row for each."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from masktools.core.errors import BundleError, ParameterError
from masktools.features import Encoder, Source
from masktools.io import Recording, open_recording

_AT_ONCE = 32  # recordings that are open at a time
_WAVES = (np.ndarray, Tensor, Recording, Source)


class EmbeddingTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Recordings -> vectors of a pretrained encoder. Nothing is learned: ``fit`` loads the model and its sizes.

    Recordings are a list (or a one-dimensional array or series) whose items are paths of audio files; waves, numpy
    (t,) or (t, channels), torch (t,) or (channels, t); or pairs of a wave and its rate in Hz. Or they are a table
    (n, t), a wave in each row, that has as many columns in ``transform`` as it had in ``fit``.

    Args:
        model: the name of a model at hand, the folder of a bundle, or ``owner/name`` on the Hugging Face hub.
        layer: as in ``Encoder.encode``; layers side by side are concatenated.
        pool: mean, rows, max, mean_std or rows_std.
        prefix: learned, condition or a vector.
        window: length of a pass: ``model``, or seconds.
        sample_rate: sampling rate in Hz of waves that are given without; the model's own if None.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto (fp32 on a CPU), fp32, bf16, fp16 or int8.
        threads: most CPU threads.
        batch_size: windows that a GPU computes at once.

    Attributes:
        identity_: hash of the model, ``Encoder.identity``. Pickles hold no weights: unpickling needs a
            model of this identity.
        n_features_in_: columns of the table in ``fit``, if it was one.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> classifier = make_pipeline(EmbeddingTransformer(pool="mean_std"), LogisticRegression())
    """

    def __init__(  # stores its arguments unchanged, as scikit-learn requires; fit checks them
        self,
        model: Any = "mini",
        *,
        layer: Any = "last",
        pool: Any = "mean",
        prefix: Any = "learned",
        window: Any = "model",
        sample_rate: Any = None,
        device: Any = "auto",
        precision: Any = "auto",
        threads: Any = None,
        batch_size: Any = None,
    ) -> None:
        self.model = model
        self.layer = layer
        self.pool = pool
        self.prefix = prefix
        self.window = window
        self.sample_rate = sample_rate
        self.device = device
        self.precision = precision
        self.threads = threads
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any = None) -> "EmbeddingTransformer":  # noqa: N803 - scikit-learn's names
        """Load the model and return self; only the number and kind of the recordings matter.

        Args:
            X: recordings.
            y: ignored.

        Raises:
            ParameterError: no recordings, an option that the model does not have, or the pool ``none``.
            BundleError: no such model.
        """
        self._recordings(X, reset=True)
        if self.pool == "none":
            raise ParameterError("one vector for a recording is needed, the pool none has none: choose another")
        self._encoder = self._load()
        self.identity_ = self._encoder.identity
        self._n_features_out = self._encoder.dim(self.pool, self.layer)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the vectors (n, d) of recordings, float32.

        Args:
            X: recordings.

        Raises:
            AudioError: a file that cannot be read, no samples, or some that are not finite.
            ParameterError: an item that is no recording.
            BundleError: the model is not the one that was fitted.
        """
        check_is_fitted(self, "identity_")
        recordings = self._recordings(X, reset=False)
        encoder = self._loaded()
        rows = np.empty((len(recordings), self._n_features_out), np.float32)
        for start in range(0, len(recordings), _AT_ONCE):
            some = recordings[start : start + _AT_ONCE]
            with ExitStack() as files:
                waves, rates = zip(*(self._opened(item, encoder, files) for item in some), strict=True)
                found = encoder.encode(
                    list(waves),
                    list(rates),
                    layer=self.layer,
                    pool=self.pool,
                    prefix=self.prefix,
                    window=self.window,
                    frames=False,
                )
            for row, one in zip(rows[start:], found, strict=False):
                row[:] = np.ravel(one.clip)
        return rows

    def _recordings(self, given: Any, reset: bool) -> Sequence[Any]:
        """Return the recordings as a sequence of items."""
        if hasattr(given, "to_list") and getattr(given, "ndim", 1) == 1:  # a series
            given = given.to_list()
        if isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind in "OU":
            given = given.tolist()
        if isinstance(given, list | tuple) and not _is_table(given):
            if not given:
                raise ParameterError("at least one recording must be given, got an empty list")
            return given
        check: Any = validate_data  # whose types are narrower than what it takes
        table = check(self, given, reset=reset, dtype=(np.float32, np.float64))
        return list(np.asarray(table))

    def _opened(self, item: Any, encoder: Encoder, files: ExitStack) -> tuple[Any, int | None]:
        """Return a recording in a form that the encoder takes, and its rate."""
        if isinstance(item, str | os.PathLike):
            return files.enter_context(open_recording(os.fspath(item))), None
        if isinstance(item, tuple):
            if len(item) != 2 or not isinstance(item[0], _WAVES):
                raise ParameterError(f"a tuple must be a wave and its rate in Hz, got {item!r:.80}")
            return item
        return item, self.sample_rate or encoder.sample_rate

    def _load(self) -> Encoder:
        return Encoder.from_pretrained(
            self.model, device=self.device, precision=self.precision, threads=self.threads, batch_size=self.batch_size
        )

    def _loaded(self) -> Encoder:
        """Return the fitted encoder; after unpickling it is loaded again."""
        encoder: Encoder | None = getattr(self, "_encoder", None)
        if encoder is None:
            encoder = self._load()
            if encoder.identity != self.identity_:
                raise BundleError(
                    f"{self.model} is not the model that this was fitted with: its identity is "
                    f"{encoder.identity[:12]}, that was {self.identity_[:12]}; fit again"
                )
            self._encoder = encoder
        return encoder

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_encoder"}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _is_table(given: Sequence[Any]) -> bool:
    """Whether a sequence is a table: rows of plain numbers."""
    return bool(given) and all(isinstance(row, list) for row in given)

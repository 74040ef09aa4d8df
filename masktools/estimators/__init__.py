"""The encoder as a scikit-learn transformer: ``make_pipeline(EmbeddingTransformer(), LogisticRegression())``.

scikit-learn is imported only with ``EmbeddingTransformer``.
"""

from typing import TYPE_CHECKING, Any

from masktools.core.errors import ParameterError

if TYPE_CHECKING:
    from masktools.estimators.transformer import EmbeddingTransformer

__all__ = ["EmbeddingTransformer"]


def __getattr__(name: str) -> Any:
    if name != "EmbeddingTransformer":
        raise AttributeError(f"module 'masktools.estimators' has no attribute {name!r}")
    try:
        import sklearn  # noqa: F401 - whether it is there
    except ImportError as error:
        raise ParameterError(
            'EmbeddingTransformer needs scikit-learn: pip install "masktools[probes]", or use masktools.Encoder itself'
        ) from error
    from masktools.estimators.transformer import EmbeddingTransformer

    return EmbeddingTransformer


def __dir__() -> list[str]:
    return sorted(__all__)

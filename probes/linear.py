"""The probe as a scikit-learn estimator: vectors in, labels out.

It stands in pipelines, is cloned, and tells its parameters as scikit-learn's own do. Beside ``fit(X, Y)`` it takes a
validation split, ``fit(X, Y, X_val, Y_val)``, which says when to stop and which training of a grid is the probe.
"""

from dataclasses import replace
from typing import Any, cast

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d, validate_data

from masktools.core.errors import ParameterError
from probes.presets import ProbeSettings, grid
from probes.scores import macro_roc_auc
from probes.training import Trained, train


class LinearProbe(ClassifierMixin, BaseEstimator):
    """The probe of a preset: the paper's is batch norm, dropout and one linear layer.

    Y of shape (n, labels) is learned with binary cross-entropy, one label for each vector with cross-entropy. X of
    shape (n, layers, d) is for presets that weigh layers; they read (n, d) as one layer.

    After ``fit``: ``classes_`` (the labels, or the places of the columns of Y), ``settings_`` (of the training that
    was best), ``valid_score_`` (macro ROC-AUC, None without a validation split), ``n_steps_``.

    Args:
        preset: paper, jukemir, marble or logistic.
        seed: of weights, batches and dropout; the same one gives the same bits on a CPU.
        n_trainings: how many of the preset's trainings are tried, chosen by the seed; all of them where it is None.
        max_epochs: an end to trainings, where the preset's own is not wanted.
        device: cpu, cuda or cuda:N.
    """

    def __init__(
        self,
        preset: str = "paper",
        seed: int = 0,
        n_trainings: int | None = None,
        max_epochs: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.preset = preset
        self.seed = seed
        self.n_trainings = n_trainings
        self.max_epochs = max_epochs
        self.device = device

    def __sklearn_tags__(self) -> Any:
        """Return what kinds of data this estimator takes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.non_deterministic = False
        return tags

    def fit(
        self,
        X: Any,  # noqa: N803
        Y: Any,  # noqa: N803
        X_val: Any = None,  # noqa: N803
        Y_val: Any = None,  # noqa: N803
        clip_of_val: Any = None,
    ) -> "LinearProbe":
        """Train on vectors and their labels; return the probe itself.

        Args:
            X: vectors (n, d), or (n, layers, d).
            Y: (n, labels) of zeros and ones, or one label for each vector, (n,).
            X_val: vectors of the validation split.
            Y_val: their labels; all that are in it must be in ``Y`` where a vector has one.
            clip_of_val: where several vectors belong to one clip, the row of ``Y_val`` for each row of ``X_val``;
                the clip's prediction is the mean of theirs.

        Raises:
            ParameterError: settings that do not exist, fewer than two vectors or classes, half a validation split.
        """
        vectors = self._vectors(X, reset=True)
        targets = self._targets(Y, len(vectors))
        if len(vectors) < 2:
            raise ParameterError(f"a probe must be trained on at least 2 vectors, got n_samples = {len(vectors)}")
        if (X_val is None) != (Y_val is None):
            raise ParameterError("the validation split must have vectors and labels, got one of the two")
        valid = None if X_val is None else self._vectors(X_val, reset=False)
        score = None if X_val is None else self._score_of(Y_val, clip_of_val)
        trained = [
            (settings, train(settings, vectors, targets, int(self.seed), score, valid, self.device))
            for settings in self._trainings(vectors.ndim == 3, valid is not None)
        ]
        best = max(trained, key=lambda one: -np.inf if one[1].score is None else one[1].score)
        self._keep(*best)
        return self

    def _keep(self, settings: ProbeSettings, trained: Trained) -> None:
        self.settings_, self.network_ = settings, trained.network
        self.valid_score_, self.n_steps_ = trained.score, trained.n_steps

    def _trainings(self, has_layers: bool, has_valid: bool) -> list[ProbeSettings]:
        """Return the trainings that are tried."""
        chosen = list(grid(self.preset))
        if has_layers and not chosen[0].weigh_layers:
            raise ParameterError(f"the preset {self.preset} reads one layer, (n, d), got vectors of several layers")
        if len(chosen) > 1 and not has_valid:
            raise ParameterError(f"the preset {self.preset} chooses between trainings: give X_val and Y_val to fit")
        if self.n_trainings is not None:
            if self.n_trainings < 1:
                raise ParameterError(f"n_trainings must be at least 1, got {self.n_trainings}")
            drawn = np.random.default_rng([int(self.seed), 2]).permutation(len(chosen))[: self.n_trainings]
            chosen = [chosen[place] for place in sorted(drawn)]
        if self.max_epochs is not None:
            chosen = [replace(one, max_epochs=self.max_epochs, least_steps=0) for one in chosen]
        return chosen

    def _vectors(self, X: Any, reset: bool) -> np.ndarray:  # noqa: N803
        """Return vectors as finite float32 in the shape they were given."""
        is_layered = isinstance(X, np.ndarray | list) and np.ndim(X) == 3
        if not is_layered:
            self.n_layers_in_ = 1 if reset else self.n_layers_in_
            return np.asarray(validate_data(self, cast(Any, X), reset=reset, dtype="float32"))
        vectors = check_array(X, dtype="float32", allow_nd=True)
        _, n_layers, width = vectors.shape
        if reset:
            self.n_layers_in_, self.n_features_in_ = n_layers, width
        elif (n_layers, width) != (self.n_layers_in_, self.n_features_in_):
            raise ParameterError(
                f"vectors must have {self.n_layers_in_} layers of {self.n_features_in_} as in training, "
                f"got {n_layers} of {width}"
            )
        return vectors

    def _targets(self, Y: Any, n_vectors: int) -> np.ndarray:  # noqa: N803
        """Return labels as bool (n, labels), or as places in ``classes_``, and remember what they are."""
        if Y is None:
            raise ParameterError("LinearProbe requires y to be passed, but the target y is None")
        labels = check_array(Y, dtype=None, ensure_2d=False, input_name="y")  # pyright: ignore[reportArgumentType]
        check_classification_targets(labels)
        if len(labels) != n_vectors:
            raise ParameterError(f"there must be labels for each of {n_vectors} vectors, got them for {len(labels)}")
        self.multilabel_ = labels.ndim == 2 and labels.shape[1] > 1
        if self.multilabel_:
            if not np.isin(labels, (0, 1)).all():
                raise ParameterError("labels of shape (n, labels) must be zeros and ones")
            self.classes_ = np.arange(labels.shape[1])
            return labels.astype(bool)
        self.classes_, places = np.unique(column_or_1d(labels, warn=True), return_inverse=True)
        if len(self.classes_) < 2:
            raise ParameterError(f"a probe needs at least 2 classes, got one class: {self.classes_[0]!r}")
        return places.astype(np.int64)

    def _score_of(self, Y_val: Any, clip_of_val: Any) -> Any:  # noqa: N803
        """Return the function that says what outputs for the validation split are worth: their macro ROC-AUC."""
        wanted = np.asarray(Y_val)
        if not self.multilabel_:
            wanted = wanted[:, None] == self.classes_

        def score(outputs: np.ndarray) -> float:
            predicted = self._probabilities(outputs) if clip_of_val is not None or not self.multilabel_ else outputs
            if clip_of_val is not None:
                predicted = mean_by_clip(predicted, np.asarray(clip_of_val), len(wanted))
            return macro_roc_auc(wanted, predicted)

        return score

    def _probabilities(self, outputs: np.ndarray) -> np.ndarray:
        exact = outputs.astype(np.float64)
        if self.multilabel_:
            return 1 / (1 + np.exp(-np.clip(exact, -500, 500)))
        powers = np.exp(exact - exact.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return what the probe computes before sigmoid or softmax: (n, labels), or (n,) for two classes."""
        check_is_fitted(self)
        outputs = self.network_.predict(self._vectors(X, reset=False)).astype(np.float64)
        is_binary = not self.multilabel_ and len(self.classes_) == 2
        return outputs[:, 1] - outputs[:, 0] if is_binary else outputs

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the probability of each label, (n, labels): by itself, or summing to 1 where there is one each."""
        check_is_fitted(self)
        return self._probabilities(self.network_.predict(self._vectors(X, reset=False)))

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the labels: zeros and ones (n, labels), or the likeliest class of each vector, (n,)."""
        probabilities = self.predict_proba(X)
        if self.multilabel_:
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]


def mean_by_clip(predicted: np.ndarray, clip_of: np.ndarray, n_clips: int) -> np.ndarray:
    """Return the mean prediction of the vectors of each clip, (n_clips, labels)."""
    sums = np.zeros((n_clips, predicted.shape[1]), np.float64)
    np.add.at(sums, clip_of, predicted)
    return sums / np.bincount(clip_of, minlength=n_clips)[:, None]

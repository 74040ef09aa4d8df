"""Measures of generated notes: how clearly and how variously they are named, and how near to real ones.

Each figure has beside it what real notes get in its place, against the same half of the reference: without that, none
of them says anything. They depend on the classifier, and figures of two classifiers must not be compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from masktools.errors import ParameterError
from masktools.metrics import inception_score, multiquadric_distance, ndb
from masktools.scales.classifier import NoteClassifier

_N_AXES = 32  # components of the spectrograms, in which bins are made


@dataclass(frozen=True)
class NoteScore:
    """A figure of generated notes, and what real ones get.

    Attributes:
        generated: Of the generated notes.
        real: Of the second half of the reference; NaN where it has none.
        better: ``higher`` or ``lower``.
    """

    generated: float
    real: float
    better: str


def note_scores(
    classifier: NoteClassifier,
    reference: Tensor,
    generated: Tensor,
    classes: tuple[Tensor, Tensor] | None = None,
    real_classes: tuple[Tensor, Tensor] | None = None,
    k: int = 20,
    seed: int = 0,
    biased: bool = False,
) -> Mapping[str, NoteScore]:
    """Return the measures of notes, by name.

    ``PIS`` and ``IIS`` are inception scores of pitch and of family, ``PKID`` and ``IKID`` multiquadric distances of
    their logits, ``NDB/k`` is the share of bins of the spectrograms that differ, and ``pitch`` and ``family`` are how
    often notes are named as they were asked for.

    Args:
        classifier: Names notes.
        reference: Spectrograms (n, f, m) of real notes that no model was trained on; halved by the seed.
        generated: Spectrograms (m, f, m) of generated ones.
        classes: Pitch (m,) as MIDI and family (m,) as its number, as they were asked for; None leaves both out.
        real_classes: Those of the reference.
        k: Bins.
        seed: Of the halves and the bins.
        biased: Whether PKID and IKID are those of published figures, see ``multiquadric_distance``.

    Raises:
        ParameterError: Fewer than 4 reference notes or 2 generated ones, or spectrograms of another size.

    Source: Nistal et al. (arXiv:2006.09266), section 4.3; Richardson and Weiss (arXiv:1805.12462) for NDB.
    """
    if len(reference) < 4 or len(generated) < 2 or reference.shape[1:] != generated.shape[1:]:
        raise ParameterError(
            "note scores need 4 reference spectrograms and 2 generated ones of one size, got "
            f"{tuple(reference.shape)} and {tuple(generated.shape)}"
        )
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(reference)))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    of_first, of_second = classifier.guess(reference[first]), classifier.guess(reference[second])
    found = classifier.guess(generated)
    scores: dict[str, NoteScore] = {}
    for name, own, real, base in (
        ("P", found.pitch, of_second.pitch, of_first.pitch),
        ("I", found.family, of_second.family, of_first.family),
    ):
        inception = [
            inception_score(x.double().softmax(1).numpy(), min(10, len(x) // 2), seed).mean for x in (own, real)
        ]
        distances = [multiquadric_distance(base.numpy(), x.numpy(), biased) for x in (own, real)]
        scores[f"{name}IS"] = NoteScore(inception[0], inception[1], "higher")
        scores[f"{name}KID"] = NoteScore(distances[0], distances[1], "lower")
    flat = [x.flatten(1).double().numpy() for x in (reference[first], generated, reference[second])]
    middle = flat[0].mean(axis=0)
    _, _, axes = np.linalg.svd(flat[0] - middle, full_matrices=False)
    base, *others = [(x - middle) @ axes[:_N_AXES].T for x in flat]
    n_bins = max(2, min(k, len(base) // 2))
    shares = [ndb(base, x, n_bins, seed, split=True).share for x in others]
    scores["NDB/k"] = NoteScore(shares[0], shares[1], "lower")
    for number, (name, own, real) in enumerate(
        (("pitch", found.pitch, of_second.pitch), ("family", found.family, of_second.family))
    ):
        if classes is None:
            continue
        offset = classifier.config.lowest if number == 0 else 0
        right = float((own.argmax(1) + offset == classes[number]).double().mean())
        real_right = float("nan")
        if real_classes is not None:
            real_right = float((real.argmax(1) + offset == real_classes[number][second]).double().mean())
        scores[name] = NoteScore(right, real_right, "higher")
    return scores


def spectrogram_errors(reference: Tensor, estimate: Tensor) -> Mapping[str, float]:
    """Return the mean squared and mean absolute error of spectrograms of one shape, in their unit, [-1, 1].

    Raises:
        ParameterError: Spectrograms of different shapes, or none.
    """
    if reference.shape != estimate.shape or not reference.numel():
        raise ParameterError(
            f"spectrograms must be of one shape, got {tuple(reference.shape)} and {tuple(estimate.shape)}"
        )
    difference = (reference - estimate).double()
    return {"MSE": float(difference.square().mean()), "MAE": float(difference.abs().mean())}

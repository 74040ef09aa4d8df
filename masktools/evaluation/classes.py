"""The class of a clip: one of its labels, the one that says most."""

from collections import Counter
from collections.abc import Mapping, Sequence

from masktools.evaluation.clips import Clip

__all__ = ["class_counts", "class_of", "common_classes"]


def class_counts(clips: Sequence[Clip]) -> Counter[str]:
    """Return how many clips have each label."""
    return Counter(label for clip in clips for label in dict.fromkeys(clip.labels))


def class_of(labels: Sequence[str], counts: Mapping[str, int]) -> str | None:
    """Return the rarest of the labels that have a count, the first one of equals; None if there is none.

    >>> class_of(("dog", "animal"), {"animal": 120, "dog": 26}), class_of(("cat",), {"dog": 26})
    ('dog', None)
    """
    known = [label for label in labels if counts.get(label)]
    return min(known, key=lambda label: counts[label]) if known else None


def common_classes(clips: Sequence[Clip], n_least: int) -> dict[str, int]:
    """Return the classes that clips fall into, with the number of clips; those of fewer than ``n_least`` are left out.

    A clip whose class is left out falls into the next rarest one.
    """
    counts: dict[str, int] = dict(class_counts(clips))
    while True:
        found = Counter(own for clip in clips if (own := class_of(clip.labels, counts)) is not None)
        rare = [label for label in counts if found[label] < n_least]
        if not rare:
            return {label: found[label] for label in counts}
        fewest = min(counts[label] for label in rare)  # the most special ones go first: their clips move up
        for label in rare:
            if counts[label] == fewest:
                del counts[label]

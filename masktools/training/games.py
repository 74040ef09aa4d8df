"""The rules by which a generator of waves and its judges play."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from masktools.training.discriminators import Verdict
from masktools.training.losses import (
    discriminator_hinge,
    discriminator_sliced,
    discriminator_squares,
    feature_distance,
    feature_matching,
    generator_hinge,
    generator_sliced,
    generator_squares,
)

__all__ = ["GAMES", "Game"]


@dataclass(frozen=True)
class Game:
    """What the judges lose, what the generator loses, and how far its waves are from real ones in their features.

    ``sliced`` rules need judges whose last layers are those of a slicing adversarial network.
    """

    judges: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]  # of the logits of real and generated waves
    generator: Callable[[Sequence[Tensor]], Tensor]  # of the logits of generated waves
    features: Callable[[Verdict, Verdict], Tensor]  # of real and generated waves
    sliced: bool = False


def _relative(real: Verdict, generated: Verdict) -> Tensor:
    return feature_matching(real.features, generated.features)


def _absolute(real: Verdict, generated: Verdict) -> Tensor:
    """Return the distance as published: summed, not averaged, and with the logits among the features."""
    return feature_distance([*real.features, *real.logits], [*generated.features, *generated.logits])


GAMES = {
    "hinge": Game(discriminator_hinge, generator_hinge, _relative),
    "least_squares": Game(discriminator_squares, generator_squares, _absolute),
    "san": Game(discriminator_sliced, generator_sliced, _absolute, sliced=True),
}

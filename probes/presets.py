"""The probes of the literature, each as the trainings it consists of.

A preset is a grid: the training that is best on the validation split is the probe. Where a source leaves a setting
open, the choice is ours, and said here.
"""

from dataclasses import dataclass, replace
from itertools import product

from masktools.core.errors import ParameterError, unknown_name


@dataclass(frozen=True)
class ProbeSettings:
    """One training of a probe. The defaults are the preset ``paper``.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.4, for batch norm, dropout of 0.1 and one linear layer. Its
    optimiser, its batches and its stopping are not told; those here are ours.
    """

    standardise: bool = False  # by mean and standard deviation of the training split
    batch_norm: bool = True
    n_hidden: int = 0  # units of a hidden layer with ReLU; 0 for a linear probe
    input_dropout: float = 0.1
    hidden_dropout: float = 0.0
    weigh_layers: bool = False  # learn a weight for each layer of the encoder (softmax) and read their sum
    learning_rate: float = 1e-3
    weight_decay: float = 0.0  # L2, inside Adam's gradient
    batch_size: int = 64
    check_steps: int = 0  # steps between two looks at the validation split; 0 for one after each epoch
    least_check_steps: int = 25  # between two looks after epochs, where those are short
    patience: int = 20  # looks without a better score after which a training ends
    plateau: int = 0  # looks without a better score after which the learning rate falls; 0: it stays
    plateau_factor: float = 0.1
    max_epochs: int = 200
    least_steps: int = 4000  # before the last epoch ends a training, where epochs are short
    exact: bool = False  # solve for the one minimum of a linear probe with L2; nothing is random, nothing stops early

    def __post_init__(self) -> None:
        for name in ("input_dropout", "hidden_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ParameterError(f"{name} must lie in [0, 1), got {getattr(self, name):g}")
        for name in ("learning_rate", "plateau_factor"):
            if not 0 < getattr(self, name) <= 1:
                raise ParameterError(f"{name} must lie in (0, 1], got {getattr(self, name):g}")
        if self.weight_decay < 0:
            raise ParameterError(f"weight_decay must be at least 0, got {self.weight_decay:g}")
        if self.exact and (self.n_hidden or self.weigh_layers or not self.weight_decay):
            raise ParameterError("an exact probe must be linear, of one layer, with a weight_decay above 0")
        for name in ("n_hidden", "check_steps", "plateau", "least_steps"):
            if getattr(self, name) < 0:
                raise ParameterError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.batch_size < 2:
            raise ParameterError(f"batch_size must be at least 2, got {self.batch_size}")
        for name in ("patience", "max_epochs", "least_check_steps"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Preset:
    """The probe of one source: what it consists of, and what is ours in it."""

    grid: tuple[ProbeSettings, ...]
    about: str


def _jukemir() -> tuple[ProbeSettings, ...]:
    """Return the 216 trainings: with and without standardising, linear and of 512 units, ..."""
    every = product((False, True), (0, 512), (64, 256), (1e-5, 1e-4, 1e-3), (0.25, 0.5, 0.75), (0.0, 1e-4, 1e-3))
    return tuple(
        ProbeSettings(
            standardise=standardise,
            batch_norm=False,
            n_hidden=n_hidden,
            input_dropout=dropout,
            hidden_dropout=dropout if n_hidden else 0.0,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            check_steps=8,
            patience=256,
            max_epochs=10_000,  # the source has no end but the patience
            least_steps=0,
        )
        for standardise, n_hidden, batch_size, learning_rate, dropout, weight_decay in every
    )


def _marble() -> tuple[ProbeSettings, ...]:
    """Return one training for each learning rate."""
    one = ProbeSettings(
        batch_norm=False, n_hidden=512, input_dropout=0.0, hidden_dropout=0.2, weigh_layers=True, batch_size=64
    )
    fixed = replace(one, patience=10, plateau=3, max_epochs=100, least_check_steps=1, least_steps=0)
    return tuple(replace(fixed, learning_rate=rate) for rate in (1e-2, 5e-3, 1e-3, 5e-4, 1e-4))


def _logistic() -> tuple[ProbeSettings, ...]:
    """Return one solution for each strength of the penalty."""
    one = ProbeSettings(standardise=True, batch_norm=False, input_dropout=0.0, weight_decay=1.0, exact=True)
    return tuple(replace(one, weight_decay=decay) for decay in (1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0))


PRESETS = {
    "paper": Preset(
        (ProbeSettings(),),
        "batch norm, dropout 0.1, one linear layer (Adam 1e-3, batches of 64, an end after 20 epochs without a "
        "better validation score: ours, the paper names none)",
    ),
    "jukemir": Preset(
        _jukemir(),
        "the best of 216 trainings on the validation split: standardised or not, linear or 512 ReLU units, batches of "
        "64 or 256, Adam 1e-5 to 1e-3, dropout 0.25 to 0.75 on the input too, L2 0 to 1e-3",
    ),
    "marble": Preset(
        _marble(),
        "learned sum of all layers, 512 ReLU units, dropout 0.2, the best of 5 learning rates on the validation split "
        "(fp32; the source trains in fp16)",
    ),
    "logistic": Preset(
        _logistic(),
        "logistic regression on standardised vectors, the best of 8 L2 penalties (1e-4 to 3) on the validation split; "
        "solved exactly, so that seeds change nothing: for small sets",
    ),
}


def grid(preset: str) -> tuple[ProbeSettings, ...]:
    """Return the trainings of a preset.

    Raises:
        ParameterError: an unknown name.
    """
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    return PRESETS[preset].grid

"""The training of one probe: a small network on vectors, stopped by the validation split.

Everything random comes from one seed, and torch's own random state is left as it was. On a CPU one thread computes:
the matrices are small, and the same seed gives the same bits whatever the number of cores.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import ceil
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.runtime import threads
from probes.exact import solve
from probes.presets import ProbeSettings

_BLOCK = 4096  # vectors that are read at once where nothing is learned


class ProbeNetwork(nn.Module):
    """A scaler, perhaps a sum of layers, and the probe. ``forward``: (n, d) or (n, layers, d) -> (n, outputs)."""

    mean: Tensor
    scale: Tensor

    def __init__(self, settings: ProbeSettings, width: int, n_layers: int, n_outputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.layer_weights = nn.Parameter(torch.zeros(n_layers)) if n_layers > 1 else None
        parts: list[nn.Module] = [nn.BatchNorm1d(width)] if settings.batch_norm else []
        parts.append(nn.Dropout(settings.input_dropout))
        if settings.n_hidden:
            parts += [nn.Linear(width, settings.n_hidden), nn.ReLU(), nn.Dropout(settings.hidden_dropout)]
        self.probe = nn.Sequential(*parts, nn.Linear(settings.n_hidden or width, n_outputs))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return one number for each output, before sigmoid or softmax."""
        if self.layer_weights is not None:
            vectors = (vectors * self.layer_weights.softmax(0)[:, None]).sum(dim=1)
        return self.probe((vectors - self.mean) / self.scale)

    @torch.no_grad()
    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return the outputs for all vectors, float32, with nothing dropped."""
        self.eval()
        device = self.mean.device
        with threads(1):
            blocks = [
                self(torch.as_tensor(vectors[start : start + _BLOCK], dtype=torch.float32, device=device))
                for start in range(0, len(vectors), _BLOCK)
            ]
        return torch.cat(blocks).cpu().numpy()


@dataclass(frozen=True)
class Trained:
    """A trained network and how it came about."""

    network: ProbeNetwork
    score: float | None  # the best on the validation split; None if there was none to look at
    n_steps: int  # after which that was reached


def train(
    settings: ProbeSettings,
    vectors: np.ndarray,
    targets: np.ndarray,
    seed: int,
    score: Callable[[np.ndarray], float] | None = None,
    valid: np.ndarray | None = None,
    device: torch.device | str = "cpu",
) -> Trained:
    """Return a trained probe, as it was when it did best on the validation split.

    Without a validation split it is trained for all its epochs.

    Args:
        settings: of the training.
        vectors: (n, d), or (n, layers, d); the scaler is made from these alone.
        targets: bool (n, labels) where a clip may have several, int64 (n,) where it has one.
        seed: of weights, batches and dropout.
        score: what outputs for ``valid`` are worth; higher is better.
        valid: vectors of the validation split.
        device: where to compute.
    """
    n_outputs = targets.shape[1] if targets.ndim == 2 else int(targets.max()) + 1
    device = torch.device(device)
    with threads(1), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        n_layers = vectors.shape[1] if vectors.ndim == 3 else 1
        network = ProbeNetwork(settings, vectors.shape[-1], n_layers, n_outputs)
        if settings.standardise:
            _fit_scaler(network, vectors)
        if settings.exact:
            return _solve(network, settings, vectors, targets, score, valid)
        return _train(network.to(device), settings, vectors, targets, score, valid, seed)


def _fit_scaler(network: ProbeNetwork, vectors: np.ndarray) -> None:
    rows = vectors if vectors.ndim == 2 else vectors.mean(axis=1)
    scale = rows.std(axis=0, dtype=np.float64)
    network.get_buffer("mean").copy_(torch.from_numpy(rows.mean(axis=0, dtype=np.float64)))
    network.get_buffer("scale").copy_(torch.from_numpy(np.where(scale > 0, scale, 1.0)))


def _solve(
    network: ProbeNetwork,
    settings: ProbeSettings,
    vectors: np.ndarray,
    targets: np.ndarray,
    score: Callable[[np.ndarray], float] | None,
    valid: np.ndarray | None,
) -> Trained:
    mean, scale = (network.get_buffer(name).numpy() for name in ("mean", "scale"))
    weights, biases, n_steps = solve((vectors - mean) / scale, targets, settings.weight_decay)
    last = cast(nn.Linear, network.probe[-1])
    with torch.no_grad():
        for parameter, values in ((last.weight, weights), (last.bias, biases)):
            parameter.copy_(torch.from_numpy(values))
    network.eval().requires_grad_(False)
    worth = None if score is None or valid is None else float(score(network.predict(valid)))
    return Trained(network, worth, n_steps)


def _train(
    network: ProbeNetwork,
    settings: ProbeSettings,
    vectors: np.ndarray,
    targets: np.ndarray,
    score: Callable[[np.ndarray], float] | None,
    valid: np.ndarray | None,
    seed: int,
) -> Trained:
    device = network.mean.device
    inputs = torch.as_tensor(np.ascontiguousarray(vectors), dtype=torch.float32, device=device)
    wanted = torch.as_tensor(targets, dtype=torch.float32 if targets.ndim == 2 else torch.int64, device=device)
    loss_of = F.binary_cross_entropy_with_logits if targets.ndim == 2 else F.cross_entropy
    optimiser = torch.optim.Adam(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    best, best_score, best_step, waited, waited_for_rate = None, -np.inf, 0, 0, 0
    step = looked_at = 0
    for step, (batch, epoch_ends) in enumerate(_batches(len(inputs), settings, seed), start=1):
        network.train()
        optimiser.zero_grad(set_to_none=True)
        loss_of(network(inputs[batch]), wanted[batch]).backward()
        optimiser.step()
        due = settings.check_steps or settings.least_check_steps
        if score is None or valid is None or step - looked_at < due or not (epoch_ends or settings.check_steps):
            continue
        looked_at = step
        reached = score(network.predict(valid))
        if reached > best_score:
            best, best_score, best_step = deepcopy(network.state_dict()), reached, step
            waited = waited_for_rate = 0
            if reached >= 1:  # nothing is better
                break
            continue
        waited, waited_for_rate = waited + 1, waited_for_rate + 1
        if waited >= settings.patience:
            break
        if settings.plateau and waited_for_rate > settings.plateau:
            waited_for_rate = 0
            for group in optimiser.param_groups:
                group["lr"] *= settings.plateau_factor
    if best is not None:
        network.load_state_dict(best)
    network.eval().requires_grad_(False)
    return Trained(network.cpu(), None if best is None else float(best_score), best_step if best is not None else step)


def _batches(n_clips: int, settings: ProbeSettings, seed: int) -> Iterator[tuple[Tensor, bool]]:
    """Yield batches of every epoch, each in an order of its own, and whether each is the epoch's last.

    What is left over of an epoch is a smaller batch; a single clip, which batch norm cannot read, is left out.
    """
    rng = np.random.default_rng([seed, 1])
    starts = [start for start in range(0, n_clips, settings.batch_size) if n_clips - start > 1 or n_clips == 1]
    n_epochs = max(settings.max_epochs, ceil(settings.least_steps / max(1, len(starts))))
    for _ in range(n_epochs):
        order = torch.from_numpy(rng.permutation(n_clips))
        for start in starts:
            yield order[start : start + settings.batch_size], start == starts[-1]

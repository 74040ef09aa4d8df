"""Codebooks in training: initialised by k-means, and kept alive."""

import lightning.pytorch as pl
import torch
from torch import Tensor

from masktools.arguments import check_least
from masktools.errors import ParameterError
from masktools.tokenizer.codebook import Codebook, Quantised, codebook_usage
from masktools.training.losses import codebook_loss

_EVERY = 50  # steps between two looks at the codebook
_N_REMEMBERED = 16  # batches whose tokens tell how much of it is in use


class CodebookCare:
    """Quantises in training, and keeps the codebook alive.

    For ``n_unquantised`` steps there is no quantiser; the latents of the last of them place the codebook. An ``ema``
    codebook restarts its dead entries until ``n_restarting`` steps, and is the same in all processes of a run.

    Args:
        codebook: what is cared for.
        n_unquantised: steps; 0 leaves the codebook where it is drawn.
        n_placing_vectors: latents that it is placed on, 10 or more for each entry.
        n_restarting: steps.
        legacy: whether a ``gradient`` codebook has its weight of commitment where SpecVQGAN's code had it.
    """

    def __init__(
        self, codebook: Codebook, n_unquantised: int, n_placing_vectors: int, n_restarting: int, legacy: bool = False
    ) -> None:
        check_least(0, n_unquantised=n_unquantised, n_restarting=n_restarting)
        if n_unquantised and n_placing_vectors < codebook.n_codes:
            raise ParameterError(
                f"n_placing_vectors must be at least the {codebook.n_codes} codes, got {n_placing_vectors}"
            )
        self.codebook, self.legacy = codebook, legacy
        self.n_unquantised, self.n_placing_vectors = n_unquantised, n_placing_vectors
        self.n_restarting = n_restarting
        self.n_restarted = 0  # at the last look
        self._waiting: list[Tensor] = []
        self._seen: list[Tensor] = []

    def quantise(self, latents: Tensor, step: int, trainer: pl.Trainer) -> Quantised | None:
        """Return what quantising latents (b, d, r, w) gives, None as long as there is no quantiser."""
        if step < self.n_unquantised:
            self._gather(latents, step, trainer)
            return None
        shared = trainer.world_size > 1 and self.codebook.kind == "ema"
        before = self._moving_averages() if shared else None
        quantised = self.codebook(latents)
        if self.codebook.kind == "gradient":
            entries = self.codebook.lookup(quantised.tokens)
            loss = codebook_loss(latents, entries, self.codebook.commitment, self.legacy)
            quantised = quantised._replace(loss=loss)
        else:
            if before is not None:
                self._follow_all(before, trainer)
            if step % _EVERY == 0 and step < self.n_restarting:
                self.n_restarted = self.codebook.restart(_of_all(latents, trainer))
                self._follow_first(trainer)
        self._seen = [*self._seen[1 - _N_REMEMBERED :], quantised.tokens.flatten()]
        return quantised

    def figures(self, step: int) -> dict[str, float]:
        """Return how much of the codebook the last batches used, at every look; nothing in between."""
        if step % _EVERY or not self._seen:
            return {}
        usage = codebook_usage(torch.cat(self._seen), self.codebook.n_codes)
        found = {"used": float(usage.n_used), "perplexity": usage.perplexity}
        return found | ({"restarted": float(self.n_restarted)} if self.codebook.kind == "ema" else {})

    def state(self) -> Tensor | None:
        """Return the latents that wait for the placing, (n, d), if there are any."""
        return torch.cat(self._waiting) if self._waiting else None

    def resume(self, waiting: Tensor | None) -> None:
        """Go on with the latents of ``state``."""
        self._waiting = [] if waiting is None else [waiting]

    def _gather(self, latents: Tensor, step: int, trainer: pl.Trainer) -> None:
        """Keep the latents of the last un-quantised steps, and place the codebook on them at the last."""
        device = latents.device
        self._waiting = [*(part.to(device) for part in self._waiting), latents.detach().movedim(1, -1).flatten(0, -2)]
        while sum(map(len, self._waiting[1:])) >= self.n_placing_vectors:
            self._waiting.pop(0)
        if step == self.n_unquantised - 1:
            gathered = _of_all(torch.cat(self._waiting), trainer)
            if len(gathered) < self.codebook.n_codes:
                raise ParameterError(
                    f"the codebook needs {self.codebook.n_codes} latents to be placed, got {len(gathered)}: "
                    "take larger batches, or more steps without quantiser (n_unquantised)"
                )
            self.codebook.place(gathered)
            self._follow_first(trainer)
            self._waiting.clear()

    def _moving_averages(self) -> tuple[Tensor, Tensor]:
        """Return the sums of vectors and the hits that an ``ema`` codebook is the quotient of."""
        book = self.codebook
        return book.weight.detach() * book.hits[:, None], book.hits.clone()

    @torch.no_grad()
    def _follow_all(self, before: tuple[Tensor, Tensor], trainer: pl.Trainer) -> None:
        """Follow the vectors of all processes as one would follow them together: averages are linear in the vectors."""
        book, counted_twice = self.codebook, (trainer.world_size - 1) * self.codebook.decay
        sums, hits = (
            trainer.strategy.reduce(now, reduce_op="sum") - counted_twice * then
            for now, then in zip(self._moving_averages(), before, strict=True)
        )
        book.weight.copy_(sums / hits.clamp_min(1e-5)[:, None])
        book.hits.copy_(hits)

    @torch.no_grad()
    def _follow_first(self, trainer: pl.Trainer) -> None:
        """Take the entries of the first process, where each one drew its own."""
        if trainer.world_size == 1:
            return
        own = (self.codebook.weight, *self.codebook.buffers())
        for tensor in own:
            first = tensor.clone() if trainer.is_global_zero else torch.zeros_like(tensor)
            tensor.copy_(trainer.strategy.reduce(first, reduce_op="sum"))


def _of_all(tensor: Tensor, trainer: pl.Trainer) -> Tensor:
    """Return what all processes hold of a tensor, one after the other along its first axis."""
    return tensor if trainer.world_size == 1 else trainer.strategy.all_gather(tensor.detach()).flatten(0, 1)

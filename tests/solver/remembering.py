"""Predictors that remember: a toy that counts what it computes, and one that tells a wrong recall by its answers."""

from dataclasses import dataclass, field

import torch

from tests.solver.toys import Toy


@dataclass
class RememberingToy(Toy):
    """The exact toy with a recall that is exact too; it notes which slots it was asked to compute."""

    recalled: list = field(default_factory=list)  # (items, conditional, tokens, mask, slots)

    def recall(self, tokens, mask, items, conditional, slots):
        self.recalled.append((items.tolist(), conditional, tokens.clone(), mask.clone(), slots.clone()))
        logits = self(tokens, mask, items, conditional)
        self.calls.pop()
        return logits.masked_fill(~slots[:, :, None], torch.nan)  # what was not asked for must not be read


class Ledger:
    """A predictor whose memory is the slots themselves: it refuses to recall a slot that has changed since."""

    def __init__(self, n_codes):
        self.n_codes, self.seen = n_codes, {}

    def _logits(self, tokens):
        return torch.zeros(*tokens.shape, self.n_codes)

    def __call__(self, tokens, mask, items, conditional):
        for row, item in enumerate(items.tolist()):
            self.seen[item, conditional] = (tokens[row].clone(), mask[row].clone())
        return self._logits(tokens)

    def recall(self, tokens, mask, items, conditional, slots):
        for row, item in enumerate(items.tolist()):
            before_tokens, before_mask = self.seen[item, conditional]
            kept = ~slots[row]
            if not torch.equal(tokens[row][kept], before_tokens[kept]):
                raise AssertionError("a token that has changed was recalled")
            if not torch.equal(mask[row][kept], before_mask[kept]):
                raise AssertionError("a slot that was filled or taken back was recalled")
            self.seen[item, conditional] = (tokens[row].clone(), mask[row].clone())
        return self._logits(tokens)

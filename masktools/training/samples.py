"""What a part in training makes of validation clips: reconstructions, generated clips, filled gaps."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from masktools.mel import MelConfig
from masktools.solver import SolverConfig, item_seeds, solve
from masktools.tokenizer.codebook import codebook_usage

__all__ = ["Sample", "Tools", "samples_of"]


@dataclass(frozen=True)
class Sample:
    """One clip to look at and to listen to, or a figure about some."""

    name: str  # "reconstruction/0"
    mels: tuple[Tensor, ...] = ()  # (f, m) each, to be shown one above the other, the original first
    wave: Tensor | None = None  # (t,)
    figure: float | None = None


@dataclass(frozen=True)
class Tools:
    """What samples are made with, beside the part itself."""

    mel: MelConfig
    render: Callable[[Tensor], Tensor]  # mel (b, f, m) -> wave (b, t)
    tokenizer: Any = None
    n_clips: int = 2
    solver: SolverConfig = SolverConfig()
    seed: int = 0


@torch.no_grad()
def samples_of(module: Any, batch: Mapping[str, Any], tools: Tools) -> list[Sample]:
    """Return samples of a part in training from a batch of validation, none for parts without sound."""
    makers = {"tokenizer": _reconstructions, "vocoder": _renderings, "transformer": _generations}
    maker = makers.get(getattr(module, "part", ""))
    return [] if maker is None else list(maker(module, batch, tools))


def _mel_of(module: Any, batch: Mapping[str, Any], n_clips: int, patch: int = 1) -> Tensor:
    """Return mel spectrograms of a batch of either kind, in whole patches."""
    mel = batch["mel"][:n_clips] if "mel" in batch else module.front_end(batch["wave"][:n_clips].float())
    return mel[..., : mel.shape[-1] // patch * patch].float()


def _shown(name: str, originals: Tensor, estimates: Tensor, waves: Tensor) -> Iterator[Sample]:
    for index, (original, estimate, wave) in enumerate(zip(originals, estimates, waves, strict=True)):
        yield Sample(f"{name}/{index}", (original, estimate), wave)


def _originals(batch: Mapping[str, Any], mel: Tensor, tools: Tools) -> Iterator[Sample]:
    waves = batch["wave"][: len(mel)] if "wave" in batch else tools.render(mel)
    for index, wave in enumerate(waves):
        yield Sample(f"original/{index}", (), wave)


def _reconstructions(module: Any, batch: Mapping[str, Any], tools: Tools) -> Iterator[Sample]:
    mel = _mel_of(module, batch, tools.n_clips, module.net.patch)
    estimate = module.net.decode(module.net.encode(mel)).float().clamp(-1, 1)
    yield from _originals(batch, mel, tools)
    yield from _shown("reconstruction", mel, estimate, tools.render(estimate))


def _renderings(module: Any, batch: Mapping[str, Any], tools: Tools) -> Iterator[Sample]:
    mel = _mel_of(module, batch, tools.n_clips)
    waves = module.net(mel).float().clamp(-1, 1)
    heard = module.front_end(waves)[..., : mel.shape[-1]]
    yield from _originals(batch, mel, tools)
    yield from _shown("rendered", mel, heard, waves)


def _generations(module: Any, batch: Mapping[str, Any], tools: Tools) -> Iterator[Sample]:
    """Yield clips generated with and without the condition of others, and clips with a gap filled."""
    tokens = module.clip_tokens(batch)[: tools.n_clips]
    conditions = batch.get("condition")
    everything = torch.ones_like(tokens, dtype=torch.bool)
    generated = {"unconditional": _filled(module, tokens, everything, None, tools)}
    if conditions is not None:
        chosen = conditions[: len(tokens)].float()
        generated["conditioned"] = _filled(module, tokens, everything, chosen, tools)
    n_cols = tokens.shape[-1]
    gap = torch.zeros_like(everything)
    width = max(1, n_cols // 5)
    gap[..., (n_cols - width) // 2 : (n_cols + width) // 2] = True
    generated["filled"] = _filled(module, tokens, gap, None, tools)
    for name, made in generated.items():
        usage = codebook_usage(made, module.net.config.n_codes)
        yield Sample(f"{name}_codes_used", figure=float(usage.n_used))
        yield Sample(f"{name}_codes_perplexity", figure=float(usage.perplexity))
    yield Sample("filled_accuracy", figure=float((generated["filled"] == tokens)[gap].float().mean()))
    if tools.tokenizer is not None:
        originals = tools.tokenizer.decode(tokens).float()
        yield from _originals({}, originals, tools)
        for name, made in generated.items():
            mel = tools.tokenizer.decode(made).float()
            yield from _shown(name, originals, mel, tools.render(mel))


def _filled(module: Any, tokens: Tensor, mask: Tensor, conditions: Tensor | None, tools: Tools) -> Tensor:
    """Return tokens (b, r, w) with those under the mask predicted."""

    def predict(given: Tensor, masked: Tensor, items: Tensor, conditional: bool) -> Tensor:
        own = conditions[items] if conditional and conditions is not None else None
        return module.net.logits(given, masked, own).float()

    use = [conditions is not None] * len(tokens)
    result = solve(predict, tokens, mask, item_seeds(tools.seed, len(tokens)), tools.solver, use)
    return result.tokens

"""Recordings for a list of prompts, one after the other: made in batches, and written while the next are made."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from masktools.generation.prompt_files import Prompt, file_names
from masktools.generation.recordings import checked_samples, conditions_of, decoded, within_full_scale
from masktools.pipeline import Progress, Walk, share_of
from masktools.solver import Plan, SolverConfig, item_seeds

__all__ = ["GeneratedItem", "Item", "generate_items", "plan_items", "write_behind"]

Made = TypeVar("Made")
Written = TypeVar("Written")


@dataclass(frozen=True)
class Item:
    """A recording to be made."""

    name: str  # of its file, without an ending
    prompt: str
    seed: int


@dataclass(frozen=True, eq=False)
class GeneratedItem:
    """A recording that was made."""

    item: Item
    samples: np.ndarray  # (t,) float32
    sample_rate: int  # Hz
    gain_db: float  # that kept it within full scale


def plan_items(prompts: Sequence[Prompt], n: int = 1, seed: int = 0) -> list[Item]:
    """Return n recordings to be made of each prompt, with names and seeds that more prompts behind them do not change.

    Seeds are those of ``generate`` for the same prompts, but where a prompt has its own, from which those of its n
    recordings then come.

    Raises:
        ParameterError: two prompts that were given one name.
    """
    names = file_names(list(prompts), n)
    seeds = item_seeds(seed, len(prompts) * n)
    items = []
    for number, prompt in enumerate(prompts):
        own = seeds[number * n : number * n + n] if prompt.seed is None else item_seeds(prompt.seed, n)
        items += [Item(name, prompt.text, one) for name, one in zip(names[number], own, strict=True)]
    return items


def generate_items(
    pipeline: Walk,
    items: Sequence[Item],
    seconds: float | None = None,
    solver: Plan = SolverConfig(),
    progress: Progress | None = None,
) -> Iterator[GeneratedItem]:
    """Yield the recordings in the order of the items, a batch of the pipeline's size at once.

    Each depends on its prompt and its seed, not on the batch it is made in.

    Args:
        pipeline: the model.
        items: what to make.
        seconds: length of each, in (0, 600]; a full window where it is not given.
        solver: settings of the decoding.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: a length out of its range, or a prompt that the model cannot read.
    """
    n_samples, size = checked_samples(pipeline, seconds), pipeline.batch_size
    starts = range(0, len(items), size)
    if not starts:
        return
    # All texts are read before anything costly starts: one that cannot be is then no surprise at night.
    conditions = conditions_of(pipeline, [item.prompt for item in items])
    for number, start in enumerate(starts):
        batch, condition = items[start : start + size], conditions[start : start + size]
        seeds = [item.seed for item in batch]
        waves, _ = decoded(pipeline, condition, seeds, n_samples, solver, share_of(progress, number, len(starts)))
        for item, samples, gain_db in zip(batch, *within_full_scale(waves), strict=True):
            yield GeneratedItem(item, samples, pipeline.sample_rate, gain_db)


def write_behind(
    made: Iterable[Made], write: Callable[[Made], Written], n_waiting: int
) -> Generator[Written, None, None]:
    """Yield what ``write`` returns for each, in order, while another thread than the one that makes them writes.

    Args:
        made: makes them.
        write: called with one after the other, in a thread of its own; what it raises is raised here.
        n_waiting: made and not yet written, at most; then the making waits.
    """
    waiting: deque[Future[Written]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer") as writer:
        try:
            for one in made:
                waiting.append(writer.submit(write, one))
                while waiting and (len(waiting) > n_waiting or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

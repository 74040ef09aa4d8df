"""Audio from descriptions: a few recordings at once, or one after the other for a list of prompts; and other detail."""

from masktools.restoration.generation.collection import (
    FINISHED,
    Finished,
    GeneratedItem,
    Item,
    Prompt,
    generate_items,
    plan_items,
    read_prompts,
    write_behind,
)
from masktools.restoration.generation.recordings import Generated, Variations, coarsen, generate, refinements, vary

__all__ = [
    "FINISHED", "Finished", "Generated", "GeneratedItem", "Item", "Prompt", "Variations", "coarsen", "generate",
    "generate_items", "plan_items", "read_prompts", "refinements", "vary", "write_behind",
]  # fmt: skip

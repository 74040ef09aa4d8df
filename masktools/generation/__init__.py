"""Audio from descriptions: a few recordings at once, or one file after the other for a list of prompts."""

from masktools.generation.collection import (
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
from masktools.generation.recordings import Generated, generate

__all__ = [
    "FINISHED",
    "Finished",
    "Generated",
    "GeneratedItem",
    "Item",
    "Prompt",
    "generate",
    "generate_items",
    "plan_items",
    "read_prompts",
    "write_behind",
]

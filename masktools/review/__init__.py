"""Comparison of versions of a recording: figures, an HTML page with players, and a plot."""

from masktools.review.comparison import Comparison, Repair, Version, Work, compare, read_work, repairs_of
from masktools.review.page import write_page
from masktools.review.picture import write_picture
from masktools.review.tables import as_text

__all__ = [
    "Comparison", "Repair", "Version", "Work", "as_text", "compare", "read_work", "repairs_of", "write_page",
    "write_picture",
]  # fmt: skip

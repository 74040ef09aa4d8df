"""Stores of vectors: .npz, .npy, .parquet, .h5 or a folder, written as they come and complete or not there at all."""

from masktools.extraction.stores.formats import FORMATS, errors_of, files_of, format_of, parts_of
from masktools.extraction.stores.merging import merge
from masktools.extraction.stores.meta import Meta
from masktools.extraction.stores.store import Store, check_output, finished_before, open_store, read_failures
from masktools.extraction.stores.table import Failure, Layout, Table

__all__ = [
    "FORMATS",
    "Failure",
    "Layout",
    "Meta",
    "Store",
    "Table",
    "check_output",
    "errors_of",
    "files_of",
    "finished_before",
    "format_of",
    "merge",
    "open_store",
    "parts_of",
    "read_failures",
]

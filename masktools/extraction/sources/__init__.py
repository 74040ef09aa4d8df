"""What is to be embedded: folders, manifests, shards and URLs -> items, and items -> waves."""

from masktools.extraction.sources.finding import find_items
from masktools.extraction.sources.items import Item, items_hash, take_shard
from masktools.extraction.sources.manifests import Columns
from masktools.extraction.sources.reading import read_item
from masktools.extraction.sources.writing import write_manifest

__all__ = ["Columns", "Item", "find_items", "items_hash", "read_item", "take_shard", "write_manifest"]

"""Embeddings of whole collections: what is read, who works on it, where the vectors go.

```python
items = find_items(["recordings/"])
worker = Worker("mini", ExtractionSettings(layer="mean"))
fingerprint = worker.settings.fingerprint(worker.identity)
with open_store("vectors.parquet", [item.key for item in items], worker.settings, fingerprint) as store:
    run_local(items, worker, store)
    summary = store.close()
```
"""

from masktools.extraction.local import run_local
from masktools.extraction.rows import Row
from masktools.extraction.settings import ExtractionSettings
from masktools.extraction.sources import Item, find_items, items_hash, read_item, take_shard
from masktools.extraction.stores import Store, merge, open_store
from masktools.extraction.summary import Summary
from masktools.extraction.worker import Worker

__all__ = [
    "ExtractionSettings",
    "Item",
    "Row",
    "Store",
    "Summary",
    "Worker",
    "find_items",
    "items_hash",
    "merge",
    "open_store",
    "read_item",
    "run_local",
    "take_shard",
]

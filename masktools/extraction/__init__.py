"""Embeddings of whole collections: recordings found, embedded by workers, and stored.

```python
items = find_items(["recordings/"])
worker = Worker("mini", ExtractionSettings(layer="mean"))
fingerprint = worker.settings.fingerprint(worker.identity)
with open_store("vectors.parquet", [item.key for item in items], worker.settings, fingerprint) as store:
    run_local(items, worker, store)
    summary = store.close()
```
"""

from masktools.extraction.finding import Columns, find_items, write_manifest
from masktools.extraction.formats import files_of
from masktools.extraction.items import ExtractionSettings, Item, Row, Summary, items_hash, take_shard
from masktools.extraction.reading import read_item
from masktools.extraction.store import Store, check_output, finished_before, merge, open_store
from masktools.extraction.worker import Worker, run_local

__all__ = [
    "Columns", "ExtractionSettings", "Item", "Row", "Store", "Summary", "Worker", "check_output", "files_of",
    "find_items", "finished_before", "items_hash", "merge", "open_store", "read_item", "run_local", "take_shard",
    "write_manifest",
]  # fmt: skip

"""The data sets that can be probed, one file each; a new one is a new file here.

Such a file has
- ``HELP``: one line for the table of data sets
- ``add_arguments(parser)``: what tells where it is and which of its variants is meant
- ``read(args) -> TaggedData``
- and perhaps ``verify(args) -> Verification``: whether what is on the disk is what was published
- and perhaps ``PUBLISHED``: rows of results of others, ``table.Published``, that are shown beside ours

Its name is the name of the file. A name that begins with an underscore is no data set.
"""

import pkgutil
from importlib import import_module
from types import ModuleType

from masktools.core.errors import unknown_name

__all__ = ["dataset", "names"]


def names() -> tuple[str, ...]:
    """Return the names of all data sets."""
    return tuple(sorted(one.name for one in pkgutil.iter_modules(__path__) if not one.name.startswith("_")))


def dataset(name: str) -> ModuleType:
    """Return the module of a data set.

    Raises:
        ParameterError: an unknown name.
    """
    if name not in names():
        raise unknown_name("data set", name, names())
    return import_module(f"{__name__}.{name}")

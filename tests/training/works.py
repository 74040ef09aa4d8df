"""What other processes are given to do by the tests of the cache: they import it from here."""

import os
import time

from masktools.core.errors import AudioError


def double(number):
    """Return twice a number, sooner for large ones."""
    time.sleep(0.05 / (1 + number))
    return 2 * number


def refuse(number):
    """Raise an error of ours, or one that nobody foresaw."""
    if number == 1:
        raise AudioError("one is not to be heard")
    return [][number]


def die(number):
    """End without a word, as a process does that takes too much memory."""
    os._exit(1)


class JoinedBytes:
    """Writes the bytes of a job into two files, in small pieces, and tells how many there are."""

    def __call__(self, job, outputs):
        for name, path in outputs.items():
            with path.open("wb") as file:
                for item in job:
                    file.write(name.encode() + item)
        return {"n_items": len(job)}

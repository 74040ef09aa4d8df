"""How far a job has come, told while it is computed."""

from collections.abc import Callable

__all__ = ["Counter", "Progress", "share_of"]

Progress = Callable[[int, int], object]
"""Called with (steps done, steps in all) while something is computed."""


def share_of(progress: Progress | None, index: int, n_parts: int) -> Progress | None:
    """Return the callback for one of several equal parts of a job."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, n_parts * total)


class Counter:
    """Counts predictions and tells how far they have come."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        """Count one prediction."""
        self.done = min(self.done + 1, self.total)
        self.progress(self.done, self.total)

    def finish(self) -> None:
        """Say that everything is done, where it took fewer predictions than foreseen."""
        if self.done < self.total:
            self.progress(self.total, self.total)

"""Whether a data set on the disk is the one that was published."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: str  # ok; differs: not what was published, and usable; missing: something is not there
    found: str

    def __str__(self) -> str:
        return f"{self.state:8}{self.what}: {self.found}"


@dataclass(frozen=True)
class Verification:
    """All that was looked at."""

    findings: tuple[Finding, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return all(one.state != "missing" for one in self.findings)

    @property
    def is_published(self) -> bool:
        """Whether everything is as it was published."""
        return all(one.state == "ok" for one in self.findings)

"""What a probe found in a recording, for people, for programs, and for whoever repairs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from masktools.detection.bandwidth import Bandwidth
from masktools.detection.damage import Damage, checked_kinds
from masktools.detection.levels import Level
from masktools.gaps import Gap

__all__ = ["GAP_KINDS", "Findings"]

GAP_KINDS = ("zeros", "hold", "repeat", "dropout", "non_finite")
"""The kinds of damage that are gaps; clicks are told apart."""


@dataclass(frozen=True)
class Findings:
    """What is known of a recording after it was read once from its beginning to its end."""

    sample_rate: int  # Hz
    n_samples: int
    kinds: tuple[str, ...]  # of damage that were looked for
    levels: tuple[Level, ...]  # of each channel
    bandwidth: Bandwidth | None  # None where it was not looked for
    damage: tuple[Damage, ...]  # in order of time
    warnings: tuple[str, ...] = ()  # a sentence each

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.levels)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    def gaps(self, kinds: Sequence[str] = GAP_KINDS) -> list[Gap]:
        """Return the damage of some kinds as gaps in seconds; those in all channels name none.

        Raises:
            ParameterError: an unknown kind.
        """
        wanted = checked_kinds(kinds)
        return [self._gap(damage) for damage in self.damage if damage.kind in wanted]

    def _gap(self, damage: Damage) -> Gap:
        everywhere = len(damage.channels) == self.n_channels
        start_s, end_s = damage.start / self.sample_rate, damage.stop / self.sample_rate
        return Gap(start_s, end_s, None if everywhere else damage.channels)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON has it: times in seconds, frequencies in Hz, levels in dBFS, channels from 0 on.

        ``gaps`` is what ``masktools.gaps.read_gaps`` reads; ``cutoff_hz`` is null where no cutoff was found.
        """
        bandwidth = self.bandwidth
        clicks = [self._place(one) for one in self.damage if one.kind == "clicks"]
        return {
            "sample_rate": self.sample_rate,
            "channels": self.n_channels,
            "duration_s": self.duration_s,
            "cutoff_hz": bandwidth and _rounded(bandwidth.cutoff_hz, 1),
            "cutoff_confidence": bandwidth and _rounded(bandwidth.confidence, 3),
            "cutoff_drop_db": bandwidth and _rounded(bandwidth.drop_db, 2),
            "detected": list(self.kinds),
            "gaps": [self._place(one) for one in self.damage if one.kind != "clicks"],
            "clicks": clicks,
            "clipping": [
                {"flat_tops": level.n_flat, "samples": level.n_flat_samples, "over": level.n_over}
                for level in self.levels
            ],
            "dc": [_rounded(level.dc, 7) for level in self.levels],
            "level": [
                {
                    "peak_db": _rounded(level.peak_db, 2),
                    "rms_db": _rounded(level.rms_db, 2),
                    "noise_floor_db": _rounded(level.floor_db, 2),
                }
                for level in self.levels
            ],
            "warnings": list(self.warnings),
        }

    def _place(self, damage: Damage) -> dict[str, Any]:
        return {
            "start_s": damage.start / self.sample_rate,
            "end_s": damage.stop / self.sample_rate,
            "kind": damage.kind,
            "channels": list(damage.channels),
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)

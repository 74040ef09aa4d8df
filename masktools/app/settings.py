"""What can be said about a job, about a server, and how much it takes."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from masktools.core.arguments import check_within
from masktools.core.errors import ParameterError
from masktools.core.settings import MAX_SECONDS, Made

Told = dict[str, Any]
_LONGEST = 1000  # letters of a prompt


@dataclass(frozen=True)
class JobSettings:
    """What the page says about a job; what is None is as in ``masktools.core.settings``."""

    method: str | None = None
    prompt: str | None = None
    channels: str | None = None
    texture: str | None = None
    solver: str | None = None  # the name of a preset
    n_steps: int | None = None
    temperature: float | None = None
    guidance: float | None = None
    classical_below_s: float | None = None
    max_gap_s: float | None = None
    match_level_db: float | None = None
    cutoff_hz: float | None = None  # that which was found, if None
    to_hz: float | None = None
    lfr: bool | None = None
    quiet_guard_db: float | None = None
    hf_gain_db: float | None = None
    clean_above: bool | None = None
    seam_s: float | None = None
    seconds: float = 5.0
    side: str | None = None
    fade_s: float | None = None

    def __post_init__(self) -> None:
        """Check what the jobs themselves do not."""
        if len(self.prompt or "") > _LONGEST:
            raise ParameterError(f"prompt must have at most {_LONGEST} letters")
        check_within(f"(0, {MAX_SECONDS:g}]", seconds=self.seconds)

    @property
    def prompts(self) -> list[str] | None:
        """The prompt, as a text whatever it looks like: it names no file."""
        return None if not (self.prompt or "").strip() else [self.prompt or ""]

    def of(self, settings: type[Made], **more: Any) -> Made:
        """Return what is said about a job of a kind.

        Args:
            settings: the dataclass of the kind, in ``masktools.core.settings``.
            **more: values of its fields that the page says elsewhere.

        Raises:
            ParameterError: a value out of its range.
        """
        names = {one.name for one in fields(settings)}
        said: Told = {name: value for name, value in vars(self).items() if name in names and value is not None}
        if "prompt" in names:
            said["prompt"] = self.prompts
        return settings(**said | more)


@dataclass(frozen=True)
class Limits:
    """What a server takes at most."""

    upload_bytes: int = 4 << 30
    seconds: float = 12 * 3600.0
    channels: int = 32
    jobs: int = 20
    samples_s: float = 10.0
    json_bytes: int = 64 << 10


@dataclass(frozen=True)
class Settings:
    """What the command line says about a server."""

    model: str = "mini"
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    batch_size: int | None = None
    in_place: bool = False
    folders: tuple[Path, ...] = ()  # among which batches may work
    limits: Limits = Limits()
    cancel_s: tuple[float, float] = (5.0, 3.0)  # from a wish to end to SIGTERM, and from there to SIGKILL

    @property
    def of_model(self) -> Told:
        """The options of the model, for ``masktools.load``."""
        names = ("model", "device", "precision", "threads", "batch_size")
        return {name: getattr(self, name) for name in names}

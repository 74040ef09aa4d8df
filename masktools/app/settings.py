"""What can be said about a job, about a server, and how much it takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masktools.errors import ParameterError

Told = dict[str, Any]
_LONGEST = 1000  # letters of a prompt


@dataclass(frozen=True)
class JobSettings:
    """How a job is done; what is not said is as on the command line."""

    method: str = "auto"
    prompt: str | None = None
    channels: str = "linked"
    texture: str | None = None
    solver: str | None = None  # the name of a preset
    n_steps: int | None = None
    temperature: float | None = None
    guidance: float | None = None
    classical_below_s: float = 0.06
    max_gap_s: float = 4.0
    match_level_db: float = 6.0
    cutoff_hz: float | None = None  # that which was found, if None
    to_hz: float | None = None
    lfr: bool = True
    quiet_guard_db: float = 3.0
    hf_gain_db: float = 0.0
    clean_above: bool = False
    seam_s: float = 0.5
    seconds: float = 5.0
    side: str = "end"
    fade_s: float = 0.5

    def __post_init__(self) -> None:
        """Check what the jobs themselves do not."""
        if len(self.prompt or "") > _LONGEST:
            raise ParameterError(f"prompt must have at most {_LONGEST} letters")
        if not 0 < self.seconds <= 600:
            raise ParameterError(f"seconds must lie in (0, 600], got {self.seconds:g}")

    @property
    def decoding(self) -> Told:
        """What is said about the decoding."""
        said = (self.solver, self.n_steps, self.temperature, self.guidance)
        return dict(zip(("base", "n_steps", "temperature", "guidance"), said, strict=True))

    @property
    def prompts(self) -> list[str] | None:
        """The prompt, as a text whatever it looks like: it names no file."""
        return None if not (self.prompt or "").strip() else [self.prompt or ""]

    @property
    def textured(self) -> Told:
        """The texture, where one is asked for."""
        return {} if self.texture is None else {"texture": self.texture}


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

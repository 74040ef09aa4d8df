"""Settings of a job and of the server, and the limits of the server."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from masktools.core.arguments import check_within
from masktools.core.configs import from_dict
from masktools.core.errors import ParameterError, unknown_name
from masktools.core.settings import (
    MAX_SECONDS,
    BandSettings,
    ContinuationSettings,
    DecodingSettings,
    GapSettings,
    LoopSettings,
    Made,
    PromptSettings,
    RepairSettings,
)

Told = dict[str, Any]
_LONGEST = 1000  # letters of a prompt


KINDS: dict[str, tuple[type[DecodingSettings], ...]] = {
    "inpaint": (GapSettings,),
    "repair": (RepairSettings,),
    "bwe": (BandSettings,),
    "restore": (GapSettings, BandSettings),
    "extend": (ContinuationSettings,),
    "loop": (LoopSettings,),
    "generate": (PromptSettings,),
    "batch": (GapSettings, BandSettings),
}
"""Settings of each kind of job."""

_ELSEWHERE = {"seed", "n_candidates"}  # which a job is told beside its settings
_NAMES = {one.name for kinds in KINDS.values() for kind in kinds for one in fields(kind)} - _ELSEWHERE


@dataclass(frozen=True)
class JobSettings:
    """Settings of a job as the page sends them; defaults are those of ``masktools.core.settings``."""

    prompt: str | None = None
    solver: str | None = None  # the name of a preset
    n_steps: int | None = None
    cutoff_hz: float | None = None  # that which was found, if None
    seconds: float = 5.0  # of a continuation, or of what is made
    more: Told = field(default_factory=dict)  # by the names of ``masktools.core.settings``

    def __post_init__(self) -> None:
        """Check what the jobs themselves do not."""
        if len(self.prompt or "") > _LONGEST:
            raise ParameterError(f"prompt must have at most {_LONGEST} letters")
        check_within(f"(0, {MAX_SECONDS:g}]", seconds=self.seconds)

    @classmethod
    def read(cls, said: Told, kind: str) -> "JobSettings":
        """Return settings by their names, all of which are known.

        Args:
            said: as JSON has them.
            kind: kind of the job, one of ``KINDS``.

        Raises:
            ParameterError: an unknown name, or a value of another kind or out of its range.
        """
        names = {one.name for one in fields(cls)} - {"more"}
        own = {name: value for name, value in said.items() if name in names}
        more = {name: value for name, value in said.items() if name not in names}
        for name in more:
            if name not in _NAMES:
                raise unknown_name("setting", name, sorted(names | _NAMES))
        settings = from_dict(cls, own | {"more": more})
        for one in KINDS[kind]:
            settings.of(one)
        return settings

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
        own: Told = {name: value for name, value in vars(self).items() if value is not None}
        said: Told = own | self.more | {"prompt": self.prompts} | more
        names = {one.name for one in fields(settings)}
        return settings(**{name: value for name, value in said.items() if name in names})


@dataclass(frozen=True)
class Limits:
    """Limits of the server: sizes, lengths and numbers."""

    upload_bytes: int = 4 << 30
    seconds: float = 12 * 3600.0
    channels: int = 32
    jobs: int = 20


@dataclass(frozen=True)
class Settings:
    """Settings of the server, as the command line gives them."""

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

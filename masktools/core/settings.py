"""Settings of the jobs: one frozen dataclass for each job, with default, help, unit and range of every setting.

They are defined nowhere else: Python calls take settings, or changes of them by name; the command line makes an
option of every field (``cli.options.add_settings``); journals and reports use the same dataclasses. torch is not
imported, so that help is quick.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

from masktools.core.arguments import settle, shown
from masktools.core.errors import ParameterError, unknown_name

LINKED, INDEPENDENT, MID_SIDE = CHANNEL_MODES = ("linked", "independent", "mid_side")
TEXTURES = ("blend", "recording", "model")
AUTO, MODEL = "auto", "model"
GAP_METHODS = (AUTO, MODEL, "zero", "linear", "burg", "janssen", "spectral_noise", "copy", "search")
"""By length and content, by the model, or one of ``classical.GAP_FILLS``."""
REPAIR_METHODS = AUTO, MODEL, INTERPOLATE = ("auto", "model", "interpolate")
AUDIO_FORMATS = ("wav", "flac", "aiff", "ogg", "opus", "mp3")
"""Formats that commands and the page offer, by suffix; ``io.SUFFIXES`` holds the coding of each."""

Made = TypeVar("Made", bound="DecodingSettings")

MAX_SECONDS = 600.0
FROM_0, ABOVE_0 = "[0, inf]", "(0, inf]"


def setting(default: Any, help: str, unit: str = "", **more: Any) -> Any:
    """Return a field of settings.

    Args:
        default: default value.
        help: description, for the command line and for readers of the class.
        unit: unit of a number.
        **more: ``within``, its interval, in the notation of ``arguments.check_within``; ``choices``, of names;
            ``option``, of the command line where it is not the field's name without its unit, "" for none; ``none``,
            the word for None; ``told``: whether reports include it.
    """
    return field(default=default, metadata={"help": help, "unit": unit, **more})


@dataclass(frozen=True, kw_only=True)
class DecodingSettings:
    """Settings of the decoding of tokens; None stands for the model's own."""

    TITLE: ClassVar[str] = "decoding"

    seed: int = setting(0, "the same seed, the same result", told=True)
    n_steps: Any = setting(  # an integer, or one for each stage
        None,
        "decoding steps, the model's own if left out; 20,10,10,10 for a model of four token streams",
        option="--steps",
    )
    temperature: float | None = setting(
        None, "noise in the order of decisions; the model's own if left out", within=FROM_0
    )
    guidance: float | None = setting(None, "how closely to follow the text; the model's own if left out", within=FROM_0)
    solver: Any = setting(  # solver.SolverConfig, one for each stage, or the name of a preset; other fields override it
        None,
        "settings that have a name: fast, draft, paper, quality32, ...; or single ones: rescore_weight=0.35,...",
        option="--preset",
    )

    def __init_subclass__(cls) -> None:
        """Append the help of each field to the docstring."""
        own = [(name, made) for name, made in vars(cls).items() if isinstance(made, Field)]
        cls.__doc__ = f"{cls.__doc__}\n\nArgs:\n" + "".join(f"    {n}: {made.metadata['help']}\n" for n, made in own)

    def __post_init__(self) -> None:
        """Check every type, name and range."""
        settle(self)

    @classmethod
    def of(cls: type[Made], given: object, changes: Mapping[str, Any]) -> Made:
        """Return settings with changes.

        Args:
            given: settings of this class, or of one that it extends; None for the defaults.
            changes: values by field name.

        Raises:
            ParameterError: another type, an unknown name, or a value out of its range.
        """
        if given is not None and not isinstance(given, cls):
            if not isinstance(given, DecodingSettings) or not issubclass(cls, type(given)):
                raise ParameterError(f"settings must be {cls.__name__} or None, got {shown(given)}")
            changes = {own.name: getattr(given, own.name) for own in fields(given)} | dict(changes)
            given = None
        known = [own.name for own in fields(cls)]
        for name in changes:
            if name not in known:
                raise unknown_name("setting", name, known)
        return cls(**changes) if given is None else replace(given, **changes) if changes else given

    def told(self) -> dict[str, Any]:
        """Return the settings that reports include."""
        return {own.name: getattr(self, own.name) for own in fields(self) if own.metadata.get("told")}


def _texture(default: str) -> Any:
    return setting(
        default,
        "blend: half way between a classical method and the model; recording: the recording's own grain in the "
        "model's shape; model: the vocoder throughout",
        choices=TEXTURES,
        told=True,
    )


def _methods(help: str) -> Any:
    return setting(AUTO, help, choices=GAP_METHODS, told=True)


@dataclass(frozen=True, kw_only=True)
class PromptSettings(DecodingSettings):
    """Settings for making sounds from texts."""

    n_candidates: int = setting(
        1,
        "sounds that are made of a text; the one that the model hears as nearest to it is kept",
        within="[1, 64]",
        option="--candidates",
        told=True,
    )


@dataclass(frozen=True, kw_only=True)
class VariationSettings(DecodingSettings):
    """Settings for drawing other detail for a sound, with a model over scales."""

    TITLE: ClassVar[str] = ""

    keep: int = setting(1, "coarse scales that stay; 1 if left out", within=FROM_0)
    prompt: Any = setting(None, "what the detail is of, or a .npy file of one vector")


@dataclass(frozen=True, kw_only=True)
class RestorationSettings(DecodingSettings):
    """Settings of all jobs that restore recordings."""

    TITLE: ClassVar[str] = ""

    prompt: Any = setting(None, "what to hear, or a .npy file of one vector; best left out")
    channels: str = setting(
        LINKED,
        "linked: the same random numbers for all; independent: each its own; mid_side: middle and side of two",
        choices=CHANNEL_MODES,
        told=True,
    )
    texture: str = _texture("blend")

    @property
    def linked(self) -> bool:
        """Whether all channels share their random numbers."""
        return self.channels != INDEPENDENT

    @property
    def mid_side(self) -> bool:
        """Whether mid and side of a stereo recording are restored, instead of left and right."""
        return self.channels == MID_SIDE


_LEAKS = (
    "False computes the known tokens from audio that still holds what is to be restored, as the paper does: for tables"
)


@dataclass(frozen=True, kw_only=True)
class GapSettings(RestorationSettings):
    """Settings for finding and filling gaps."""

    TITLE: ClassVar[str] = "gaps"

    detect: tuple[str, ...] = setting(
        ("zeros", "hold", "non_finite"), "what auto looks for: zeros, hold, repeat, dropout, clicks, non_finite"
    )
    min_gap_s: float = setting(0.002, "shorter ones are not looked for", "s", within=FROM_0)
    max_gap_s: float = setting(4.0, "longer ones are not found, or, where they are given, refused", "s", within=FROM_0)
    pad_s: float = setting(0.0, "widens each gap at both ends", "s", within=FROM_0)
    method: str = _methods(
        "auto (by length, and by what the recording holds), model, or one for all that needs no model: search, "
        "copy, janssen, burg, spectral_noise, linear, zero"
    )
    classical_below_s: float = setting(0.06, "gaps up to this length need no model", "s", within=FROM_0)
    match_level_db: float = setting(6.0, "how far a fill may be moved to the level around it", "dB", within="[0, 60]")
    n_candidates: int = setting(
        1,
        "fills that are tried for each gap; all are written, the one that fits best first",
        within="[1, 64]",
        option="-n --candidates",
        told=True,
    )
    leak_free: bool = setting(True, _LEAKS, option="", told=True)

    @property
    def searches_first(self) -> bool:
        """Whether a gap for the model is filled from similar audio of the same recording, where there is any."""
        return self.method == AUTO and self.texture == "blend"

    def seeds_for(self, number: int, channels: tuple[int, ...]) -> tuple[int, ...]:
        """Return the seeds for a classical method in the gap of this index in its recording."""
        return (self.seed % 2**64, number, *(() if self.linked else channels))


@dataclass(frozen=True, kw_only=True)
class BandSettings(RestorationSettings):
    """Settings of the bandwidth extension."""

    TITLE: ClassVar[str] = "bandwidth"

    to_hz: float | None = setting(
        None,
        "up to where; auto, or left out: 20 kHz, or half the sample rate where that is less",
        "Hz",
        none="auto",
        within=ABOVE_0,
        told=True,
    )
    min_drop_db: float = setting(15.0, "of an edge that is taken for the end of the band", "dB", within=ABOVE_0)
    lfr: bool = setting(True, "keep the original below the cutoff; else all is the model's version", told=True)
    quiet_guard_db: float | None = setting(
        3.0,
        "how far the added band may rise above the noise floor in pauses; off: anywhere",
        "dB",
        none="off",
        within="[-60, 60]",
        told=True,
    )
    hf_gain_db: float = setting(0.0, "gain of the added band", "dB", within="[-24, 24]", told=True)
    limit_peaks: bool = setting(
        True, "the added band gives way where the sum would leave full scale", option="", told=True
    )
    clean_above: bool = setting(
        False, "take away what faint rest the recording has above its cutoff (hiss, traces of a codec)", told=True
    )
    leak_free: bool = setting(True, _LEAKS, option="", told=True)

    def __post_init__(self) -> None:
        """Check every type, name and range, and that ``to_hz`` goes with added audio."""
        super().__post_init__()
        if self.to_hz is not None and not self.lfr:
            raise ParameterError("to is for what is added to a recording: without lfr the band ends with the model's")


@dataclass(frozen=True, kw_only=True)
class RepairSettings(RestorationSettings):
    """Settings for replacing regions of time and frequency."""

    TITLE: ClassVar[str] = "regions"

    method: str = setting(
        AUTO,
        "auto: the model for large regions and for prompts; model; interpolate: from the surroundings alone",
        choices=REPAIR_METHODS,
        told=True,
    )


@dataclass(frozen=True, kw_only=True)
class ContinuationSettings(RestorationSettings):
    """Settings for continuing a recording after its end, or before its start."""

    TITLE: ClassVar[str] = "continuation"

    texture: str = _texture("recording")
    side: str = setting("end", "end or start", choices=("end", "start"), told=True)
    fade_s: float = setting(
        0.5, "that the new audio takes to fade at its outer end", "s", within=f"[0, {MAX_SECONDS:g}]", told=True
    )


@dataclass(frozen=True, kw_only=True)
class LoopSettings(RestorationSettings):
    """Settings for making the end of a recording lead into its start."""

    TITLE: ClassVar[str] = "loop"

    texture: str = _texture("recording")
    seam_s: float = setting(0.5, "that is replaced, half of it at each end", "s", within="(0, 10]")
    method: str = _methods(
        "auto (by length), model, or a classical one: janssen, burg, copy, spectral_noise, linear, zero"
    )

"""Where the parts meet: wave <-> mel <-> tokens, or wave <-> token streams, and the one call that fills masked ones."""

from masktools.pipeline.blending import keep_known
from masktools.pipeline.family import JOBS, Walk, WalkShape
from masktools.pipeline.fitting import check_mel_settings
from masktools.pipeline.progress import Progress, share_of
from masktools.pipeline.streams import StreamWalk
from masktools.pipeline.walk import Pipeline

__all__ = [
    "JOBS",
    "Pipeline",
    "Progress",
    "StreamWalk",
    "Walk",
    "WalkShape",
    "check_mel_settings",
    "keep_known",
    "share_of",
]

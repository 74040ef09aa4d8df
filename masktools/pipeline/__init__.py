"""Models of all families: wave <-> mel <-> tokens, or wave <-> token streams, and the function that fills masks."""

from masktools.pipeline.family import JOBS, Progress, Walk, WalkShape, check_mel_settings, share_of, watched
from masktools.pipeline.scales import ScaleWalk
from masktools.pipeline.streams import StreamWalk
from masktools.pipeline.walk import Pipeline, keep_known

__all__ = [
    "JOBS", "Pipeline", "Progress", "ScaleWalk", "StreamWalk", "Walk", "WalkShape", "check_mel_settings", "keep_known",
    "share_of", "watched",
]  # fmt: skip

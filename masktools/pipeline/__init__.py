"""Where the parts meet: wave <-> mel <-> tokens, and the one call that fills masked tokens."""

from masktools.pipeline.blending import keep_known
from masktools.pipeline.fitting import check_mel_settings
from masktools.pipeline.progress import Progress, share_of
from masktools.pipeline.walk import Pipeline

__all__ = ["Pipeline", "Progress", "check_mel_settings", "keep_known", "share_of"]

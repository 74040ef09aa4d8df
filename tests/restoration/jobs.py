"""The jobs as most tests of them want them: the model alone, without the classical methods that users get beside it."""

from functools import partial

from masktools import restoration
from masktools.core.settings import GapSettings

inpaint = partial(restoration.inpaint, method="model", texture="model")
inpaint_pieces = partial(restoration.inpaint_pieces, method="model", texture="model")
bwe = partial(restoration.bwe, texture="model")
extend_blocks = partial(restoration.extend_blocks, texture="model")
model_only = partial(GapSettings, method="model", texture="model")

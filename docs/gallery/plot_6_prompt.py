"""
Sound from text
===============

The small model knows environmental sounds, game music and single words. The same seed gives the same sound.
"""

import masktools

model = masktools.load("mini")
rain, other = model.generate("Rain falling.", n=2, seconds=4, seed=1)
rain

# %%

other

# %%
# Music by its mood:

model.generate("Calm game music with soft strings.", seconds=4, seed=3)[0]

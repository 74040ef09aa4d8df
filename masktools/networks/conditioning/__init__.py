"""Conditioners: texts and sounds -> unit vectors that tell the transformer what to generate."""

from masktools.networks.conditioning.clap import ClapEncoder, ClapEncoderConfig, DeferredClap, LaionClap, as_conditioner
from masktools.networks.conditioning.joint import JointEncoder, JointEncoderConfig
from masktools.networks.conditioning.notes import NoteWords, NoteWordsConfig
from masktools.networks.conditioning.prompts import Conditioner, Prompts, as_condition
from masktools.networks.conditioning.t5 import DeferredT5, T5Config

__all__ = [
    "CONDITIONERS", "ClapEncoder", "ClapEncoderConfig", "Conditioner", "DeferredClap", "DeferredT5", "JointEncoder",
    "JointEncoderConfig", "LaionClap", "NoteWords", "NoteWordsConfig", "Prompts", "T5Config", "as_condition",
    "as_conditioner",
]  # fmt: skip

CONDITIONERS = {
    "joint": (JointEncoderConfig, JointEncoder),
    "clap": (ClapEncoderConfig, ClapEncoder),
    "notes": (NoteWordsConfig, NoteWords),
}

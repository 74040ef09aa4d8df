"""Packing: layers that hold their weights as a processor computes with them fastest, in place of those of training."""

from masktools.packing.convolution import ResidualInPlace, halve_convolutions, order_convolutions, through
from masktools.packing.digest import feed_weights, halved, weights_digest
from masktools.packing.heap import give_back
from masktools.packing.int8 import Int8Linear, can_compute_int8
from masktools.packing.linear import PackedLinear, can_pack
from masktools.packing.refusals import refuse_weights
from masktools.packing.stored import StoredWeights, has_lost_weights, keep_stored
from masktools.packing.swap import fill_rest, laid_out, swap_linear

__all__ = [
    "Int8Linear",
    "PackedLinear",
    "ResidualInPlace",
    "StoredWeights",
    "can_compute_int8",
    "can_pack",
    "feed_weights",
    "fill_rest",
    "give_back",
    "halve_convolutions",
    "halved",
    "has_lost_weights",
    "keep_stored",
    "laid_out",
    "order_convolutions",
    "refuse_weights",
    "swap_linear",
    "through",
    "weights_digest",
]

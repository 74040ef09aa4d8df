"""Packing: layers that hold their weights as a processor computes with them fastest, in place of those of training."""

from masktools.packing.convolution import order_convolutions
from masktools.packing.int8 import Int8Linear, can_compute_int8
from masktools.packing.linear import PackedLinear, can_pack
from masktools.packing.stored import StoredWeights
from masktools.packing.swap import fill_rest, laid_out, swap_linear

__all__ = [
    "Int8Linear",
    "PackedLinear",
    "StoredWeights",
    "can_compute_int8",
    "can_pack",
    "fill_rest",
    "laid_out",
    "order_convolutions",
    "swap_linear",
]

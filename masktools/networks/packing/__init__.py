"""Packing: layers that hold their weights as a processor computes with them fastest, in place of those of training."""

from masktools.networks.packing.convolution import ResidualInPlace, halve_convolutions, order_convolutions, through
from masktools.networks.packing.linear import Int8Linear, PackedLinear, can_compute_int8, can_pack, refuse_weights
from masktools.networks.packing.stored import (
    KeepsLayers,
    StoredWeights,
    feed_weights,
    fill_rest,
    give_back,
    halved,
    has_lost_weights,
    in_int8,
    keep_stored,
    laid_out,
    quantise_rows,
    swap_linear,
    weights_digest,
)

__all__ = [
    "Int8Linear",
    "KeepsLayers",
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
    "in_int8",
    "keep_stored",
    "laid_out",
    "order_convolutions",
    "quantise_rows",
    "refuse_weights",
    "swap_linear",
    "through",
    "weights_digest",
]

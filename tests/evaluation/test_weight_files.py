"""Checkpoints of TensorFlow are read without it, and a damaged one is named as such."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import CheckpointError
from masktools.evaluation.pretrained import read_tf_checkpoint
from tests.evaluation.weight_packages import tf_checkpoint

RNG = np.random.default_rng(0)
TENSORS = {f"layer_{n}/{part}": RNG.standard_normal(shape).astype(np.float32)
           for n in range(30) for part, shape in (("kernel", (2, 3)), ("bias", (3,)), ("scale", ()))}  # fmt: skip
INDEX, DATA = tf_checkpoint(TENSORS)


def test_every_tensor_of_numbers_comes_back_under_its_name():
    found = read_tf_checkpoint(INDEX, DATA)
    assert found.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert found[name].shape == value.shape
        np.testing.assert_array_equal(found[name], value)


def test_whole_numbers_are_read_and_what_is_no_number_is_passed_over():
    given_ = {"step": np.array([3, 4], np.int64), "count": np.array(5, np.int32), "flag": np.array([True])}
    found = read_tf_checkpoint(*tf_checkpoint(given_))
    assert {name: value.tolist() for name, value in found.items()} == {"step": [3, 4], "count": 5}


def test_other_files_are_named_as_what_they_are_not():
    for content in (b"", b"x" * 47, b"x" * 500, INDEX[:-1]):
        with pytest.raises(CheckpointError, match="must end with its table's footer"):
            read_tf_checkpoint(content, DATA)
    with pytest.raises(CheckpointError, match="damaged: the tensor layer_.* lies outside the data"):
        read_tf_checkpoint(INDEX, DATA[:-1])
    compressed = bytearray(INDEX)
    compressed[INDEX.index(b"\0crc ")] = 1
    with pytest.raises(CheckpointError, match="its table is compressed"):
        read_tf_checkpoint(bytes(compressed), DATA)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_index_is_an_error_of_ours_or_does_no_harm(data):
    broken = bytearray(INDEX)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 9))] = data.draw(st.integers(0, 255))
    try:
        found = read_tf_checkpoint(bytes(broken), DATA)
    except CheckpointError:
        return
    assert all(value.nbytes <= len(DATA) for value in found.values())

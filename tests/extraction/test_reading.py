"""Items are read as they are: whole, or the part that is meant."""

import numpy as np
import pytest

from masktools import io
from masktools.errors import AudioError
from masktools.extraction import Item, read_item


def test_a_part_is_the_samples_between_its_times(recordings):
    path = str(recordings / "live/deep/d.wav")
    whole = io.read(path).samples
    samples, rate = read_item(Item("d", path, start_s=0.1, stop_s=0.3))
    np.testing.assert_array_equal(samples, whole[:, 2205:6615])
    assert rate == 22_050
    np.testing.assert_array_equal(read_item(Item("d", path, start_s=0.1))[0], whole[:, 2205:])
    np.testing.assert_array_equal(read_item(Item("d", path, stop_s=99.0))[0], whole)


def test_a_part_behind_the_end_is_told(recordings):
    with pytest.raises(AudioError, match=r"b\.wav ends at 0\.500 s, before b starts: 0\.5 s"):
        read_item(Item("b", str(recordings / "b.wav"), start_s=0.5))


def test_a_part_is_never_empty(recordings):
    assert read_item(Item("b", str(recordings / "b.wav"), start_s=0.1, stop_s=0.100001))[0].shape == (1, 1)


def test_a_missing_file_is_told():
    with pytest.raises(AudioError, match=r"gone\.wav does not exist"):
        read_item(Item("g", "gone.wav"))

"""What counts samples in a wave file still means the same moments at another rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masktools.io.chunks import at_rate


def words(*numbers):
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def test_the_time_since_midnight_of_a_broadcast_wave_stays_that_time():
    hours = 10 * 3_600
    bext = bytes(338) + (hours * 48_000).to_bytes(8, "little") + b"\1" * 256
    moved = at_rate(b"bext", bext, 48_000, 96_000)
    assert int.from_bytes(moved[338:346], "little") == hours * 96_000
    assert moved[:338] + moved[346:] == bext[:338] + bext[346:]


def test_cue_points_and_what_they_label_stay_at_their_moments():
    cue = words(2) + words(1, 8_000) + b"data" + words(0, 0, 8_000) + words(2, 12_000) + b"data" + words(0, 0, 12_000)
    moved = words(2) + words(1, 22_050) + b"data" + words(0, 0, 22_050) + words(2, 33_075) + b"data"
    assert at_rate(b"cue ", cue, 8_000, 22_050) == moved + words(0, 0, 33_075)
    labels = b"adtl" + b"labl" + words(7, 1) + b"in\0\0" + b"ltxt" + words(20, 1, 8_000) + b"rgn " + bytes(8)
    assert at_rate(b"LIST", labels, 8_000, 16_000) == labels.replace(words(1, 8_000), words(1, 16_000))
    assert at_rate(b"plst", words(1, 7, 8_000, 2), 8_000, 16_000) == words(1, 7, 16_000, 2)


def test_loops_and_the_length_of_a_sample_follow_the_rate():
    head = words(0, 0, 125_000, 60, 0, 0, 0, 1, 0)
    assert at_rate(b"smpl", head + words(0, 0, 80, 160, 0, 0), 8_000, 16_000) == words(
        0, 0, 62_500, 60, 0, 0, 0, 1, 0
    ) + words(0, 0, 160, 320, 0, 0)


@given(st.sampled_from([b"bext", b"cue ", b"plst", b"smpl", b"LIST"]), st.binary(max_size=400), st.booleans())
def test_damaged_chunks_keep_their_length(name, content, labelled):
    content = b"adtl" + content if labelled else content
    assert len(at_rate(name, content, 44_100, 48_000)) == len(content)


@pytest.mark.parametrize("name", [b"iXML", b"inst", b"cue ", b"bext"])
def test_nothing_changes_at_the_same_rate_nor_in_other_chunks(name):
    content = bytes(range(256)) * 3
    assert at_rate(name, content, 48_000, 48_000) == content
    if name in (b"iXML", b"inst"):
        assert at_rate(name, content, 48_000, 96_000) == content

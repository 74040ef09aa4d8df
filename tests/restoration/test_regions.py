"""Regions in time and frequency: written in three ways, and refused where they are none."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.restoration.regions import Region, check_regions, parse_regions, read_regions

BOX = Region.rectangle(1.2, 1.5, 3000, 6000)


def test_text_json_and_labels_of_audacity_say_the_same(tmp_path):
    labels, listed = tmp_path / "labels.txt", tmp_path / "regions.json"
    labels.write_text("1.2\t1.5\twhistle\n\\\t3000.000\t6000.000\n2\t2.4\t\n\\\t500\t900\n")
    listed.write_text(
        json.dumps(
            [
                {"start_s": 2, "end_s": 2.4, "low_hz": 500, "high_hz": 900},
                {"polygon": [[1.2, 3000], [1.5, 3000], [1.5, 6000], [1.2, 6000]]},
            ]
        )
    )
    wanted = parse_regions("1.2-1.5,3000-6000; 2\u20132.4, 500-900")
    assert wanted == [BOX, Region.rectangle(2, 2.4, 500, 900)]
    assert read_regions(labels) == wanted
    assert read_regions(listed) == wanted


def test_a_list_may_be_part_of_an_object_and_name_channels(tmp_path):
    path = tmp_path / "regions.json"
    path.write_text(
        json.dumps({"regions": [{"start_s": 0, "end_s": 1, "low_hz": 0, "high_hz": 9, "channels": [1, 0, 1]}]})
    )
    assert read_regions(path) == [Region.rectangle(0, 1, 0, 9, (0, 1))]


def test_a_label_that_begins_at_no_frequency_begins_at_none(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("1,2\t1,5\thum\n\\\t-1.0\t120\n")
    assert read_regions(path) == [Region.rectangle(1.2, 1.5, 0, 120)]


@given(st.floats(0, 100), st.floats(0.001, 100), st.floats(0, 20_000), st.floats(0.1, 20_000), st.floats(-0.5, 1.5))
@settings(max_examples=30, deadline=None)
def test_a_rectangle_has_one_band_at_all_times(start_s, length_s, low_hz, height_hz, share):
    region = Region.rectangle(start_s, start_s + length_s, low_hz, low_hz + height_hz)
    assert region.bands(start_s + share * length_s) == [(low_hz, low_hz + height_hz)]


def test_a_polygon_has_the_bands_between_its_edges():
    slope = Region(((0, 100), (2, 100), (2, 300)))
    assert slope.bands(1.0) == [(100, 200)]
    fork = Region(((0, 0), (2, 0), (2, 100), (1, 100), (1, 200), (2, 200), (2, 300), (0, 300)))
    assert fork.bands(1.5) == [(0, 100), (200, 300)]
    assert fork.bands(0.5) == [(0, 300)]


@pytest.mark.parametrize(
    ("corners", "said"),
    [
        (((0, 1), (1, 2)), "a region must have 3 to 1000 corners, got 2"),
        (((0, 1), (1, 2), (2, -3)), r"must be times and frequencies of 0 or more, in s and Hz, got \(0, 1\)"),
        (((0, 1), (1, 2), (2, float("nan"))), "must be times and frequencies of 0 or more"),
        (((1, 1), (1, 2), (1, 3)), "must end after its start, got 1-1 s"),
        (((0, 2), (1, 2), (2, 2)), "must end above its lowest frequency, got 2-2 Hz"),
        (((0, 1), (1, 2), (2, 3)), "must not lie on one line"),
    ],
)
def test_what_is_no_region_is_refused(corners, said):
    with pytest.raises(ParameterError, match=said):
        Region(corners)


def test_a_rectangle_is_not_turned_round():
    with pytest.raises(ParameterError, match=r"must end after its start, got 2-1 s"):
        Region.rectangle(2, 1, 0, 1)
    with pytest.raises(ParameterError, match="must end above its lowest frequency, got 2-1 Hz"):
        Region.rectangle(1, 2, 2, 1)
    with pytest.raises(ParameterError, match="must be numbers from 0 on, at least one, got"):
        Region.rectangle(0, 1, 0, 1, ())


@pytest.mark.parametrize("text", ["", "1-2", "1-2,3", "1-2,3-4,5-6", "1-2,3-4;", "a-b,c-d"])
def test_text_of_another_form_is_refused(text):
    with pytest.raises(ParameterError, match="regions must be written start-end,low-high in seconds and hertz"):
        parse_regions(text)


def test_regions_lie_in_the_recording():
    assert check_regions([BOX], 1.5, 12_000, 1) == [BOX]
    with pytest.raises(ParameterError, match=r"within the recording, 0-1.4 s, got 1.2-1.5 s, 3000-6000 Hz"):
        check_regions([BOX], 1.4)
    with pytest.raises(ParameterError, match="within the band of the recording, 0-4000 Hz, got 1.2"):
        check_regions([BOX], 2.0, 8000)
    with pytest.raises(ParameterError, match=r"channels that the recording has, 0 to 1, got .* in channel 2"):
        check_regions([Region.rectangle(0, 1, 0, 1, (0, 2))], 2.0, 8000, 2)
    with pytest.raises(ParameterError, match="there must be at least one region, got none"):
        check_regions([])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "a.json, line 1: this is no JSON"),
        ("a.json", "3", r"must hold a list of regions, or an object with one as its \"regions\""),
        ("a.json", '[{"start_s": 1}]', r"a.json, region 1 must have \"start_s\""),
        ("a.json", '[{"polygon": [[1, 2], [3, 4], ["5", 6]]}]', "region 1 must have"),
        ("a.json", "[[1, 2]]", "region 1 must have"),
        ("a.json", '[{"polygon": [[1, 2], [3, 4]]}]', "a.json, region 1: a region must have 3 to 1000 corners"),
        ("a.json", "[]", "a.json: there must be at least one region"),
        ("a.txt", "1\t2\thum\n", "line 1: the label must have frequencies, in a line below it"),
        ("a.txt", "1\t2\thum\n\\\t100\t-1\n", "line 2: the frequencies of a label must be .* got -1 as the highest"),
        ("a.txt", "1\t2\thum\n\\\t100\n", "line 2: the frequencies of a label must be a backslash"),
        ("a.txt", "hum\n", "line 1: a label must be start, end and text, separated by tabs"),
        ("a.txt", "2\t1\thum\n\\\t100\t200\n", "line 1: a region must end after its start"),
    ],
)
def test_files_of_another_form_are_refused_by_name_and_line(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ParameterError, match=said):
        read_regions(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"none.json cannot be read as a list of regions: No such file"):
        read_regions(tmp_path / "none.json")

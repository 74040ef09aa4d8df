"""Gaps are read from text and from files, and checked against the recording before anything is computed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.core.gaps import Gap, as_gap, channels_of, check_gaps, parse_gaps, read_gaps


def times(gaps):
    return [gap[:2] for gap in gaps]


@st.composite
def disjoint_gaps(draw):
    marks = draw(st.lists(st.integers(0, 10_000_000), min_size=2, max_size=12, unique=True).map(sorted))
    return [(a / 1000, b / 1000) for a, b in zip(marks[::2], marks[1::2], strict=False)]


@given(disjoint_gaps(), st.randoms())
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read_back_in_order_of_time(gaps, shuffler):
    shuffled = gaps.copy()
    shuffler.shuffle(shuffled)
    assert times(parse_gaps(" , ".join(f"{start} - {end}" for start, end in shuffled))) == gaps
    assert times(check_gaps(shuffled, duration_s=10_001)) == gaps


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        ("1.20-1.55,3-3.2", [(1.2, 1.55), (3, 3.2)]),
        ("0-.5", [(0, 0.5)]),
        ("1.\u20132.", [(1, 2)]),
        ("1-2,2-3", [(1, 2), (2, 3)]),
        ("+1-2", [(1, 2)]),
    ],
)
def test_ways_to_write_gaps(text, gaps):
    assert parse_gaps(text) == [Gap(*gap) for gap in gaps]


@pytest.mark.parametrize("text", ["", "1", "1-", "1-2-3", "1-2,", "a-b", "1e1-20", "nan-1", "1:00-1:02", "1-2;3-4"])
def test_text_of_another_form_is_refused_with_an_example(text):
    with pytest.raises(ParameterError, match=r"start-end in seconds .* as in 1.20-1.55,3-3.2; got '"):
        parse_gaps(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2-1", "a gap must end after its start, got 2-1 s"),
        ("1-1", "a gap must end after its start, got 1-1 s"),
        ("-1-2", "must not be negative, got -1-2 s"),
        ("1-2,1.5-3", "gaps must not overlap, got 1-2 s and 1.5-3 s: write them as one"),
        ("3-4,1-3.5", "gaps must not overlap, got 1-3.5 s and 3-4 s"),
        ("1-2,1-2", "gaps must not overlap, got 1-2 s and 1-2 s"),
        ("1-9,2-3,8-10", "gaps must not overlap, got 1-9 s and 2-3 s"),
    ],
)
def test_gaps_that_cannot_be_are_named(text, message):
    with pytest.raises(ParameterError, match=message):
        parse_gaps(text)


@pytest.mark.parametrize(
    ("gaps", "message"),
    [
        ([], "there must be at least one gap, got none"),
        ([(0.0, float("inf"))], "the times of a gap must be finite, got 0-inf s"),
        ([(float("nan"), 1.0)], "the times of a gap must be finite, got nan-1 s"),
        ([(9.0, 10.5)], "a gap must lie within the recording, 0-10 s, got 9-10.5 s"),
        ([(11.0, 12.0)], "a gap must lie within the recording, 0-10 s, got 11-12 s"),
        ([(0.0, 10.0)], "the gaps cover the whole recording of 10 s: something must remain"),
        ([(0.0, 4.0), (4.0, 10.0)], "the gaps cover the whole recording"),
        ([(0.0, 10.0, (1,))], "the gaps cover the whole of channel 1 of a recording of 10 s"),
        ([(0.0, 4.0), (4.0, 10.0, (0, 1))], "the gaps cover the whole of channel 0"),
        ([(1.0, 2.0, (0, 2))], "channels that the recording has, 0 to 1, got 1-2 s in channel 2"),
    ],
)
def test_gaps_that_do_not_fit_the_recording_are_named(gaps, message):
    with pytest.raises(ParameterError, match=message):
        check_gaps(gaps, 10.0, n_channels=2)


def test_a_gap_may_end_where_the_recording_ends():
    duration_s = 217_088 / 22_050
    assert check_gaps([(9, duration_s)], duration_s) == [Gap(9.0, duration_s)]
    with pytest.raises(ParameterError, match=r"within the recording, 0-9\.8452\d* s, got 9-9\.846 s"):
        check_gaps([(9, 9.846)], duration_s)
    assert check_gaps([(9, 9.84526)], duration_s)


def test_without_a_duration_only_the_gaps_themselves_are_checked():
    assert check_gaps([(1, 2)]) == [Gap(1.0, 2.0)]


class TestChannels:
    def test_gaps_of_different_channels_may_overlap(self):
        gaps = [(1.0, 3.0, (0,)), (2.0, 4.0, (1,)), (2.5, 2.6, (2, 3))]
        assert check_gaps(gaps, 10.0, 4) == [Gap(*gap) for gap in gaps]

    @pytest.mark.parametrize("other", [(2.0, 4.0), (2.0, 4.0, (0, 2)), (2.0, 4.0, None)])
    def test_gaps_of_one_channel_may_not(self, other):
        with pytest.raises(ParameterError, match="gaps must not overlap, got 1-3 s and 2-4 s"):
            check_gaps([(1.0, 3.0, (0,)), (1.5, 1.6, (1,)), other])

    def test_one_that_is_lost_in_one_channel_may_be_whole_in_another(self):
        assert check_gaps([(0.0, 6.0, (0,)), (6.0, 10.0, (1,))], 10.0, 2)

    def test_channels_are_put_in_order_and_named_once(self):
        assert as_gap((1, 2, (3, 1, 3))) == Gap(1.0, 2.0, (1, 3))
        assert channels_of([Gap(1, 2, (3, 1)), Gap(4, 5)]) == [1, 3, None]

    @pytest.mark.parametrize("channels", [(), (-1,)])
    def test_there_must_be_some(self, channels):
        with pytest.raises(ParameterError, match="channels of a gap must be numbers from 0 on, at least one"):
            as_gap((1.0, 2.0, channels))

    @pytest.mark.parametrize("gap", [(1.0,), 3.0, (1.0, 2.0, 3), (1.0, 2.0, None, None), ("a", 2.0)])
    def test_what_is_no_gap_is_refused(self, gap):
        with pytest.raises(ParameterError, match=r"a gap must be \(start, end\) or \(start, end, channels\), got"):
            as_gap(gap)


class TestFiles:
    @staticmethod
    def write(folder, name, text, encoding="utf-8"):
        path = folder / name
        path.write_bytes(text.encode(encoding))
        return path

    def test_labels_of_audacity_are_read(self, tmp_path):
        lines = ("7.0\t7.25\tx \u00e9", "1.0\t1.500\t", "\\\t200.0\t3000.0", "2.0\t2.0\ta mark", "", "3,5\t3,75", "")
        text = "\r\n".join(lines)
        path = self.write(tmp_path, "labels.txt", text, "utf-8-sig")
        assert read_gaps(path) == [Gap(1.0, 1.5), Gap(3.5, 3.75), Gap(7.0, 7.25)]

    @pytest.mark.parametrize(
        "content",
        [
            [[3, 3.5], [1.0, 2.0]],
            [{"start_s": 3, "end_s": 3.5}, {"start_s": 1, "end_s": 2, "kind": "zeros", "channels": None}],
            {"cutoff_hz": None, "gaps": [[1, 2], [3, 3.5]]},
            [{"path": "a.wav", "gaps": [[1, 2], [3, 3.5]]}],
        ],
    )
    def test_json_is_read_in_every_form(self, tmp_path, content):
        assert read_gaps(self.write(tmp_path, "gaps.JSON", json.dumps(content))) == [Gap(1.0, 2.0), Gap(3.0, 3.5)]

    def test_json_may_name_channels(self, tmp_path):
        content = [{"start_s": 1, "end_s": 2, "channels": [1]}, [1.5, 3, [0]]]
        path = self.write(tmp_path, "gaps.json", json.dumps(content))
        assert read_gaps(path) == [Gap(1.0, 2.0, (1,)), Gap(1.5, 3.0, (0,))]

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            (
                "a.txt",
                "1.0\t2.0\tx\n3.0 4.0\n",
                r"a\.txt, line 2: a label must be start, end and text.*got '3\.0 4\.0'",
            ),
            ("a.txt", "1.0\t1.0\tx\n", r"must have a label that spans a time, got 1 of a point only"),
            ("a.txt", "", r"a\.txt: there must be at least one gap"),
            ("a.txt", "2\t1\tx", r"a\.txt: a gap must end after its start, got 2-1 s"),
            ("a.json", "[[1, 2],\n [3", r"a\.json, line 2: this is no JSON"),
            ("a.json", '{"start": 1}', r'must hold a list of gaps, or an object with one as its "gaps"'),
            ("a.json", '[{"start": 1}]', r'gap 1 must be \[start, end\] or \{"start_s".*got \{"start": 1\}'),
            ("a.json", '[[1, 2], ["1", 3]]', r"gap 2 must be \[start, end\]"),
            ("a.json", "[[1, 2, [0.5]]]", r"gap 1: a gap must be \(start, end\)"),
            ("a.json", "[[1, 2], [1.5, 3]]", r"a\.json: gaps must not overlap"),
        ],
    )
    def test_what_is_of_another_form_is_named_with_its_place(self, tmp_path, name, text, message):
        with pytest.raises(ParameterError, match=message):
            read_gaps(self.write(tmp_path, name, text))

    def test_what_cannot_be_read_is_named(self, tmp_path):
        with pytest.raises(ParameterError, match=r"none\.txt cannot be read as a list of gaps: No such file"):
            read_gaps(tmp_path / "none.txt")
        with pytest.raises(ParameterError, match="cannot be read as a list of gaps: it is no text in UTF-8"):
            read_gaps(self.write(tmp_path, "latin.txt", "1\t2\t\u00e9", "latin-1"))

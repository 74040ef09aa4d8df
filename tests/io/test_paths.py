"""Nothing is lost by the name of what is written: not a source, not another output, not what is there already."""

import os

import pytest

from masktools.core.errors import ParameterError
from masktools.io import check_places, paths


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "take.wav"
    path.write_bytes(b"the only copy")
    return path


def hard_link(source):
    link = source.with_name("hard.wav")
    os.link(source, link)
    return link


def soft_link(source):
    link = source.with_name("soft.wav")
    link.symlink_to(source.name)
    return link


def way_round(source):
    (source.parent / "folder").mkdir()
    return source.parent / "folder" / ".." / source.name


def through_a_linked_folder(source):
    (source.parent / "there").symlink_to(source.parent)
    return source.parent / "there" / source.name


@pytest.mark.parametrize("named", [hard_link, soft_link, way_round, through_a_linked_folder, lambda source: source])
def test_a_source_is_no_output_under_any_name(source, named):
    with pytest.raises(ParameterError, match=r"a file of its own, got .* for two files: .*take\.wav is read"):
        check_places([named(source)], [source], overwrite=True)


def test_two_outputs_are_never_one_file(tmp_path):
    (tmp_path / "link.wav").symlink_to("new.wav")
    for twin in (tmp_path / "new.wav", tmp_path / "link.wav", tmp_path / "not there" / ".." / "new.wav"):
        with pytest.raises(ParameterError, match="each output must be a file of its own"):
            check_places([tmp_path / "new.wav", twin])
    check_places([tmp_path / "new.wav", tmp_path / "new" / "new.wav"])


@pytest.mark.parametrize("pair", [("Take.wav", "take.WAV"), ("caf\u00e9.wav", "cafe\u0301.wav")])
def test_names_that_differ_in_case_alone_are_one_where_the_disk_says_so(tmp_path, monkeypatch, pair):
    outputs = [tmp_path / "later" / name for name in pair]
    monkeypatch.setattr(paths, "_is_case_blind", lambda folder: True)
    with pytest.raises(ParameterError, match=r"for two files: .* is the same name on this disk"):
        check_places(outputs)
    monkeypatch.setattr(paths, "_is_case_blind", lambda folder: False)
    check_places(outputs)


def test_a_disk_is_asked_about_case_without_a_trace(tmp_path):
    blind = paths._is_case_blind(tmp_path)
    assert blind == ((tmp_path / "a").touch() or (tmp_path / "A").exists())
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_there_is_replaced_only_when_that_is_asked_for(source):
    with pytest.raises(ParameterError, match=r"take\.wav is there already: say --overwrite to replace it"):
        check_places([source])
    with pytest.raises(ParameterError, match=r"1 of 2 results are there already, .*take\.wav first"):
        check_places([source, source.with_name("new.wav")])
    check_places([source], overwrite=True)
    check_places([source], ours=lambda output: output == source)


def test_notes_are_no_outputs(source):
    with pytest.raises(ParameterError, match="a file of its own"):
        check_places([source], notes=[source], overwrite=True)
    check_places([source.with_name("new.wav")], notes=[source])


def test_a_link_that_leads_nowhere_is_written_through_and_one_to_itself_is_refused(tmp_path):
    (tmp_path / "a.wav").symlink_to("b.wav")
    check_places([tmp_path / "a.wav"])
    (tmp_path / "b.wav").symlink_to("a.wav")
    with pytest.raises(ParameterError, match="a link that leads to itself"):
        check_places([tmp_path / "a.wav"])

"""The golden run repeats itself, and names what differs."""

import pytest

from tests.golden.recordings import write_recordings
from tests.golden.run import differences, run_case


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    write_recordings(folder)
    return folder


def test_a_command_that_runs_twice_has_the_same_digests(recordings):
    first, again = (run_case("inpaint-burg", recordings, None) for _ in range(2))
    assert set(first["files"]) == {"out.wav"}
    assert first["said"][0]["code"] == 0
    assert differences(first, again) == []


def test_another_fill_is_a_difference_that_is_named(recordings):
    burg, linear = (run_case(f"inpaint-{method}", recordings, None) for method in ("burg", "linear"))
    changed = {line.split(":")[0] for line in differences(burg, linear, "case")}
    assert "case/files/out.wav/exact" in changed
    assert "case/files/out.wav/shape" not in changed

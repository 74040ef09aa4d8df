import json
from dataclasses import replace

import pytest

from probes.protocol import ProtocolSettings, probe
from probes.table import Published, to_json, to_markdown
from probes.vectors import LeftOut
from tests.probes.toys import silent, tagged, telling, vectors_of_layers


@pytest.fixture(scope="module")
def results():
    data = tagged(150)
    settings = ProtocolSettings(n_seeds=2, n_resamples=20, max_epochs=3)
    ours = vectors_of_layers(data, silent(data), telling(data), name="ours")
    ours = replace(ours, left_out=(LeftOut("k999", "no audio"),))
    return [probe(ours, data, settings), probe(vectors_of_layers(data, silent(data), name="noise"), data, settings)]


PUBLISHED = [Published("somebody's | model", 91.5, None, "another probe")]


def test_the_table_shows_ours_with_spread_and_intervals_beside_the_published_with_their_protocol(results):
    text = to_markdown(results, PUBLISHED, {"command": "python -m probes.run"})
    lines = text.splitlines()
    first = next(line for line in lines if line.startswith("| ours |"))
    score = results[0].scores["roc_auc"]
    assert f"| {100 * score.mean:.1f} ± {100 * score.std:.1f} [{100 * score.over_clips.low:.1f}, " in first
    assert first.count("[") == 4  # clips and groups, for two scores
    assert "| 6 of 6 | 30 |" in first
    assert "| somebody's / model | 91.5 |  | another probe |" in lines
    assert any(line.endswith("| chosen |") for line in lines)
    assert "- left out of ours: 1 clips that could not be read" in lines
    assert "- data: a toy" in lines
    assert "- command: python -m probes.run" in lines


def test_every_row_of_a_table_has_as_many_cells_as_its_head(results):
    width = None
    for line in to_markdown(results, PUBLISHED).splitlines():
        if not line.startswith("|"):
            width = None
            continue
        width = width or line.count("|")
        assert line.count("|") == width


def test_json_holds_everything(results):
    told = json.loads(json.dumps(to_json(results, PUBLISHED, {"command": "x"}), allow_nan=False))
    assert told["results"][0]["left_out"] == [{"key": "k999", "reason": "no audio"}]
    assert told["results"][1]["name"] == "noise"
    assert told["published_percent"][0]["protocol"] == "another probe"
    assert told["run"] == {"command": "x"}

"""The demonstration says in plain words what was measured, also where it is not to its credit."""

import pytest

from masktools.demo.tables import COPIED_UP, COPY, EMPTY, OURS, all_tables, sentences


def gap(method, envelope_db, start_s=1.0):
    of_gap = {"recording": "rain", "start_s": start_s, "end_s": start_s + 0.4, "method": method}
    return of_gap | {"envelope_db": envelope_db, "lsd_db": 8.0, "level_error_db": -1.0, "seam_db": 2.0, "n_changed": 0}


def band(method, lsd_db, bias_db=0.0):
    of_band = {"recording": "rain", "cutoff_hz": 4000.0, "method": method, "lsd_high_db": lsd_db, "lsd_low_db": 0.0}
    levels = {"high_level_db": -40.0, "high_level_true_db": -35.0}
    return of_band | levels | {"envelope_rms_db": 3.0, "envelope_bias_db": bias_db}


def sound(prompt, centroid_hz, agreement=None):
    features = {"level_db": -20.0, "centroid_hz": centroid_hz, "flatness": 0.1, "unsteadiness_db": 3.0}
    return features | {"name": f"{prompt}, 1", "prompt": prompt, "agreement": agreement}


def neighbour(name, half_of, nearest_half_of):
    of_nearest = {"nearest": "another", "nearest_half_of": nearest_half_of, "cosine": 0.9}
    return {"name": name, "half_of": half_of, "second": "a third", "second_cosine": 0.1} | of_nearest


@pytest.fixture
def report():
    return {
        "gaps": [
            gap(EMPTY, 20.0),
            gap(COPY, 8.0),
            gap(OURS, 9.0),
            gap(EMPTY, 10.0, 3.0),
            gap(COPY, 12.0, 3.0),
            gap(OURS, 11.0, 3.0),
        ],
        "restored": [
            {
                "recording": "music",
                "lost_s": [[0.7, 0.712], [2.0, 2.4]],
                "found_s": [[0.7, 0.712], [2.0, 2.41]],
                "cutoff_hz": 4000.0,
                "found_hz": 4100.0,
                "n_changed": 0,
            },
            {
                "recording": "rain",
                "lost_s": [[0.7, 0.712]],
                "found_s": [],
                "cutoff_hz": 4000.0,
                "found_hz": None,
                "n_changed": 0,
            },
        ],
        "bands": [band(EMPTY, 18.0, -40.0), band(COPIED_UP, 9.0, 1.0), band(OURS, 7.0, -2.25)],
        "sounds": [
            sound("Rain.", 4000, {"Rain.": 0.5, "A tune.": 0.1}),
            sound("A tune.", 900, {"Rain.": 0.4, "A tune.": 0.2}),
        ],
        "neighbours": [
            neighbour("music, 1st half", "music", "music"),
            neighbour("music, 2nd half", "music", None),
            neighbour("Rain, 1", None, "music"),
        ],
        "speed": [{"job": "inpaint", "audio_s": 20.0, "n_tokens": 100, "wall_s": 5.0}],
    }


def test_wins_and_losses_are_counted(report):
    gaps, bands, _, _, _ = sentences(report)
    assert "than silence in 1 of 2, than the best copy in 1 of 2" in gaps
    assert "(median distance in dB: masktools 10.0, silence 15.0, the best copy 10.0)" in gaps
    assert "than leaving it empty in 1 of 1, than copying up in 1 of 1" in bands
    assert bands.endswith("the level there is off by -2.2 dB.")


def test_only_gaps_found_to_the_millisecond_and_cutoffs_within_a_twentieth_count(report):
    assert sentences(report)[2] == (
        "Looked through: 1 of 3 gaps found to the millisecond, and 1 of 2 cutoffs within 5 %."
    )


def test_sounds_are_told_apart_by_their_spectra_and_by_the_encoder(report):
    said = sentences(report)[3]
    assert 'at 4000 Hz for "Rain." and at 900 Hz for "A tune."' in said
    assert "1 of 2 sounds nearest to their own text" in said


def test_without_an_encoder_there_is_no_agreement(report):
    for row in report["sounds"]:
        row["agreement"] = None
    assert "encoder" not in sentences(report)[3]
    assert len(all_tables(report)["sounds"].columns) == 5


def test_only_halves_of_recordings_count_as_found(report):
    assert sentences(report)[4].startswith("Embeddings: 1 of 2 halves")


def test_rows_of_masktools_are_marked(report):
    made = all_tables(report)
    assert list(made) == ["gaps", "bands", "restored", "sounds", "neighbours", "speed"]
    assert made["gaps"].marked == (2, 5)
    assert made["gaps"].rows[2] == ("rain 1.00-1.40 s", OURS, "9.0", "8.0", "-1.0", "+2.0", "0")
    assert made["bands"].marked == (2,)
    assert made["sounds"].marked == made["speed"].marked == ()
    assert made["speed"].rows == (("inpaint", "20.0", "100", "5.0", "4.00"),)

"""Gates: what must hold of a model's figures, by how much it does, and where it does not."""

import pytest

from docs.model_gates import Gate, gates_of, gates_table
from masktools.core.errors import ParameterError
from masktools.evaluation.report import Figure, Report


def report(*figures):
    return Report("A report", {}, tuple(Figure(*f[:4], None, None, 5, *f[4:]) for f in figures))


def tokenizer(codes=950.0, perplexity=500.0, error=0.05):
    named = {"codes_used": codes, "perplexity": perplexity, "mel_l1": error}
    return report(*(("music", "tokenizer + vocoder", metric, value) for metric, value in named.items()))


def test_a_gate_tells_by_how_much_it_holds_or_fails():
    below, above = Gate("error", 0.05, "<=", 0.08), Gate("codes", 800, ">=", 900)
    assert below.holds
    assert below.margin == pytest.approx(0.03)
    assert not above.holds
    assert above.margin == -100
    assert not Gate("equal is not below", 1.0, "<", 1.0).holds
    table = gates_table([below, above])
    assert "| error | 0.05 | <= 0.08 | holds |" in table
    assert "| codes | 800 | >= 900 | fails by 100 |" in table


def test_the_tokenizer_must_use_its_codes_evenly_and_come_near():
    assert all(gate.holds for gate in gates_of({"tokenizer": tokenizer()}))
    assert [gate.holds for gate in gates_of({"tokenizer": tokenizer(codes=899, error=0.09)})] == [False, True, False]


def test_the_vocoder_must_be_nearer_than_griffin_lim():
    rows = [("music", method, metric, value) for method, value in (("vocoder", 1.0), ("griffin_lim_32", 2.0))
            for metric in ("stft_distance", "mel_l1")]  # fmt: skip
    assert [gate.holds for gate in gates_of({"vocoder": report(*rows)})] == [True, True]


def gaps(own=5.0, copied=6.0, onsets=0.8, fad=7.0):
    levels = {"default": own, "copy": copied, "spectral_noise": 8.0}
    sets = {"default": fad, "copy": 5.0, "spectral_noise": 90.0, "unprocessed": 200.0}
    rows = [("music", method, "third_octave_db", value, None, "372 ms") for method, value in levels.items()]
    rows.append(("music", "default", "onset_f", onsets, None, "372 ms"))
    for embedder in ("aisfx 499ea759", "own encoder of mini 8f82bb1e"):
        rows += [("music", method, "fad", value, embedder, "372 ms") for method, value in sets.items()]
    return report(*rows)


def test_a_fill_must_be_nearer_than_copy_and_noise_and_have_its_onsets():
    gates = gates_of({"inpaint": gaps()})
    assert len(gates) == 2 + 1 + 3
    assert all(gate.holds for gate in gates)
    lost = [gate.name for gate in gates_of({"inpaint": gaps(own=6.5, onsets=0.5)}) if not gate.holds]
    assert lost == ["gap 372 ms, music: third-octave error below copy", "gap 372 ms, music: onset F"]


def test_the_set_of_fills_may_be_a_little_further_off_than_copies_by_ears_that_are_not_the_model_s_own():
    found = {gate.name: gate for gate in gates_of({"inpaint": gaps(fad=7.6)}) if "FAD" in gate.name}
    assert [name for name, gate in found.items() if not gate.holds] == [
        "gap 372 ms, music: FAD (aisfx 499ea759) within 1.5 times copy's"
    ]
    assert not [name for name in found if "own encoder" in name]


def test_a_band_must_be_level_on_either_side():
    rivals = {"model": 4.0, "unprocessed": 20.0, "noise": 9.0, "replication": 8.0}
    rows = [("music", method, "third_octave_db", value, None, "above 4000 Hz") for method, value in rivals.items()]
    for bias, holds in ((-1.9, True), (-2.1, False), (2.1, False)):
        found = gates_of({"bwe": report(*rows, ("music", "model", "bias_db", bias, None, "above 4000 Hz"))})
        assert [gate.holds for gate in found] == [True, True, True, holds]


def test_only_real_recordings_count():
    found = gates_of({"tokenizer": tokenizer(), "inpaint": gaps()}, groups=["environment"])
    assert [gate.name for gate in found if "music" in gate.name] == []


def test_captions_must_be_found_far_above_chance():
    shares = {"model": 0.3, "chance": 0.1}
    rows = [("all, real", method, "caption_r1", share, "own", "") for method, share in shares.items()]
    rows.append(("all, real", "unconditional", "nearest_ratio", 0.5, "mel", ""))
    found = gates_of({"generate": report(*rows)})
    assert [gate.holds for gate in found] == [True, False]
    with pytest.raises(ParameterError, match="must have captions found again, it has none"):
        gates_of({"generate": report(("all, real", "model", "fad", 1.0))})


def test_a_figure_that_is_missing_is_named():
    with pytest.raises(ParameterError, match="perplexity"):
        gates_of({"tokenizer": report(("music", "tokenizer + vocoder", "codes_used", 1000.0))})

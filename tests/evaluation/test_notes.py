"""Measures of notes: what they say of real notes, of copies of one, and of noise; and the classifier behind them."""

import tarfile

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")

import lightning.pytorch as pl

from masktools.core.errors import CheckpointError, ParameterError
from masktools.evaluation.clips import Clip
from masktools.evaluation.embedders import MelStatistics
from masktools.evaluation.notes import (
    NoteClips,
    NoteSettings,
    evaluate_notes,
    note_scores,
    read_note_clips,
    spectrogram_errors,
)
from masktools.mel import MelConfig
from masktools.model import Model
from masktools.pipeline import ScaleWalk
from masktools.training.notes import NoteClassifierTraining, NoteData, load_note_classifier
from tests.networks.scales.small import tokenizer, transformer
from tests.training.nsynth import write_notes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notes")
    source = write_notes(folder / "notes", splits={"train": 24, "valid": 24, "test": 12})
    made = NoteData(str(folder / "cache"), [str(source)], n_frames=16, batch_size=8, open_share=0.0)
    made.prepare_data()
    return made


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    pl.seed_everything(0, verbose=False)
    module = NoteClassifierTraining(widths=(8, 16), n_steps=150, n_warmup=5, learning_rate=3e-3)
    trainer = pl.Trainer(
        max_steps=150,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_train_batches=100,  # an epoch ends and is validated before the last step
    )
    trainer.fit(module, data)
    path = tmp_path_factory.mktemp("classifier") / "last.ckpt"
    trainer.save_checkpoint(path)
    return str(path)


@pytest.fixture(scope="module")
def notes(data, checkpoint):
    """Return the spectrograms of all notes, their pitch and their family."""
    numbers = range(len(data.notes.notes))
    families = data.notes.words.config.families
    pitch = torch.tensor([data.notes.notes[n].pitch for n in numbers])
    family = torch.tensor([families.index(data.notes.notes[n].family) for n in numbers])
    return torch.stack([data.notes.mel(n) for n in numbers]), pitch, family


@pytest.mark.filterwarnings("ignore")
def test_a_classifier_is_stored_with_how_often_it_is_right(data, checkpoint, notes):
    classifier, mel = load_note_classifier(checkpoint)
    pitches, families = classifier.config.accuracy
    assert pitches > 0.7
    assert families > 0.9
    assert mel == MelConfig()
    mels, pitch, _ = notes
    guess = classifier.guess(mels, 7).pitch.argmax(1) + classifier.config.lowest
    held_out = torch.tensor([note.split == "valid" for note in data.notes.notes])
    assert pitches == pytest.approx((guess == pitch)[held_out].float().mean().item(), abs=1e-3), "of these weights"
    assert (guess == pitch).float().mean() > 0.7
    assert torch.allclose(classifier.guess(mels, 7).pitch, classifier.guess(mels).pitch, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_real_notes_are_as_good_as_real_ones_and_copies_and_noise_are_worse(checkpoint, notes):
    classifier, _ = load_note_classifier(checkpoint)
    mels, _, _ = notes
    sets = {"same": mels, "copies": mels[:1].expand(60, -1, -1), "noise": torch.rand_like(mels) - 1}
    found = note_scores(classifier, mels, sets, k=8)
    assert all(set(own) == {"PIS", "PKID", "IIS", "IKID", "NDB/k"} for own in found.values())
    assert abs(found["same"]["PKID"]) < 0.1 < found["copies"]["PKID"]
    assert found["same"]["PIS"] > 2
    assert found["copies"]["PIS"] == pytest.approx(1.0, abs=1e-6)
    assert found["same"]["NDB/k"] <= 0.25 < found["noise"]["NDB/k"]
    biased = note_scores(classifier, mels, {"same": mels}, k=8, biased=True)["same"]
    assert biased["PKID"] - found["same"]["PKID"] == pytest.approx(2 / 59)


def small_model(data):
    """Return a model over scales with random weights that knows the words of the notes."""
    words = data.notes.words
    return Model(ScaleWalk(MelConfig(n_mels=16), tokenizer(), transformer(condition_dim=words.dim), None, words))


@pytest.mark.filterwarnings("ignore")
def test_notes_of_a_model_are_measured_beside_real_ones(data, checkpoint, tmp_path):
    source = write_notes(tmp_path / "notes", splits={"train": 8, "valid": 8, "test": 16})
    model = small_model(data)
    clips = read_note_clips([source], model.sample_rate, 6000, "test")
    assert len(clips) == len(clips.notes) == 16
    assert all(len(clip.wave) == 6000 for clip in clips)
    settings = NoteSettings(checkpoint, guidance=(0.0, 1.5), k=3)
    report = evaluate_notes(model, clips, settings, [MelStatistics()])
    names = {"pitch_50c", "pitch", "family", "PIS", "IIS", "PKID", "IKID", "NDB/k", "FAD"}
    for method, case in (
        ("real", ""),
        ("reconstructed", ""),
        ("generated", "guidance 0"),
        ("generated", "guidance 1.5"),
    ):
        found = {one.metric: one for one in report.figures if (one.method, one.case) == (method, case)}
        assert set(found) - {"MSE", "MAE"} == names
        assert ("MSE" in found) == (method == "reconstructed")
        assert all(one.n == 8 for one in found.values())
    assert report.value("notes", "real", "pitch_50c") == 1.0
    assert report.value("notes", "real", "FAD") < report.value("notes", "generated", "FAD", "guidance 0")
    assert "real" in report.to_text()
    only = evaluate_notes(model, clips, NoteSettings(checkpoint, methods=("generated",), k=3))
    assert {figure.method for figure in only.figures} == {"generated"}


@pytest.mark.filterwarnings("ignore")
def test_notes_in_a_tar_are_the_same_clips(tmp_path):
    source = write_notes(tmp_path / "notes", splits={"train": 2, "valid": 2, "test": 4})
    place = next(one for one in source.iterdir() if "test" in one.name)
    packed = tmp_path / "nsynth-test.jsonwav.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(place, arcname="nsynth-test")
    folder, tar = (read_note_clips([one], 16_000, 4000, "test") for one in (place, packed))
    assert sorted(clip.name for clip in folder) == sorted(clip.name for clip in tar)
    by_name = {clip.name: clip.wave for clip in tar}
    assert all((by_name[clip.name] == clip.wave).all() for clip in folder)
    assert len(read_note_clips([source], 16_000, 4000, "all", n_each=1)) <= 11


def test_errors_of_spectrograms_are_in_their_unit():
    one = torch.zeros(2, 3, 4)
    assert spectrogram_errors(one, one + 0.5) == {"MSE": 0.25, "MAE": 0.5}
    with pytest.raises(ParameterError, match="one shape"):
        spectrogram_errors(one, one[:1])


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_measured_is_refused(checkpoint, data, notes, tmp_path):
    classifier, _ = load_note_classifier(checkpoint)
    with pytest.raises(ParameterError, match="4 reference spectrograms"):
        note_scores(classifier, notes[0][:3], {"these": notes[0]})
    few = NoteClips((Clip("one", np.zeros(4000, np.float32), 22_050, "notes"),) * 7, ())
    with pytest.raises(ParameterError, match="at least 8"):
        evaluate_notes(small_model(data), few)
    other = torch.load(checkpoint, weights_only=True)
    other["masktools"]["part"] = "tokenizer"
    torch.save(other, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="must hold a classifier of notes, got a tokenizer"):
        load_note_classifier(str(tmp_path / "other.ckpt"))

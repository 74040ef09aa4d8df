"""Measures of notes: what they say of real notes, of copies of one, and of noise; and the classifier behind them."""

import math

import pytest
import torch

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")

import lightning.pytorch as pl

from masktools.errors import CheckpointError, ParameterError
from masktools.evaluation.notes import note_scores, spectrogram_errors
from masktools.training.note_classifier import NoteClassifierTraining, load_note_classifier
from masktools.training.note_data import NoteData
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
        limit_train_batches=150,
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
def test_a_classifier_is_stored_with_how_often_it_is_right(checkpoint, notes):
    classifier, accuracy = load_note_classifier(checkpoint)
    assert set(accuracy) == {"pitch", "family"}
    assert accuracy["pitch"] > 0.7
    assert accuracy["family"] > 0.9
    mels, pitch, _ = notes
    right = (classifier.guess(mels, 7).pitch.argmax(1) + classifier.config.lowest == pitch).float().mean()
    assert right > 0.7
    assert torch.allclose(classifier.guess(mels, 7).pitch, classifier.guess(mels).pitch, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_real_notes_are_as_good_as_real_ones_and_copies_and_noise_are_worse(checkpoint, notes):
    classifier, _ = load_note_classifier(checkpoint)
    mels, pitch, family = notes
    same = note_scores(classifier, mels, mels, (pitch, family), (pitch, family), k=8)
    copies = note_scores(classifier, mels, mels[:1].expand(60, -1, -1), (pitch, family), (pitch, family), k=8)
    noise = note_scores(classifier, mels, torch.rand_like(mels) - 1, (pitch, family), (pitch, family), k=8)
    assert set(same) == {"PIS", "PKID", "IIS", "IKID", "NDB/k", "pitch", "family"}
    assert abs(same["PKID"].generated) < 0.1 < copies["PKID"].generated
    assert same["PIS"].generated > 2
    assert copies["PIS"].generated == pytest.approx(1.0, abs=1e-6)
    assert same["NDB/k"].generated <= 0.25 < noise["NDB/k"].generated
    assert same["pitch"].generated > 0.7 > noise["pitch"].generated
    assert same["pitch"].real > 0.6
    biased = note_scores(classifier, mels, mels, k=8, biased=True)
    assert biased["PKID"].generated - same["PKID"].generated == pytest.approx(1 / 29 + 1 / 59)
    assert "pitch" not in biased
    assert math.isnan(note_scores(classifier, mels, mels, (pitch, family), k=8)["pitch"].real)


def test_errors_of_spectrograms_are_in_their_unit():
    one = torch.zeros(2, 3, 4)
    assert spectrogram_errors(one, one + 0.5) == {"MSE": 0.25, "MAE": 0.5}
    with pytest.raises(ParameterError, match="one shape"):
        spectrogram_errors(one, one[:1])


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_measured_is_refused(checkpoint, notes, tmp_path):
    classifier, _ = load_note_classifier(checkpoint)
    with pytest.raises(ParameterError, match="4 reference spectrograms"):
        note_scores(classifier, notes[0][:3], notes[0])
    other = torch.load(checkpoint, weights_only=True)
    other["masktools"]["part"] = "tokenizer"
    torch.save(other, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="must hold a classifier of notes, got a tokenizer"):
        load_note_classifier(str(tmp_path / "other.ckpt"))

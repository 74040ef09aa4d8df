"""A sentence encoder becomes the text side of the text-audio encoder, whole."""

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="a teacher needs the extra masktools[clap]")

from masktools.core.errors import ParameterError
from masktools.mel import MelConfig
from masktools.networks.conditioning import JointEncoderConfig
from masktools.networks.conditioning.joint import MAX_PIECES
from masktools.training.checkpoints import load_conditioner
from masktools.training.text_distillation import (
    SentenceTeacher,
    TextDistillation,
    TextsData,
    build_library,
    compose_texts,
)
from tests.training.small import fit
from tests.training.teacher import WIDTH, write_teacher

pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = JointEncoderConfig(
    MelConfig(f_max=11_025.0), dim=8, text_hidden=8, widths=(4, 4, 8), text_depth=1, text_width=32, sentence_dim=WIDTH
)
WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdgkmnprst"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def texts(teacher, cache_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "words").write_text("\n".join(WORDS))
    given = (str(folder / "library"), str(cache_folder), teacher, None, str(folder / "words"))
    return TextsData(*given, n_composed=100, piece_dim=12, batch_size=64)


@pytest.fixture(scope="module")
def run(texts):
    return fit(TextDistillation(SMALL, n_steps=150, n_warmup=5, learning_rate=5e-3), None, 150, texts)


def test_a_teacher_says_unit_vectors_and_one_text_at_a_time_the_same(teacher):
    asked = SentenceTeacher(teacher)
    together = asked(["a dog", "rain"])
    torch.testing.assert_close(together.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(torch.cat([asked(["a dog"]), asked(["rain"])]), together)


def test_texts_that_were_held_out_are_said_as_the_teacher_says_them(run, texts, teacher):
    held_out = [texts.library.texts[int(number)] for number in texts._valid]
    wanted = SentenceTeacher(teacher)(held_out)
    alike = (1.0 - wanted @ wanted.T).square().mean()  # what it would cost to say the same of all texts
    assert run.callback_metrics["valid_geometry"] < 0.5 * alike
    assert run.callback_metrics["valid_cosine"] > 0.9


def test_the_vectors_of_the_pieces_are_stored_in_eight_bits(run, tmp_path):
    run.save_checkpoint(tmp_path / "last.ckpt")
    encoder = load_conditioner(str(tmp_path / "last.ckpt"))
    module = run.lightning_module
    row = encoder.tokens.vectors(torch.tensor([[3]]))[0, 0]
    torch.testing.assert_close(row, module.table[3].detach(), atol=0.05, rtol=0.05)
    assert encoder.tokens.codes.dtype == torch.int8
    assert encoder.embed_text(["a dog barking", "rain"]).shape == (2, 8)
    long = " ".join(["dog"] * 3 * MAX_PIECES)
    torch.testing.assert_close(encoder.embed_text([long]), encoder.embed_text([long + " rain"]))


def test_the_teacher_is_asked_once_and_what_was_asked_before_a_kill_is_not_asked_again(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr("masktools.training.text_distillation._BATCH", 1)
    asked, answer = [], SentenceTeacher.__call__

    def counted(self, texts):
        asked.extend(texts)
        if len(asked) == 70:
            raise KeyboardInterrupt
        return answer(self, texts)

    monkeypatch.setattr(SentenceTeacher, "__call__", counted)
    texts = WORDS[:80]
    with pytest.raises(KeyboardInterrupt):
        build_library(tmp_path / "library", teacher, texts, 12)
    library = build_library(tmp_path / "library", teacher, texts, 12)
    assert len(asked) == 70 + 16, "64 answers were kept"
    assert np.asarray(library.sentences).shape == (80, WIDTH)
    build_library(tmp_path / "library", teacher, texts, 12)
    assert len(asked) == 86
    with pytest.raises(ParameterError, match="a library of other texts"):
        build_library(tmp_path / "library", teacher, texts[:70], 12)


def test_texts_are_made_of_words_tags_prompts_and_captions():
    made = compose_texts(["sea_waves"], ["A dog barks."], {"dog": ["woof"]}, ["hound"], 30)
    assert {"hound", "sea waves", "woof", "A dog barks.", "barks"} <= set(made)
    assert len(made) > 30
    assert made == compose_texts(["sea_waves"], ["A dog barks."], {"dog": ["woof"]}, ["hound"], 30)
    assert made != compose_texts(["sea_waves"], ["A dog barks."], {"dog": ["woof"]}, ["hound"], 30, seed=1)


def test_what_is_no_teacher_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="no sentence encoder in no_such_package: give the folder of one"):
        SentenceTeacher("no_such_package")
    with pytest.raises(ParameterError, match=r"needs vocab.txt and config.json"):
        SentenceTeacher(str(tmp_path))


def test_a_text_side_without_layers_is_refused():
    with pytest.raises(ParameterError, match="give a text_depth of at least 1"):
        TextDistillation(JointEncoderConfig())

"""The contrastive training: what its losses reward, and that a run is repeatable and can be resumed."""

import numpy as np
import pytest
import torch

from masktools.errors import CheckpointError, ParameterError
from masktools.training.captioned_mels import Augmentation, CaptionedMel
from masktools.training.conditioning import (
    JointTrainingConfig,
    contrastive_loss,
    geometry_loss,
    train_joint_encoder,
)
from masktools.training.retrieval import (
    embed_mels,
    evaluate_retrieval,
    modality_gap,
    retrieval_scores,
    zero_shot_accuracy,
)
from tests.conditioning.conftest import small_encoder

QUICK = JointTrainingConfig(
    n_steps=30,
    batch_size=12,
    n_texts=4,
    learning_rate=1e-2,
    warm_up=3,
    evaluate_every=10,
    augmentation=Augmentation(n_frames=32, low_pass_share=0.0),
)
PROMPTS = {"dog": ["a dog barking"], "rain": ["the rain"], "violin": ["a violin"]}
BANDS = {"dog": slice(0, 25), "rain": slice(27, 52), "violin": slice(54, 80)}  # where each of them sounds


def recordings(n_each=4, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for split in ("train", "valid"):
        for name, band in BANDS.items():
            for _ in range(n_each):
                mel = rng.uniform(-0.9, -0.5, (40, 80)).astype(np.float16)
                mel[:, band] += 0.9
                found.append(CaptionedMel(mel, frozenset({name, "effect"}), f"A {name}.", "effect", split))
    return found


def trained(config=QUICK, **options):
    encoder = small_encoder(dropout=0.1)
    return encoder, train_joint_encoder(encoder, recordings(), PROMPTS, config, **options)


@pytest.fixture(scope="module")
def result():
    return trained()


def test_training_teaches_texts_to_find_their_sounds(result):
    encoder, score = result
    before = evaluate_retrieval(small_encoder(), recordings()[12:])
    assert score.mean_average_precision > max(0.9, before.mean_average_precision + 0.1)
    assert zero_shot_accuracy(encoder, recordings(), {name: [name] for name in BANDS}) == (1.0, 24)
    assert not encoder.training


def test_training_is_repeatable_whatever_was_drawn_before(result):
    torch.rand(5)
    again, score = trained()
    assert score == result[1]
    for name, value in again.state_dict().items():
        assert torch.equal(value, result[0].state_dict()[name]), name


def test_an_interrupted_run_ends_as_an_uninterrupted_one(result, tmp_path):
    class StoppedError(Exception):
        pass

    def stop(step, loss, score):
        if step == 20:
            raise StoppedError

    with pytest.raises(StoppedError):
        trained(checkpoint=tmp_path / "run.pt", progress=stop)
    encoder, score = trained(checkpoint=tmp_path / "run.pt")
    assert score == result[1]
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, result[0].state_dict()[name])


def test_a_checkpoint_of_other_settings_is_not_gone_on_with(tmp_path):
    few = JointTrainingConfig(n_steps=1, batch_size=4, n_texts=1, augmentation=QUICK.augmentation)
    trained(few, checkpoint=tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match="was written with other settings"):
        trained(QUICK, checkpoint=tmp_path / "run.pt")


def test_training_stops_when_it_gets_no_better():
    steps = []
    config = JointTrainingConfig(
        n_steps=50,
        batch_size=4,
        n_texts=1,
        learning_rate=1e-12,
        evaluate_every=1,
        patience=2,
        augmentation=QUICK.augmentation,
    )
    trained(config, progress=lambda step, *_: steps.append(step))
    assert len(steps) < 20


def test_both_splits_are_needed():
    only_train = [r for r in recordings() if r.split == "train"]
    with pytest.raises(ParameterError, match="splits train and valid, got 12 and 0 recordings"):
        train_joint_encoder(small_encoder(), only_train, PROMPTS, QUICK)


def test_a_second_true_text_is_drawn_to_its_sound_and_not_pushed_away():
    sounds = torch.eye(3)[:2]
    both = torch.tensor([[True, True, False], [False, False, True]])
    one = torch.tensor([[True, False, False], [False, False, True]])

    def loss_with_second(second, true):
        texts = torch.tensor([[1.0, 0.0, 0.0], second, [0.0, 1.0, 0.0]])
        return contrastive_loss(sounds, texts, true, torch.ones(3), 0.1)

    near, far = [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]
    assert loss_with_second(near, both) < loss_with_second(far, both)
    assert loss_with_second(near, one) > loss_with_second(far, one)


def test_the_loss_of_one_positive_each_is_the_usual_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    sounds, texts = (torch.nn.functional.normalize(torch.randn(5, 8, generator=generator), dim=1) for _ in range(2))
    logits = sounds @ texts.T / 0.07
    usual = torch.nn.functional.cross_entropy
    expected = (usual(logits, torch.arange(5)) + usual(logits.T, torch.arange(5))) / 2
    loss = contrastive_loss(sounds, texts, torch.eye(5, dtype=torch.bool), torch.ones(5), 0.07)
    torch.testing.assert_close(loss, expected)


def test_a_text_that_is_true_of_no_sound_only_pushes():
    sounds = texts = torch.eye(3)[:2]
    spare = torch.cat([texts, torch.eye(3)[2:]])
    true = torch.tensor([[True, False, False], [False, True, False]])
    assert contrastive_loss(sounds, spare, true, torch.ones(3), 0.1).isfinite()


def test_a_turn_of_the_space_costs_no_geometry():
    vectors = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    assert geometry_loss(vectors, vectors @ turn) < 1e-10
    assert geometry_loss(vectors, vectors.roll(1, dims=0)) > 1e-3


def test_retrieval_is_scored_by_rank():
    similarity = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
    relevant = torch.tensor([[True, False, True], [False, True, False]])
    scores = retrieval_scores(similarity, relevant)
    assert scores.mean_average_precision == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert scores.recall_at_1 == 0.5
    assert scores.recall_at_10 == 1.0
    assert (scores.n_texts, scores.n_sounds) == (2, 3)


def test_a_text_must_be_true_of_something():
    with pytest.raises(ParameterError, match="true of none"):
        retrieval_scores(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool))


def test_recordings_of_several_classes_are_not_judged():
    encoder = small_encoder()
    double = CaptionedMel(np.zeros((32, 80), np.float16), frozenset({"dog", "rain"}), "", "effect", "test")
    with pytest.raises(ParameterError, match="exactly one of the tags dog, rain"):
        zero_shot_accuracy(encoder, [double], {"dog": ["dog"], "rain": ["rain"]})


def test_recordings_embed_whole():
    assert embed_mels(small_encoder(), recordings()[:2]).shape == (2, 8)


def test_the_gap_is_the_distance_of_the_means():
    assert modality_gap(torch.eye(2), torch.eye(2)) == 0.0
    assert modality_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])) == 2.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"geometry": -1.0}, "geometry must not be negative"),
        ({"mix_share": 1.5}, r"mix_share must lie in \[0, 1\], got 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        JointTrainingConfig(**wrong)

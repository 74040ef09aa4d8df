"""The contrastive training: what its losses reward, and that what is trained is a part for a bundle."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from masktools.core.configs import to_dict
from masktools.core.errors import ParameterError
from masktools.pipeline.bundles import stored_part
from masktools.pipeline.hub import save_bundle
from masktools.training.captioned_mels import Augmentation, CaptionedMel
from masktools.training.checkpoints import load_conditioner, load_joint_encoder
from masktools.training.conditioning import (
    ConditionerTraining,
    SoundTextData,
    evaluate_retrieval,
    retrieval_scores,
    zero_shot_accuracy,
)
from masktools.training.losses import contrastive_loss, geometry_loss
from tests.networks.conditioning.conftest import small_encoder
from tests.tiny import tiny_pipeline
from tests.training.small import fit

pytestmark = pytest.mark.filterwarnings("ignore")

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


class Sounds(SoundTextData):
    """Steps of made-up recordings, without a cache."""

    def setup(self, stage=None):
        for name in ("train", "valid"):
            setattr(self, name, [r for r in recordings() if r.split == name])
        self.collect()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A file with a text side to begin with."""
    folder = tmp_path_factory.mktemp("start")
    encoder = small_encoder(dropout=0.1)
    told = {"part": "conditioner", "kind": "joint", "config": to_dict(encoder.config)}
    told["mel"] = to_dict(encoder.config.mel)
    save_file(encoder.state_dict(), folder / "encoder.safetensors", metadata={"masktools": json.dumps(told)})
    return str(folder / "encoder.safetensors")


def trained(start, folder, n_steps=30, **options):
    """Train for some steps, and return the run."""
    for name, texts in (("prompts", PROMPTS), ("synonyms", {name: [f"the {name}"] for name in BANDS})):
        (folder / f"{name}.json").write_text(json.dumps(texts))
    module = ConditionerTraining(start, n_steps=30, learning_rate=1e-2, n_warmup=3, **options)
    calm = Augmentation(n_frames=32, low_pass_share=0.0)
    words = [str(folder / f"{name}.json") for name in ("prompts", "synonyms")]
    data = Sounds("", "", *words, module.front_end.config, batch_size=12, n_texts=4, augmentation=calm)
    return fit(module, None, n_steps, data)


@torch.no_grad()
def embedded(encoder, heard):
    rows = [torch.from_numpy(recording.mel.astype("float32").T)[None] for recording in heard]
    return torch.cat([encoder.eval().encode_mel(mel) for mel in rows])


@pytest.fixture(scope="module")
def run(start, tmp_path_factory):
    return trained(start, tmp_path_factory.mktemp("run"))


def test_training_teaches_texts_to_find_their_sounds(run):
    encoder, figures = run.lightning_module.net.eval(), run.callback_metrics
    before = evaluate_retrieval(small_encoder(), recordings()[12:], embedded(small_encoder(), recordings()[12:]))
    assert figures["valid_map"] > max(0.9, before.mean_average_precision + 0.1)
    assert figures["valid_synonyms"] == 1.0
    sounds = embedded(encoder, recordings())
    assert zero_shot_accuracy(encoder, recordings(), {name: [name] for name in BANDS}, sounds) == (1.0, 24)


def test_the_texts_of_training_are_remembered(run, tmp_path):
    encoder, phrases = run.lightning_module.net, run.datamodule.phrases
    assert encoder.config.n_remembered == len(encoder.memory.codes) > len(BANDS)
    read = encoder.read([phrase.text for phrase in phrases])
    nearest = encoder.memory(read)[1][:, 0]
    torch.testing.assert_close(nearest, read, atol=0.05, rtol=0)
    run.save_checkpoint(tmp_path / "last.ckpt")
    further = trained(str(tmp_path / "last.ckpt"), tmp_path, 1).lightning_module.net
    assert torch.equal(further.memory.codes, encoder.memory.codes)
    anew = ConditionerTraining(str(tmp_path / "last.ckpt"), new_ears=True)
    assert anew.net.memory is None


def test_training_is_repeatable_whatever_was_drawn_before(run, start, tmp_path):
    torch.rand(5)
    again = trained(start, tmp_path).lightning_module.net.state_dict()
    for name, value in run.lightning_module.net.state_dict().items():
        assert torch.equal(value, again[name]), name


def test_what_is_trained_is_read_wherever_an_encoder_is_wanted(run, tmp_path):
    run.save_checkpoint(tmp_path / "last.ckpt")
    encoder = load_conditioner(str(tmp_path / "last.ckpt"))
    texts = ["a dog", "rain"]
    torch.testing.assert_close(encoder.embed_text(texts), run.lightning_module.net.eval().embed_text(texts))


def test_a_bundle_gives_the_encoder_to_begin_with(tmp_path):
    folder = save_bundle(tiny_pipeline(), tmp_path / "tiny", "# tiny")
    module = ConditionerTraining(str(folder))
    given = stored_part(folder, "conditioner")[1]
    assert all(torch.equal(value, module.net.state_dict()[name]) for name, value in given.items())
    assert load_joint_encoder(str(folder)).config == module.net.config


def test_new_ears_keep_the_text_side_alone(start):
    module, given = ConditionerTraining(start, new_ears=True, encoder={"widths": [4, 4, 8]}), small_encoder()
    assert torch.equal(module.net.tokens.codes, given.tokens.codes)
    assert module.net.config.widths == (4, 4, 8)
    with pytest.raises(ParameterError, match="unless new_ears is true"):
        ConditionerTraining(start, encoder={"widths": [4, 4, 8]})
    with pytest.raises(ParameterError, match="temperature must be positive, got 0"):
        ConditionerTraining(start, temperature=0.0)


def test_both_splits_are_needed(cache_folder, tmp_path, start):
    data = SoundTextData(str(cache_folder), str(tmp_path), mel=ConditionerTraining(start).front_end.config)
    data.setup()
    assert len(data.train) == 6
    data.train = []
    with pytest.raises(ParameterError, match="splits train and valid, got 0 and 2 recordings"):
        data.collect()


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
        zero_shot_accuracy(encoder, [double], {"dog": ["dog"], "rain": ["rain"]}, torch.zeros(1, 8))

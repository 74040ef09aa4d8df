"""Training of token streams: what is learned, what hears nothing of it, a run that was stopped, and the bundle."""

from pathlib import Path

import numpy as np
import pytest
import torch

import masktools
from masktools.cli.main import main
from masktools.cli.parts import write_part
from masktools.mel import MelConfig
from masktools.networks.grain import GrainConfig
from masktools.networks.tokenizer import token_fingerprint
from masktools.networks.vocoder import LightVocoder, LightVocoderConfig
from masktools.training.checkpoints import network_state, part_description
from masktools.training.grain import GrainTraining
from masktools.training.masking import span_masks
from masktools.training.run import run_recipe
from masktools.training.token_streams import stage_loss
from masktools.training.tokenizer import DecoderTraining
from tests.pipeline.streams.small import transformer
from tests.training.conftest import cache_folder, manifest  # noqa: F401
from tests.training.small import fit

TINY = Path(__file__).parents[2] / "recipes" / "tiny"
pytestmark = pytest.mark.filterwarnings("ignore")


def clip(seed=0):
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 16, (4, 3, 24), generator=draw)
    noise = torch.rand(4, 24, generator=draw, dtype=torch.float64)
    return tokens, span_masks(torch.full((4,), 0.5, dtype=torch.float64), noise, 3)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_step_teaches_one_stream_by_its_masked_columns_and_the_coarser_streams(stage):
    net, (tokens, mask) = transformer(), clip()
    stage_loss(net, tokens, stage, mask).backward()
    for stream, head in enumerate(net.heads):
        assert (head.weight.grad is not None) == (stream == stage)
    for stream, table in enumerate(net.streams):
        codes = table.weight.grad[:16].abs().sum()
        assert (codes > 0) == (stream <= stage), "codes of finer streams are hidden"
    changed = tokens.clone()
    changed[:, stage + 1 :] = 0
    assert torch.equal(stage_loss(net, changed, stage, mask), stage_loss(net, tokens, stage, mask))


def test_a_batch_is_learned_by_heart():
    net, (tokens, mask) = transformer(width=32, n_heads=4), clip()
    optimiser = torch.optim.AdamW(net.parameters(), 5e-3)
    losses = []
    for step in range(90):
        optimiser.zero_grad()
        loss = stage_loss(net, tokens, step % 3, mask)
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert np.mean(losses[-3:]) < 0.25 * np.mean(losses[:3])


@pytest.fixture(scope="module")
def place(tmp_path_factory, cache_folder):  # noqa: F811
    """Return a folder in which the tiny recipes of token streams have run."""
    folder = tmp_path_factory.mktemp("streams")
    (folder / "cache").symlink_to(cache_folder, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_recipe(TINY / "codec.yaml")
        run_recipe(TINY / "streams.yaml")
        run_recipe(TINY / "prior.yaml")
    return folder


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.parametrize("name", ["codec", "streams", "prior"])
def test_a_run_that_was_stopped_and_resumed_learns_what_one_run_does(place, monkeypatch, tmp_path, name):
    monkeypatch.chdir(place)
    recipe, again = TINY / f"{name}.yaml", tmp_path / "recipe.yaml"
    again.write_text(recipe.read_text().replace(f"dirpath: runs/tiny-{name}", f"dirpath: {tmp_path}"))
    run_recipe(again, ["--trainer.max_steps", "3"])
    report = run_recipe(again, resume=True)
    assert report.finished
    one, two = weights(place / f"runs/tiny-{name}/last.ckpt"), weights(tmp_path / "last.ckpt")
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert torch.equal(value, two[key]), key


def test_stage_b_of_a_codec_moves_its_decoder_and_leaves_every_token_as_it_was(place, cache_folder, tmp_path):  # noqa: F811
    codec, mel = str(place / "runs/tiny-codec/last.ckpt"), MelConfig()
    module = DecoderTraining(codec, mel, n_steps=3, n_warmup=1, n_discriminator_only=1, discriminator_width=4)
    fit(module, cache_folder, 6).save_checkpoint(tmp_path / "b.ckpt")
    told, before, after = (
        part_description(tmp_path / "b.ckpt"),
        network_state(codec),
        network_state(tmp_path / "b.ckpt"),
    )
    assert (told["part"], told["kind"]) == ("codec", "mel_rvq")
    assert token_fingerprint(after) == token_fingerprint(before)
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


def test_grain_is_learned_beside_a_codec(place, cache_folder):  # noqa: F811
    module = GrainTraining(str(place / "runs/tiny-codec/last.ckpt"), GrainConfig(width=4), n_steps=4, n_warmup=1)
    assert torch.isfinite(fit(module, cache_folder, 4).callback_metrics["valid_nats"])


def test_trained_parts_become_a_bundle_that_generates(place, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(place)
    (tmp_path / "card.md").write_text("# tiny streams\n\nFour steps.")
    parts = ["runs/tiny-codec/last.ckpt", "runs/tiny-streams/last.ckpt"]
    rest = ["--card", str(tmp_path / "card.md"), "-o", str(tmp_path / "tiny")]
    assert main(["bundle", parts[1], *rest]) == 2
    assert "a model needs a codec: give them, or --base" in capsys.readouterr().err
    mel, vocoder = MelConfig(), tmp_path / "vocoder.safetensors"
    write_part(vocoder, LightVocoder(LightVocoderConfig(width=16, depth=1), mel), mel)
    assert main(["bundle", *parts, "runs/tiny-prior/last.ckpt", str(vocoder), *rest]) == 0
    model = masktools.load(tmp_path / "tiny", device="cpu")
    (made,) = model.generate(seconds=0.4, n_steps=2, solver="prior_start=0.5")
    assert np.isfinite(made.samples).all()
    assert type(model.pipeline.prior).__name__ == "DelayedPrior"

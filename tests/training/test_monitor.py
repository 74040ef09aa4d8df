"""What one sees of a run: its line of progress, its samples in TensorBoard, its report."""

import io

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from masktools.core.errors import MelMismatchError, ParameterError
from masktools.mel import MelConfig
from masktools.networks.transformer import TransformerConfig
from masktools.networks.vocoder import LightVocoderConfig
from masktools.training.clips import AudioData
from masktools.training.monitor import Figure, MonitorSamples, ProgressLine, RunHistory, RunReport, mel_picture
from masktools.training.tokenizer import TokenizerTraining
from masktools.training.transformer import TransformerTraining
from masktools.training.vocoder import VocoderTraining
from tests.training.small import TOKENIZER
from tests.training.toys import MelToy

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
N_FRAMES = 32


class Terminal(io.StringIO):
    def isatty(self):
        return True


def fit(module, data, callbacks, logger=False, n_steps=2, every=2):
    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=n_steps,
        limit_train_batches=n_steps,
        val_check_interval=every,
        logger=logger,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=any(isinstance(c, ProgressLine) for c in callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, data)
    return trainer


def transformer(stage_a):
    small = TransformerConfig(n_codes=16, n_cols=2, width=16, depth=1, n_heads=2, condition_dim=4)
    return TransformerTraining(str(stage_a), transformer=small, n_steps=4, n_warmup=1)


def written(folder):
    """Return the tags of pictures, sounds and figures in the TensorBoard files of a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"images": 0, "audio": 0}).Reload().Tags()
    return set(found["images"]), set(found["audio"]), set(found["scalars"])


def audio(cache_folder):
    return AudioData(str(cache_folder), n_samples=8192, batch_size=2, n_valid_clips=2)


@pytest.fixture
def logger(tmp_path):
    return TensorBoardLogger(str(tmp_path), name="", version="")


def test_a_transformer_is_seen_and_heard_generating_and_filling(stage_a, logger, tmp_path):
    fit(transformer(stage_a), MelToy(n_frames=N_FRAMES, dim=4), [MonitorSamples(n_clips=1, n_decoding_steps=2)], logger)
    pictures, sounds, figures = written(tmp_path)
    shown = {"unconditional/0", "conditioned/0", "filled/0"}
    assert pictures == shown
    assert sounds == shown | {"original/0"}
    assert {"samples/filled_accuracy", "samples/unconditional_codes_used", "valid_accuracy_25"} <= figures


def test_a_tokenizer_is_seen_and_heard_reconstructing(cache_folder, logger, tmp_path):
    module = TokenizerTraining(TOKENIZER, n_steps=8, n_warmup=1, n_unquantised=1, n_placing_vectors=64)
    fit(module, audio(cache_folder), [MonitorSamples(n_clips=2)], logger, n_steps=3, every=3)
    pictures, sounds, _ = written(tmp_path)
    assert pictures == {"reconstruction/0", "reconstruction/1"}
    assert sounds == {"original/0", "original/1", "reconstruction/0", "reconstruction/1"}


def test_a_vocoder_is_seen_and_heard_rendering(cache_folder, logger, tmp_path):
    module = VocoderTraining(LightVocoderConfig(width=16, depth=1), n_steps=4, n_spectral=2, n_warmup=1)
    fit(module, audio(cache_folder), [MonitorSamples(n_clips=1)], logger, every=1)
    pictures, sounds, _ = written(tmp_path)
    assert pictures == {"rendered/0"}
    assert sounds == {"original/0", "rendered/0"}


def test_samples_that_fail_are_warned_of_once_and_the_run_goes_on(stage_a, logger, monkeypatch):
    def broken(*_):
        raise RuntimeError("no sound today")

    monkeypatch.setattr("masktools.training.monitor.samples_of", broken)
    monitor = MonitorSamples()
    with pytest.warns(UserWarning, match="no samples are shown from here on: RuntimeError: no sound today"):
        trainer = fit(transformer(stage_a), MelToy(n_frames=N_FRAMES, dim=4), [monitor], logger, every=1)
    assert trainer.global_step == 2


def test_samples_change_nothing_of_the_run(stage_a, logger):
    data = MelToy(n_frames=N_FRAMES, dim=4)
    torch.manual_seed(0)
    alone = fit(transformer(stage_a), data, [], logger=False, every=1)
    torch.manual_seed(0)
    watched = fit(transformer(stage_a), data, [MonitorSamples(n_decoding_steps=2)], logger, every=1)
    assert watched.callback_metrics["loss"] == alone.callback_metrics["loss"]


def test_samples_are_shown_only_every_so_many_steps(stage_a, logger, monkeypatch):
    shown = []
    monkeypatch.setattr("masktools.training.monitor.samples_of", lambda *_: shown.append(1) or [])
    fit(transformer(stage_a), MelToy(n_frames=N_FRAMES, dim=4), [MonitorSamples(3)], logger, n_steps=4, every=1)
    assert len(shown) == 2, "at steps 1 and 4"


def test_a_monitor_says_what_it_cannot_do(tmp_path):
    with pytest.raises(ParameterError, match="every_n_steps must be at least 1, got 0"):
        MonitorSamples(0)
    with pytest.raises(ParameterError, match="n_clips must be at least 1, got 0"):
        MonitorSamples(n_clips=0)


def test_a_vocoder_of_other_mel_settings_is_refused(cache_folder, stage_a, tmp_path):
    other = MelConfig(f_max=11025.0)
    module = VocoderTraining(LightVocoderConfig(width=16, depth=1), other, n_steps=2, n_spectral=1, n_warmup=1)
    path = tmp_path / "vocoder.ckpt"
    fit(module, audio(cache_folder), [], every=1).save_checkpoint(path)
    with pytest.raises(MelMismatchError, match="must be of the run's mel settings: f_max 8000 and 11025"):
        fit(transformer(stage_a), MelToy(n_frames=N_FRAMES, dim=4), [MonitorSamples(vocoder=str(path))])


def test_a_picture_shows_loud_cells_bright_and_low_bins_below():
    mel = torch.full((80, 3), -1.0)
    mel[0] = 1.0
    picture = mel_picture([mel, mel])
    assert picture.shape == (3, 2 * 160 + 4, 3)
    assert picture.dtype == torch.uint8
    brightness = picture.float().mean(dim=(0, 2))
    assert brightness[159] > 200
    assert brightness[0] < 10
    assert brightness[160:164].eq(255).all()


def test_pictures_of_unlike_spectrograms_are_refused():
    with pytest.raises(ParameterError, match="the spectrograms must be of one shape"):
        mel_picture([torch.zeros(80, 3), torch.zeros(80, 4)])


def test_a_log_file_gets_a_line_now_and_then_and_a_terminal_one_that_moves(stage_a):
    data = MelToy(n_frames=N_FRAMES, dim=4)
    file, terminal = io.StringIO(), Terminal()
    for stream in (file, terminal):
        fit(transformer(stage_a), data, [ProgressLine(stream, every_s=0.0)], n_steps=3, every=3)
    lines = file.getvalue().splitlines()
    assert lines[0].startswith("transformer masked: 0.0 M parameters on 1 x cpu")
    assert "step 2 of 3 (66.7%)" in lines[2]
    assert "left" in lines[2]
    assert "loss" in lines[2]
    assert "valid_25" in lines[-1]
    assert terminal.getvalue().count("\n") == 2, "what is trained, and at the end"
    assert "\r" in terminal.getvalue()


def test_a_line_is_not_written_more_often_than_asked_for(stage_a):
    file = io.StringIO()
    fit(transformer(stage_a), MelToy(n_frames=N_FRAMES, dim=4), [ProgressLine(file, every_s=1e6)], n_steps=4, every=4)
    assert len(file.getvalue().splitlines()) == 3, "what is trained, the first step, the last"


def test_the_report_has_the_best_figures_and_where_they_were(stage_a):
    history = RunHistory()
    fit(transformer(stage_a), MelToy(n_frames=N_FRAMES, dim=4), [history], n_steps=4, every=2)
    assert history.report is not None
    figures = {figure.name: figure for figure in history.report.figures}
    assert figures["valid_25"].best <= figures["valid_25"].last
    assert figures["valid_accuracy_25"].best >= figures["valid_accuracy_25"].last
    assert history.report.n_steps == 4
    assert history.report.finished


def test_the_report_is_a_table():
    figures = (Figure("valid_25", 5.9312, 5.92, 2500), Figure("loss", 6.01, 5.8, 2600))
    report = RunReport("transformer", 2600, 600, 1200.0, True, figures, "runs/last.ckpt", "runs/version_0")
    assert report.to_text().splitlines() == [
        "transformer: 2,600 steps, 600 of them in 20 min 00 s, 0.5 steps/s",
        "                 last       best  at step",
        "  valid_25      5.931       5.92  2,500",
        "  loss           6.01        5.8  2,600",
        "  checkpoint  runs/last.ckpt",
        "  log         runs/version_0",
    ]
    assert "none was written" in RunReport("x", 1, 1, 1.0, True, (), "", "").to_text()


def test_figures_survive_a_resumption():
    before, after = RunHistory(), RunHistory()
    before.figures = {"valid_25": Figure("valid_25", 6.0, 5.9, 100)}
    after.load_state_dict(before.state_dict())
    assert after.figures == before.figures

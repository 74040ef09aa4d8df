"""`masktools train` hands a recipe to the workshop, shows what it came to, and reports its refusals in one line."""

import pytest
import yaml

from masktools.cli import train
from masktools.cli.main import make_parser

needs_training = pytest.mark.filterwarnings("ignore")
SMALL = {"n_codes": 16, "n_rows": 2, "n_cols": 6, "width": 16, "depth": 1, "n_heads": 2, "condition_dim": 4}


@pytest.fixture
def recipe(tmp_path):
    """A recipe of two steps on made-up clips."""
    model = {"transformer": SMALL, "n_steps": 4, "n_warmup": 1}
    saving = {"dirpath": str(tmp_path / "run"), "filename": "last", "every_n_train_steps": 1}
    content = {
        "seed_everything": 1,
        "model": {"class_path": "masktools.training.transformer.TransformerTraining", "init_args": model},
        "data": {"class_path": "tests.training.toys.ToyClips", "init_args": {"batch_size": 2}},
        "trainer": {
            "accelerator": "cpu",
            "max_steps": 2,
            "limit_train_batches": 2,
            "num_sanity_val_steps": 0,
            "logger": False,
            "default_root_dir": str(tmp_path),
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "init_args": saving | {"enable_version_counter": False},
                }
            ],
        },
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("before", [True, False])
def test_everything_after_the_recipe_belongs_to_it(before):
    words = ["--resume", "recipe.yaml"] if before else ["recipe.yaml"]
    args = make_parser().parse_args(["train", *words, "--trainer.max_steps", "3", "--model.width=8"])
    assert str(args.recipe) == "recipe.yaml"
    assert args.overrides == ["--trainer.max_steps", "3", "--model.width=8"]
    assert args.resume == before
    assert args.run is train.TRAIN.run


def test_a_missing_recipe_is_one_line(command, tmp_path):
    code, said, errors = command("train", tmp_path / "none.yaml", model=None)
    assert (code, said) == (2, "")
    assert errors == f"masktools: error: no recipe at {tmp_path / 'none.yaml'}\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module", name="lightning"), "the package lightning"),
        (ModuleNotFoundError("No module", name="jsonargparse"), "the package jsonargparse"),
        (ModuleNotFoundError("Neither `tensorboard` nor\n`tensorboardX`"), "more packages (Neither `tensorboard` nor"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(command, tmp_path, monkeypatch, error, message):
    def run(*_):
        raise error

    pytest.importorskip("lightning")
    monkeypatch.setattr("masktools.training.run.run_recipe", run)
    code, _, errors = command("train", tmp_path / "recipe.yaml", model=None)
    assert code == 2
    assert errors.startswith(f"masktools: error: training needs {message}")
    assert errors.endswith("pip install 'masktools[train]'\n")
    assert errors.count("\n") == 1


@needs_training
def test_a_run_ends_with_a_table_and_the_next_command(command, recipe, tmp_path):
    code, said, errors = command("train", recipe, model=None)
    assert (code, errors) == (0, "")
    assert "transformer masked: 0.0 M parameters on 1 x cpu" in said
    assert "transformer: 2 steps, 2 of them in" in said
    assert f"checkpoint  {tmp_path / 'run' / 'last.ckpt'}" in said
    assert f"next        masktools bundle {tmp_path / 'run' / 'last.ckpt'} --base mini" in said


@needs_training
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_run_is_resumed_from_its_newest_checkpoint_or_begun(command, recipe, place):
    first = command("train", recipe, "--resume", model=None)
    assert first[0] == 0
    assert "going on" not in first[1]
    words = ["--resume", recipe] if place == "before" else [recipe, "--resume"]
    code, said, errors = command("train", *words, "--trainer.max_steps", "3", model=None)
    assert (code, errors) == (0, "")
    assert "going on after step 2" in said
    assert "transformer: 3 steps, 1 of them in" in said


@needs_training
def test_what_the_recipe_says_holds_over_what_a_checkpoint_was_trained_with(command, recipe):
    import torch

    words = ("train", recipe, "--model.init_args.condition_drop")
    assert command(*words, "0.25", model=None)[0] == 0
    assert command(*words, "0.5", "--resume", "--trainer.max_steps", "3", model=None)[0] == 0
    stored = torch.load(recipe.parent / "run" / "last.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["condition_drop"] == 0.5


@needs_training
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trainer.max_stepz", "3"], "the recipe cannot be used: unrecognized arguments: --trainer.max_stepz 3"),
        (["--model.init_args.n_stepz", "3"], "the recipe cannot be used: model: Option 'n_stepz' is not accepted"),
        (["--model.init_args.n_steps", "x"], "model.n_steps: Expected a <class 'int'>. Got value: x"),
        (["--model.init_args.transformer.width", "15"], "width must be a multiple of n_heads, got 15 and 2"),
        (["--model.class_path", "masktools.training.transformer.Trans"], "has no attribute 'Trans'"),
        (["--model.init_args.masking.law", "gauss"], "unknown law of ratios 'gauss'"),
        (["--model.init_args.text_share", "0.5"], "text_share needs a conditioner that reads captions"),
        (["--model.init_args.start_checkpoint", "no.ckpt"], "no training checkpoint at no.ckpt"),
        (["--model.init_args.tokenizer_checkpoint", "no.ckpt"], "no training checkpoint at no.ckpt"),
        (["--data.init_args.n_codes", "99"], "tokens must be below n_codes 16, got"),
        (["--data.init_args.n_rows", "3"], "tokens must have 2 rows, got 3"),
        (["--ckpt_path", "no.ckpt"], "the checkpoint to go on from is missing: Checkpoint file not found"),
        (["--trainer.accelerator", "cuda"], "the recipe asks for a device that is not here: CUDAAccelerator"),
        (["--trainer.val_check_interval", "50"], "cannot work together: val_check_interval (50) must be less"),
        (["--trainer.logger", "lightning.pytorch.loggers.Nope"], "the recipe cannot be used: "),
    ],
)
def test_what_cannot_be_trained_is_one_line(command, recipe, words, message):
    import torch

    if words[-1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    code, _, errors = command("train", recipe, *words, model=None)
    assert code == 2
    assert message in errors
    assert errors.startswith("masktools: error: ")
    assert errors.count("\n") == 1
    assert len(errors) < 420


@needs_training
def test_a_checkpoint_of_other_settings_is_refused(command, recipe):
    assert command("train", recipe, model=None)[0] == 0
    code, _, errors = command("train", recipe, "--resume", "--model.init_args.transformer.width", "32", model=None)
    assert code == 2
    assert "the checkpoint is of other settings than the recipe: size mismatch for net." in errors
    assert errors.count("\n") == 1


@needs_training
def test_a_recipe_with_a_key_that_there_is_not_is_one_line(command, recipe):
    recipe.write_text(recipe.read_text() + "trainner: {max_steps: 3}\n")
    code, _, errors = command("train", recipe, model=None)
    assert code == 2
    assert errors == (
        "masktools: error: the recipe cannot be used: Subcommand 'fit' does not accept option 'trainner.max_steps'\n"
    )

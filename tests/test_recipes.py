"""Every recipe parses against the real signatures of what it trains, and the tiny ones run from beginning to end."""

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="recipes need the extra masktools[train]")

from tests.training.conftest import cache_folder, manifest  # noqa: F401
from tests.training.nsynth import write_notes

FOLDER = Path(__file__).parent.parent / "recipes"
RECIPES = sorted(FOLDER.rglob("*.yaml"))
TINY = sorted((FOLDER / "tiny").glob("*.yaml"))


def head(recipe):
    """Return the comment that a recipe begins with."""
    lines = recipe.read_text(encoding="utf-8").splitlines()
    n_lines = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(lines[:n_lines])


def needed(recipe):
    """Return the recipes that must have run before, as the head says it: ``# Needs: recipes/tiny/tokenizer.yaml``."""
    named = re.findall(r"recipes/tiny/([\w-]+)\.yaml", "\n".join(re.findall(r"# Needs:.*", head(recipe))))
    return [recipe.with_name(f"{name}.yaml") for name in named]


def commands(recipe):
    """Return the arguments of what must be run before: the lines of the head that begin with ``masktools``."""
    return [shlex.split(line)[1:] for line in re.findall(r"^# +(masktools .*)", head(recipe), re.MULTILINE)]


def named(recipe):
    return f"{recipe.parent.name}/{recipe.stem}"


@pytest.mark.parametrize("recipe", RECIPES, ids=named)
@pytest.mark.filterwarnings("ignore")
def test_a_recipe_parses(recipe):
    import lightning.pytorch as pl
    from lightning.pytorch.cli import LightningArgumentParser

    parser = LightningArgumentParser()
    parser.add_lightning_class_args(pl.Trainer, "trainer")
    parser.add_lightning_class_args(pl.LightningModule, "model", subclass_mode=True)
    parser.add_lightning_class_args(pl.LightningDataModule, "data", subclass_mode=True)
    parser.add_argument("--seed_everything", type=int)
    settings = parser.parse_path(str(recipe))
    assert settings.model.class_path.startswith("masktools.training.")
    assert all(line.startswith("#") for line in head(recipe).splitlines()), "a recipe says what it needs and gives"
    assert head(recipe)


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.parent.name in ("paper", "tiny")], ids=named)
def test_a_recipe_says_its_data_its_budget_and_what_to_expect(recipe):
    for word in ("Data:", "Budget:", "Expect(ed)?:"):
        assert re.search(word, head(recipe)), f"{named(recipe)} must say {word} in its head"


@pytest.fixture(scope="session")
def reports():
    """Return what the recipes came to that have run, for those that need them."""
    return {}


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory, cache_folder):  # noqa: F811
    """Return the folder in which the tiny recipes run, with an audio ``cache``, and ``notes`` as NSynth has them."""
    folder = tmp_path_factory.mktemp("workplace")
    write_notes(folder / "notes")
    (folder / "cache").symlink_to(cache_folder, target_is_directory=True)
    return folder


@pytest.fixture
def workplace(shared_folder, monkeypatch):
    """Return that folder, and be in it."""
    monkeypatch.chdir(shared_folder)
    return shared_folder


def report_of(recipe, reports):
    """Run a tiny recipe, what it needs first, and return its report."""
    from masktools.cli.main import main
    from masktools.training.run import run_recipe

    if recipe not in reports:
        for before in needed(recipe):
            report_of(before, reports)
        for arguments in commands(recipe):
            assert main(arguments) == 0
        reports[recipe] = run_recipe(recipe)
    return reports[recipe]


@pytest.mark.parametrize("recipe", TINY, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")
def test_a_tiny_recipe_runs_and_its_part_is_one_for_a_bundle(recipe, workplace, reports):
    from masktools.cli.parts import read_part

    report = report_of(recipe, reports)
    assert report.finished
    assert [figure.name for figure in report.figures if figure.name.startswith("valid")]
    assert read_part(f"runs/tiny-{recipe.stem}/last.ckpt").name == report.part


@pytest.mark.filterwarnings("ignore")
def test_keys_of_a_part_can_be_set_one_by_one(workplace):
    from masktools.training.run import run_recipe

    words = "--model.init_args.tokenizer.n_codes 8 --model.init_args.adversarial.start 9 --trainer.callbacks null"
    report = run_recipe(FOLDER / "tiny" / "tokenizer-specvqgan.yaml", words.split())
    assert {figure.name: figure.best for figure in report.figures}["valid_used"] <= 8


def test_a_recipe_that_is_not_there_is_refused():
    from masktools.core.errors import ParameterError
    from masktools.training.run import run_recipe

    with pytest.raises(ParameterError, match=r"no recipe at nowhere.yaml"):
        run_recipe("nowhere.yaml")

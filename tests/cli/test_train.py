"""`masktools train` hands a recipe to the workshop and reports its refusals."""

import pytest

from masktools.cli import train
from masktools.cli.main import make_parser


def test_everything_after_the_recipe_belongs_to_it():
    args = make_parser().parse_args(["train", "recipe.yaml", "--trainer.max_steps", "3", "--model.width=8"])
    assert str(args.recipe) == "recipe.yaml"
    assert args.overrides == ["--trainer.max_steps", "3", "--model.width=8"]
    assert args.run is train.run


def test_a_missing_recipe_is_one_line(command, tmp_path):
    code, said, errors = command("train", tmp_path / "none.yaml", model=None)
    assert (code, said) == (2, "")
    assert errors == f"masktools: error: no recipe at {tmp_path / 'none.yaml'}\n"


@pytest.mark.parametrize("package", ["lightning", "jsonargparse"])
def test_a_missing_package_is_named_with_its_extra(command, tmp_path, monkeypatch, package):
    def run(*_):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr("masktools.training.run.run_recipe", run)
    code, _, errors = command("train", tmp_path / "recipe.yaml", model=None)
    assert code == 2
    assert errors == f"masktools: error: training needs the package {package}: pip install 'masktools[train]'\n"

"""Every recipe parses against the real signatures of what it trains."""

from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="recipes need the extra masktools[train]")

RECIPES = sorted((Path(__file__).parent.parent / "recipes").rglob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
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
    assert recipe.read_text().startswith("#"), "a recipe says in its head what it needs and gives"


def test_a_recipe_that_is_not_there_is_refused():
    from masktools.errors import ParameterError
    from masktools.training.run import run_recipe

    with pytest.raises(ParameterError, match=r"no recipe at nowhere.yaml"):
        run_recipe("nowhere.yaml")

"""The encoder as a model of timm: ``register()``, then ``timm.create_model("specmaskgit_mini", pretrained=True)``.

An image is a mel spectrogram (b, 1, bands, frames) in [-1, 1], as ``masktools.mel.MelFrontEnd`` makes it, or its tokens
(b, 1, rows, columns); a patch is a token. All that timm knows to do with a vision transformer can be done with it:
``forward_features``, ``forward_intermediates``, ``features_only``, other heads, decay of learning rates by layer.
"""

import os
import re
import sys
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.configs import from_dict
from masktools.core.errors import MasktoolsError, ParameterError
from masktools.mel import MelConfig
from masktools.networks.transformer import TransformerConfig
from masktools.pipeline.bundles import family_of, find_bundle, list_models, read_config, stored_part
from masktools.pipeline.hub import build_part

try:
    import timm.models
    from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
    from timm.models.vision_transformer import VisionTransformer
except ImportError as error:
    raise ParameterError("masktools.adapters.timm needs the package timm: pip install timm") from error

__all__ = ["SpecMaskGitViT", "TokenEmbed", "register"]

default_cfgs: dict[str, Any] = {}  # under this name timm looks for what it should know of registered models
_PREFIX = "specmaskgit_"


class TokenEmbed(nn.Module):
    """Mel spectrograms or tokens -> the vectors of tokens. ``forward``: (b, 1, f, m) or (b, 1, r, w) -> (b, r, w, d).

    Mel spectrograms become tokens by the model's tokenizer, which is not trained here and passes no gradients back.
    What does not fill a column is filled up with silence.

    Args:
        tokenizer: tokenizer with ``encode``, mel (b, f, m) -> tokens (b, r, w).
        n_codes: codes of the codebook.
        embed_dim: dimensions of the vectors.
        n_cols: columns of a full clip.
        options: options of timm for the patches of an image, such as their size; not used.
    """

    def __init__(self, tokenizer: Any, n_codes: int, embed_dim: int, n_cols: int, **options: Any) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(n_codes, embed_dim)
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self.n_mels, self.patch_size = tokenizer.n_rows * tokenizer.patch, (tokenizer.patch, tokenizer.patch)
        self.grid_size = (tokenizer.n_rows, n_cols)
        self.img_size = (self.n_mels, n_cols * tokenizer.patch)
        self.num_patches = tokenizer.n_rows * n_cols

    def train(self, mode: bool = True) -> "TokenEmbed":
        """Leave the tokenizer in evaluation."""
        super().train(mode)
        self.tokenizer.train(False)
        return self

    def feat_ratio(self, as_scalar: bool = True) -> int | tuple[int, int]:
        """Return the bands and the frames of a patch, or the larger of the two."""
        return max(self.patch_size) if as_scalar else self.patch_size

    def dynamic_feat_size(self, img_size: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns of tokens for a spectrogram of so many bands and frames, or for tokens."""
        height, width = img_size
        return self.grid_size[0], width if height == self.grid_size[0] else ceil(width / self.patch_size[1])

    def tokens(self, image: Tensor) -> Tensor:
        """Return the tokens (b, r, w) of mel spectrograms (b, 1, f, m), or tokens (b, 1, r, w) as they are.

        Raises:
            ParameterError: neither of them, or longer than a full clip.
        """
        rows, longest = self.grid_size
        is_mel = image.ndim == 4 and image.is_floating_point() and tuple(image.shape[1:3]) == (1, self.n_mels)
        is_tokens = image.ndim == 4 and not image.is_floating_point() and tuple(image.shape[1:3]) == (1, rows)
        if not (is_mel or is_tokens):
            raise ParameterError(
                f"an image must be a mel spectrogram of floats (b, 1, {self.n_mels}, frames) or tokens "
                f"(b, 1, {rows}, columns), got {image.dtype} of shape {tuple(image.shape)}"
            )
        if is_mel:
            patch = self.patch_size[1]
            image = self.tokenizer.encode(F.pad(image[:, 0], (0, -image.shape[-1] % patch), value=-1.0))[:, None]
        if not 0 < image.shape[-1] <= longest:
            raise ParameterError(f"an image must have 1 to {longest} columns of tokens, got {image.shape[-1]}")
        return image[:, 0].long().clone()  # what was made under inference mode cannot be trained on

    def forward(self, image: Tensor) -> Tensor:
        """Return the vector of each token."""
        return self.token_embedding(self.tokens(image))


class SpecMaskGitViT(VisionTransformer):
    """The transformer of SpecMaskGIT with nothing masked, as timm's vision transformer.

    Patches stand row by row from the lowest band on, as timm has them; the model's own order, column by column, is the
    same to attention. ``forward_features``: (b, 1, f, m) or (b, 1, r, w) -> (b, 1 + r * w, d), normalised, the prefix
    first. The maps of ``forward_intermediates`` are (b, d, r, w), with the lowest band in row 0.

    Args:
        tokenizer: makes tokens of mel spectrograms.
        transformer: settings of the transformer.
        mel: settings of the spectrograms.
        options: options of timm's ``VisionTransformer``, such as num_classes, global_pool or drop_path_rate.
    """

    def __init__(self, tokenizer: Any, transformer: TransformerConfig, mel: MelConfig, **options: Any) -> None:
        made = {"n_codes": transformer.n_codes, "n_cols": transformer.n_cols}

        def embed_layer(embed_dim: int, **given: Any) -> TokenEmbed:
            return TokenEmbed(tokenizer, embed_dim=embed_dim, **made)

        own = {"num_classes": 0, "global_pool": "avg", "fc_norm": False, **options}
        size = {"img_size": (mel.n_mels, transformer.n_cols * tokenizer.patch), "in_chans": 1}
        weights = {name: value.clone() for name, value in tokenizer.state_dict().items()}
        super().__init__(
            patch_size=tokenizer.patch,
            embed_dim=transformer.width,
            depth=transformer.depth,
            num_heads=transformer.n_heads,
            mlp_ratio=transformer.mlp_ratio,
            pre_norm=True,
            embed_layer=embed_layer,
            **(own | size),
        )
        self.mel = mel
        tokenizer.load_state_dict(weights)  # timm begins every layer anew

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Return the prefix and the patches (b, r, w, d) with their positions, (b, 1 + r * w, d)."""
        known: Any = self
        slots = known.pos_embed[:, 1:].unflatten(1, known.patch_embed.grid_size)
        placed = (x + slots[:, :, : x.shape[2]]).flatten(1, 2)
        prefix = (known.cls_token + known.pos_embed[:, :1]).expand(len(x), -1, -1)
        return self.pos_drop(F.pad(placed, (0, 0, 1, 0)) + F.pad(prefix, (0, 0, 0, placed.shape[1])))


def _from_ours(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return weights of a ``MaskedTransformer`` under timm's names; others stay as they are."""
    n_rows, n_cols = model.get_submodule("patch_embed").grid_size  # type: ignore[misc]
    position = state["position"]
    by_row = position[1:].unflatten(0, (n_cols, n_rows)).transpose(0, 1).flatten(0, 1)
    named = {
        "patch_embed.token_embedding.weight": state["token_embedding.weight"],
        "cls_token": state["mask_vector"][None, None],
        "pos_embed": F.pad(by_row, (0, 0, 1, 0))[None] + F.pad(position[None, :1], (0, 0, 0, len(by_row))),
    }
    kept = {name.replace("enter_norm.", "norm_pre."): value for name, value in state.items()}
    named |= {name: value for name, value in kept.items() if name.startswith(("norm_pre.", "blocks.", "norm."))}
    ours = ("patch_embed.tokenizer.", "head.")  # a head is the user's
    own = {name: value for name, value in model.state_dict().items() if name.startswith(ours)}
    return named | own


def register(model: str | os.PathLike[str] | None = None) -> list[str]:
    """Make models known to timm and return the names by which ``timm.create_model`` makes them.

    With ``pretrained=True`` all weights are the model's; without, the transformer begins anew and the tokenizer alone
    is trained. The head has no classes until ``num_classes`` asks for some.

    Args:
        model: the name of a model at hand, the folder of a bundle, or ``owner/name`` on the Hugging Face hub; all
            models at hand if None.

    Raises:
        BundleError: no such model, or one that is incomplete or altered.
        ParameterError: a model that is no masked transformer over a grid of bands.

    >>> register("mini")
    ['specmaskgit_mini']
    """
    if model is not None:
        return [_register(find_bundle(model))]
    made = []
    for folder in list_models().values():
        try:
            made.append(_register(folder))
        except MasktoolsError:
            continue  # whoever asks for that model is told
    return made


def _register(folder: Path) -> str:
    config = read_config(folder)
    if family_of(folder, config) != "masked":
        raise ParameterError(f"timm takes models over a grid of bands, {config['name']!r} is none")
    mel = from_dict(MelConfig, config["mel"])
    transformer = from_dict(TransformerConfig, config["transformer"]["config"])
    patch = mel.n_mels // transformer.n_rows
    name = _PREFIX + re.sub(r"\W", "_", str(config["name"]))
    known = timm.models.is_model(name)
    default_cfgs.update(
        generate_default_cfgs(
            {
                name: {
                    "file": str(folder / "transformer.safetensors"),
                    "input_size": (1, mel.n_mels, transformer.n_cols * patch),
                    "num_classes": 0,
                    "classifier": "head",
                    "mean": (0.0,),
                    "std": (1.0,),
                    "crop_pct": 1.0,
                    "paper_name": "SpecMaskGIT",
                    "paper_ids": "arXiv:2406.17672",
                }
            }
        )
    )

    def renamed(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
        if "cls_token" in state:  # what timm has saved
            return dict(state)
        return _from_ours(stored_part(folder, "transformer")[1], network)  # a bundle's file may hold int8

    def create(pretrained: bool = False, **options: Any) -> Any:
        told, weights = stored_part(folder, "tokenizer")
        tokenizer = build_part("tokenizer", told["kind"], told["config"], mel)
        tokenizer.load_state_dict(weights)
        features: dict[str, Any] = {"out_indices": 3, "feature_cls": "getter"}
        parts = {"tokenizer": tokenizer, "transformer": transformer, "mel": mel}
        return build_model_with_cfg(
            SpecMaskGitViT,
            name,
            pretrained,
            pretrained_filter_fn=renamed,
            feature_cfg=features,
            **parts,
            **options,
        )

    create.__name__, create.__doc__ = name, f"The encoder of {config['name']}."
    if known:  # registered before, perhaps from another folder: the newer one counts, and nobody needs a warning
        timm.models._registry._model_entrypoints[name] = create
    else:
        setattr(sys.modules[__name__], name, create)  # where timm expects what it names in ``__all__``
        register_model(create)
    return name

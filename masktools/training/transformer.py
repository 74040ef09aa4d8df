"""Training of the masked transformer: predict the masked tokens of clips that are tokenised as they come.

Random masks follow the paper. Gaps in time and missing top rows, where a recipe asks for them, are trained as
they are met in use: their mel cells are erased before the tokenizer sees the clip, so that the known tokens
are those of damaged audio, while the targets are those of the clean clip.
"""

import torch
from torch import Tensor

from masktools.conditioning.joint import JointEncoder
from masktools.mel import MelConfig
from masktools.shapes import flatten
from masktools.tokenizer import LocalTokenizer
from masktools.training.checkpoints import load_joint_encoder, load_local_tokenizer
from masktools.training.data import Batch
from masktools.training.losses import masked_cross_entropy
from masktools.training.masking import MaskingConfig, draw_ratios, gap_masks, random_masks, row_masks
from masktools.training.part import PartTraining
from masktools.training.schedules import warmup_cosine
from masktools.transformer import MaskedTransformer, TransformerConfig

__all__ = ["TransformerTraining", "draw_masks"]


def draw_masks(
    n_clips: int,
    n_rows: int,
    n_cols: int,
    config: MaskingConfig,
    generator: torch.Generator | None = None,
    full_band: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return masks (b, r, w), and which clips (b,) are to be erased before they are tokenised.

    Top rows are masked only in clips that reach up there (``full_band`` (b,) bool, all if not said): a recording
    without a band above its cutoff would teach that there is none.
    """
    flat = random_masks(draw_ratios(n_clips, config, generator), n_rows * n_cols, generator)
    masks = flat.unflatten(1, (n_cols, n_rows)).transpose(1, 2)
    draw = torch.rand(n_clips, generator=generator)[:, None, None]
    edges = torch.tensor([config.full_share, config.gap_share, config.row_share]).cumsum(0)
    gaps, rows = gap_masks(n_clips, n_rows, n_cols, generator), row_masks(n_clips, n_rows, n_cols, generator)
    by_rows = (draw >= edges[1]) & (draw < edges[2])
    if full_band is not None:
        by_rows = by_rows & full_band.to(by_rows.device)[:, None, None]
    by_gap = (draw >= edges[0]) & (draw < edges[1])
    masks = torch.where(by_rows, rows, masks)
    masks = torch.where(by_gap, gaps, masks)
    masks = masks | (draw < edges[0])
    erased = by_gap | by_rows
    return masks, erased.flatten()


class TransformerTraining(PartTraining):
    """Cross-entropy on masked tokens of mel clips, condition dropped for some; AdamW, warm-up and cosine.

    Source: SpecMaskGIT (arXiv:2406.17672), sections 3.2 and 4.1; MAGE (arXiv:2211.09117) for the optimiser.
    """

    part, kind = "transformer", "masked"
    net: MaskedTransformer

    def __init__(
        self,
        tokenizer_checkpoint: str,
        conditioner: str,
        transformer: TransformerConfig = TransformerConfig(),
        mel: MelConfig = MelConfig(),
        masking: MaskingConfig = MaskingConfig(),
        n_steps: int = 500_000,
        n_warmup: int = 16_000,
        learning_rate: float = 4.375e-4,
        weight_decay: float = 0.05,
        condition_drop: float = 0.1,
        text_share: float = 0.0,
        short_share: float = 0.0,
    ) -> None:
        super().__init__(mel)
        self.save_hyperparameters(ignore=["transformer", "mel", "masking"])
        self.masking = masking
        self.net = MaskedTransformer(transformer)
        # Frozen parts stay out of the module's state: a checkpoint holds what is trained, and nothing else.
        self._frozen = (load_local_tokenizer(tokenizer_checkpoint), load_joint_encoder(conditioner))

    @property
    def tokenizer(self) -> LocalTokenizer:
        """The frozen tokenizer."""
        return self._frozen[0]

    @property
    def conditioner(self) -> JointEncoder:
        """The frozen text-audio encoder."""
        return self._frozen[1]

    def on_fit_start(self) -> None:
        """Bring the frozen parts to the device."""
        for part in self._frozen:
            part.to(self.device)

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW, without decay on vectors."""
        own = self.hparams
        parameters = list(self.net.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": own["weight_decay"]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, own["learning_rate"], (0.9, 0.95))
        schedule = warmup_cosine(optimizer, own["n_warmup"], own["n_steps"])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @torch.no_grad()
    def _conditions(self, batch: Batch) -> Tensor:
        """Return the condition of each clip: of its sound, or for a share of the batch of its caption."""
        of_audio = batch["condition"].float()
        if not self.hparams["text_share"]:
            return of_audio
        of_text = self.conditioner.embed_text(list(batch["caption"])).to(of_audio)
        by_text = torch.rand(len(of_audio), 1, device=of_audio.device) < self.hparams["text_share"]
        return torch.where(by_text, of_text, of_audio)

    @torch.no_grad()
    def _tokens(self, mel: Tensor, masks: Tensor, erased: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens (b, r, w) of the clean clips, and of the clips with what is to be erased erased."""
        tokens = self.tokenizer.encode(mel)
        given = tokens.clone()
        if erased.any():
            cells = masks[erased].repeat_interleave(16, 1).repeat_interleave(16, 2)
            given[erased] = self.tokenizer.encode(mel[erased].masked_fill(cells, -1.0))
        return tokens, given

    def _loss(self, batch: Batch, masks: Tensor, erased: Tensor, condition: Tensor, use: Tensor) -> Tensor:
        mel = batch["mel"].float()[:, :, : 16 * masks.shape[2]]
        tokens, given = self._tokens(mel, masks, erased)
        logits = self.net.logits(flatten(given), flatten(masks), condition, use)
        return masked_cross_entropy(logits, flatten(tokens), flatten(masks))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        mel, config = batch["mel"], self.net.config
        n_cols = config.n_cols
        if torch.rand(()) < self.hparams["short_share"]:
            n_cols = int(torch.randint(1, n_cols + 1, ()))
        masks, erased = draw_masks(
            len(mel), config.n_rows, n_cols, self.masking, full_band=batch.get("full_band")
        )
        masks, erased = masks.to(mel.device), erased.to(mel.device)
        use = torch.rand(len(mel), device=mel.device) >= self.hparams["condition_drop"]
        loss = self._loss(batch, masks, erased, self._conditions(batch), use)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss at fixed masks: by ratio, of a gap, of the top rows; and how much a condition helps."""
        config, mel = self.net.config, batch["mel"]
        generator = torch.Generator().manual_seed(batch_idx)
        shape = (len(mel), config.n_rows, config.n_cols)
        condition = batch["condition"].float()
        nobody = torch.zeros(len(mel), dtype=torch.bool, device=mel.device)
        for name, ratio in (("25", 0.25), ("50", 0.5), ("75", 0.75), ("full", 1.0)):
            flat = random_masks(torch.full((len(mel),), ratio), config.n_tokens, generator)
            masks = flat.unflatten(1, (config.n_cols, config.n_rows)).transpose(1, 2).to(mel.device)
            self.log(f"valid_{name}", self._loss(batch, masks, nobody, condition, nobody), prog_bar=name != "75")
        self.log("valid_full_conditioned", self._loss(batch, masks, nobody, condition, ~nobody), prog_bar=True)
        for name, masks in (("gap", gap_masks(*shape, generator)), ("rows", row_masks(*shape, generator))):
            self.log(
                f"valid_{name}", self._loss(batch, masks.to(mel.device), ~nobody, condition, nobody), prog_bar=True
            )

"""Training of models over token streams: codec of mel spectrograms, masked transformer, and causal transformer.

Source: Ziv et al., MAGNeT (arXiv:2401.04577), sections 3.1 to 3.3; SoundStream (arXiv:2107.03312), section III-C, for
    the dropout of streams.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.core.arguments import check_least
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig
from masktools.networks.conditioning import DeferredT5, T5Config
from masktools.networks.tokenizer import MelRvq, MelRvqConfig, token_fingerprint
from masktools.networks.tokenizer.local import codebook_usage
from masktools.networks.transformer import (
    DelayedPrior,
    DelayedPriorConfig,
    StreamTransformer,
    StreamTransformerConfig,
    Text,
)
from masktools.training.checkpoints import load_codec, load_joint_encoder
from masktools.training.losses import slope_loss
from masktools.training.masking import ClipDraws, Purpose, span_masks, step_draws
from masktools.training.part import PartTraining, decaying_matrices
from masktools.training.streams import Batch
from masktools.training.tokenizer import CodebookCare, GathersLatents, TokenizerValidation, WaitingLatents

_VALID_SEED = 1  # of the masks of validation, the same in every run


class MelRvqTraining(TokenizerValidation, GathersLatents):
    """Training of a mel codec with a residual quantiser whose codebooks are initialised one after the other.

    Args:
        codec: settings of the codec.
        mel: settings of the mel front end.
        n_steps: optimiser steps of the learning-rate schedule.
        learning_rate: peak learning rate, after the warm-up.
        n_warmup: steps of linear warm-up.
        n_unquantised: steps without quantiser, before the first codebook is initialised by k-means.
        n_placing: steps between the initialisation of one codebook and that of the next.
        n_placing_vectors: latents for the k-means initialisation of each codebook.
        slope_weight: weight of the L1 distance between differences of neighbouring cells.
        whole_share: share of steps that use all streams, in [0, 1]; the others use a random number of them.
        commitment: weight of the distance between the latents and their quantised values from the streams in use.
        seed: random seed.
    """

    part, kind = "codec", "mel_rvq"

    def __init__(
        self,
        codec: MelRvqConfig = MelRvqConfig(),
        mel: MelConfig = MelConfig(),
        n_steps: int = 4000,
        learning_rate: float = 5e-4,
        n_warmup: int = 200,
        n_unquantised: int = 300,
        n_placing: int = 40,
        n_placing_vectors: int = 10_240,
        slope_weight: float = 0.5,
        whole_share: float = 0.5,
        commitment: float = 0.25,
        seed: int = 0,
    ) -> None:
        super().__init__(mel)
        if codec.n_mels != mel.n_mels:
            raise ParameterError(f"the codec must have the {mel.n_mels} bands of the mel, got {codec.n_mels}")
        check_least(1, n_unquantised=n_unquantised, n_placing=n_placing)
        self.save_hyperparameters(ignore=["codec", "mel"])
        self.net = MelRvq(codec)
        self.cares = [
            CodebookCare(book, n_unquantised + stream * n_placing, n_placing_vectors, round(0.8 * n_steps))  # pyright: ignore
            for stream, book in enumerate(self.net.quantiser.codebooks)
        ]

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW with warm-up and cosine."""
        return self.adamw(betas=(0.9, 0.99), final=0.1)

    @property
    def waiting(self) -> Sequence[WaitingLatents]:
        """Latents that are kept for the initialisation of each codebook."""
        return [care.waiting for care in self.cares]

    def _quantise(self, latents: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return quantised vectors with straight-through gradient, and the loss of the codebooks."""
        loss, n_used = latents.new_zeros(()), len(self.cares)
        if step < self.cares[0].n_unquantised - 1:
            return latents, loss
        if step >= self.cares[-1].n_unquantised:  # all are initialised
            share, number = step_draws(self.hparams["seed"], step).uniform(Purpose.LENGTH, 2)[0].tolist()
            n_used = n_used if share < self.hparams["whole_share"] else 1 + int(number * n_used)
        total = torch.zeros_like(latents)
        for care in self.cares[:n_used]:
            quantised = care.quantise(latents - total, step, self.trainer)
            if quantised is None:
                break  # later ones wait for this one
            total = total + care.codebook.lookup(quantised.tokens).detach()
        if step < self.cares[0].n_unquantised:
            return latents, loss
        # For the sum only: latents drawn to the codes of the first streams too would leave nothing for the others.
        loss = self.hparams["commitment"] * F.mse_loss(latents, total)
        return latents + (total - latents).detach(), loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch of waves or mel spectrograms."""
        mel, step = self.mel_of(batch), self.global_step
        vectors, codes = self._quantise(self.net.to_latents(mel).float(), step)
        estimate = self.net.from_latents(vectors).float()
        error = F.l1_loss(estimate, mel)
        self.log_dict({"l1": error, "codes": codes}, prog_bar=True)
        for stream, care in enumerate(self.cares):
            self.log_dict({f"{name}_{stream}": value for name, value in care.figures(step).items()})
        return error + self.hparams["slope_weight"] * slope_loss(estimate, mel) + codes

    def on_validation_epoch_start(self) -> None:
        """Drop the tokens of the last validation."""
        self._valid_tokens: list[Tensor] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the error after each number of streams: ``valid_l1_1`` and so on, ``valid_l1`` after all."""
        mel = self.mel_of(batch)
        tokens = self.net.encode(mel)
        self._valid_tokens.append(tokens.movedim(1, 0).flatten(1))
        errors = [F.l1_loss(self.net.decode(tokens[:, :k]).float(), mel) for k in range(1, tokens.shape[1] + 1)]
        self.log_dict({f"valid_l1_{k}": error for k, error in enumerate(errors, start=1)}, sync_dist=True)
        self.log("valid_l1", errors[-1], prog_bar=True, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Log the codebook usage on the validation clips."""
        for stream, tokens in enumerate(torch.cat(self._valid_tokens, dim=1)):
            self.log(f"valid_perplexity_{stream}", codebook_usage(tokens, self.net.n_codes).perplexity, sync_dist=True)


class StreamTraining(PartTraining):
    """Training with the cross-entropy of spans of one stream, given the coarser streams; AdamW, cosine.

    Batches hold ``wave`` (b, t) or ``mel`` (b, f, m), which the frozen codec turns into tokens, and ``index`` (b,).
    Conditions are ``condition`` (b, d), or for a share of clips the embedding of the ``caption``; with
    ``t5``, captions encoded by T5, whose folder is in MASKTOOLS_T5. ``loss_0`` and so on are of the steps of one stage.

    Args:
        codec: a training checkpoint, or a bundle with one.
        transformer: settings of the network.
        mel: settings of the mel front end; with a codec of waves, at its rate.
        conditioner: a text-audio encoder, for captions.
        t5: settings of the T5 for captions, instead of other conditions.
        n_steps: optimiser steps of the learning-rate schedule.
        n_warmup: steps of linear warm-up.
        learning_rate: peak learning rate, after the warm-up.
        weight_decay: weight decay of matrices; vectors have none.
        condition_drop: share of steps without conditions, in [0, 1].
        text_share: share of clips whose condition is the embedding of the caption by the text-audio encoder, in [0, 1].
        seed: random seed of stages, masks and dropped conditions.
        compile: whether to compile the network.

    Differs: the small public models were trained with D-Adaptation, which sets the learning rate itself.
    """

    part, kind = "transformer", "streams"
    network: tuple[type[StreamTransformerConfig], type[StreamTransformer]] = (
        StreamTransformerConfig,
        StreamTransformer,
    )
    net: StreamTransformer

    def __init__(
        self,
        codec: str,
        transformer: StreamTransformerConfig = StreamTransformerConfig(),
        mel: MelConfig = MelConfig(),
        conditioner: str | None = None,
        t5: T5Config | None = None,
        n_steps: int = 1_000_000,
        n_warmup: int = 4000,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.1,
        condition_drop: float = 0.3,
        text_share: float = 0.0,
        seed: int = 0,
        compile: bool = False,
    ) -> None:
        super().__init__(mel)
        if text_share > 0 and conditioner is None:
            raise ParameterError(f"text_share needs a conditioner that reads captions, got {text_share:g} and none")
        self.save_hyperparameters(ignore=["transformer", "mel", "t5"])
        config_class, net_class = self.network
        self.net = net_class(config_class(**vars(transformer)))
        reader = None if conditioner is None else load_joint_encoder(conditioner)
        self._frozen = (load_codec(codec), reader, None if t5 is None else DeferredT5(t5))
        found = (self.codec.n_rows, self.codec.n_codes)
        if found != (transformer.n_streams, transformer.n_codes):
            wanted = f"{transformer.n_streams} streams of {transformer.n_codes} codes"
            raise ParameterError(f"the codec must have the transformer's {wanted}, got {found[0]} of {found[1]}")

    @property
    def codec(self) -> Any:
        """The frozen codec."""
        return self._frozen[0]

    def on_fit_start(self) -> None:
        """Move the frozen parts to the device, and compile if asked to."""
        super().on_fit_start()
        if self._frozen[2] is not None:
            self._frozen[2].device = self.device

    @property
    def learned_tokens(self) -> str:
        """Fingerprint of the codec."""
        return token_fingerprint(self.codec.state_dict())

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW, without decay on vectors."""
        return self.adamw(decaying_matrices(self.net.parameters(), self.hparams["weight_decay"]), (0.9, 0.95))

    @torch.no_grad()
    def clip_tokens(self, batch: Batch) -> Tensor:
        """Return the tokens (b, K, w) of a batch, cropped to the network's number of columns."""
        codec, n_cols = self.codec, self.net.config.n_cols
        if codec.reads_waves:
            return codec.encode(batch["wave"].float())[..., :n_cols]
        mel = self.mel_of(batch)
        return codec.encode(mel[..., : min(mel.shape[-1] // codec.patch, n_cols) * codec.patch])

    @torch.no_grad()
    def _text(self, batch: Batch, draws: ClipDraws) -> Tensor | None:
        """Return the states (b, l, d) of the clips' conditions, None without any."""
        _, reader, t5 = self._frozen
        if t5 is not None:
            return t5.text_states(list(batch["caption"]))
        if "condition" not in batch:
            return None
        states = batch["condition"].float()
        if reader is not None and self.hparams["text_share"]:
            by_text = (draws.uniform(Purpose.TEXT) < self.hparams["text_share"]).to(self.device)
            states = torch.where(by_text, reader.embed_text(list(batch["caption"])).to(states), states)
        return states[:, None] if states.shape[1] else None

    def _masks(self, draws: ClipDraws, n_cols: int) -> Tensor:
        share = (draws.uniform(Purpose.RATIO)[:, 0] * (torch.pi / 2)).cos()
        return span_masks(share, draws.uniform(Purpose.SLOTS, n_cols), self.net.config.span).to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch at the stage of this step."""
        own, tokens = self.hparams, self.clip_tokens(batch)
        of_step = step_draws(own["seed"], self.global_step)
        stage = int(of_step.uniform(Purpose.KIND)[0, 0] * tokens.shape[1])
        draws = ClipDraws(own["seed"], batch["index"])
        states = self._text(batch, draws) if of_step.uniform(Purpose.DROP)[0, 0] >= own["condition_drop"] else None
        text = None if states is None else self.net.read(states)
        loss = self.loss_of(tokens, stage, draws, text)
        self.log_dict({"loss": loss, f"loss_{stage}": loss}, prog_bar=True)
        return loss

    def loss_of(self, tokens: Tensor, stage: int, draws: ClipDraws, text: Text | None = None) -> Tensor:
        """Return the loss of clips (b, K, w) at a stage."""
        return stage_loss(self.net, tokens, stage, self._masks(draws, tokens.shape[2]), text)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss of each stage without condition, and its reduction by the condition."""
        tokens = self.clip_tokens(batch)
        draws = ClipDraws(_VALID_SEED, range(batch_idx * len(tokens), (batch_idx + 1) * len(tokens)))
        states = self._text(batch, draws)
        text = None if states is None else self.net.read(states)
        for stage in range(tokens.shape[1]):
            plain = self.loss_of(tokens, stage, draws)
            self.log(f"valid_{stage}", plain, prog_bar=True, sync_dist=True, batch_size=len(tokens))
            if text is not None:
                gain = plain - self.loss_of(tokens, stage, draws, text)
                self.log(f"valid_condition_gain_{stage}", gain, sync_dist=True, batch_size=len(tokens))


class PriorTraining(StreamTraining):
    """Training of a causal transformer with the cross-entropy of all streams up to a stage, later ones masked.

    This is its input when it rescores a stage; with all streams it learns to generate.

    Source: MusicGen (arXiv:2306.05284), section 2. Differs: MusicGen always sees all streams.
    """

    part, kind = "prior", "delayed"
    network = (DelayedPriorConfig, DelayedPrior)
    net: DelayedPrior

    def loss_of(self, tokens: Tensor, stage: int, draws: ClipDraws, text: Text | None = None) -> Tensor:
        """Return the mean cross-entropy of the streams up to a stage."""
        given = tokens.long().clone()
        given[:, stage + 1 :] = self.net.mask_id
        logits = self.net.all_logits(given, text)[:, : stage + 1]
        return F.cross_entropy(logits.flatten(0, 2).float(), tokens[:, : stage + 1].flatten().long())


def stage_loss(net: StreamTransformer, tokens: Tensor, stage: int, mask: Tensor, text: Text | None = None) -> Tensor:
    """Return the mean cross-entropy of the masked tokens of one stream.

    Args:
        net: the network.
        tokens: (b, K, w) target tokens.
        stage: number of the stream; finer ones are masked.
        mask: (b, w), True for tokens to be predicted.
        text: see ``StreamTransformer.logits``.
    """
    given = tokens.long().clone()
    given[:, stage][mask] = net.mask_id
    given[:, stage + 1 :] = net.mask_id
    logits = net(given, stage, text)
    return F.cross_entropy(logits[mask].float(), tokens[:, stage][mask].long())

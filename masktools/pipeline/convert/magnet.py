"""MAGNeT's public checkpoints: a folder of two exported files of audiocraft -> the parts of a streams model.

Nothing is transposed; the packed projections of the cross attention are split into queries, and keys and values.

Sizes are derived from the weights and compared with the settings; features that our network lacks are refused.

Source: the released models of Ziv et al., MAGNeT (arXiv:2401.04577); their weights are CC BY-NC 4.0.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from masktools.core.errors import CheckpointError
from masktools.mel import MelConfig
from masktools.networks.conditioning import T5Config
from masktools.networks.tokenizer import Encodec, EncodecConfig
from masktools.networks.transformer import DelayedPrior, DelayedPriorConfig, StreamTransformer, StreamTransformerConfig
from masktools.networks.weights import fill
from masktools.pipeline.convert.mel_models import ForeignSettings, count_parts, read_exported, yaml_settings
from masktools.solver import SolverConfig, preset

_TEXT = "condition_provider.conditioners.description.output_proj"
_RULES = (
    (r"^emb\.(\d+)\.", r"streams.\1."),
    (r"^linears\.(\d+)\.", r"heads.\1."),
    (r"^out_norm\.", "norm."),
    (rf"^{re.escape(_TEXT)}\.", "text."),
    (r"^transformer\.layers\.(\d+)\.", r"blocks.\1."),
    (r"\.self_attn\.in_proj_weight$", ".attn.qkv.weight"),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.cross_attention\.out_proj\.", ".cross.proj."),
    (r"\.linear1\.", ".mlp.fc1."),
    (r"\.linear2\.", ".mlp.fc2."),
)
_CROSS = ".cross_attention.in_proj_weight"


def stream_weights(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of MAGNeT or MusicGen with our names; unknown names stay."""
    ours: dict[str, Tensor] = {}
    for name, value in theirs.items():
        renamed = name
        for pattern, replacement in _RULES:
            renamed = re.sub(pattern, replacement, renamed)
        if renamed.endswith(_CROSS):
            block, third = renamed.removesuffix(_CROSS), len(value) // 3
            ours[f"{block}.cross.q.weight"], ours[f"{block}.cross.kv.weight"] = value[:third], value[third:]
        else:
            ours[renamed] = value
    return ours


_ENCODEC_RULES = (
    (r"^(encoder|decoder)\.model\.", r"\1.layers."),
    (r"\.conv\.conv\.", ".conv."),
    (r"\.convtr\.convtr\.", ".conv."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
    (r"^quantizer\.vq\.layers\.", "quantizer.layers."),
    (r"\._codebook\.", ".codebook."),
)


def encodec_weights(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of EnCodec with the names of our wrapper, which are those of transformers."""
    ours: dict[str, Tensor] = {}
    for name, value in theirs.items():
        renamed = name
        for pattern, replacement in _ENCODEC_RULES:
            renamed = re.sub(pattern, replacement, renamed)
        ours[f"model.{renamed}"] = value
    return ours


Network = TypeVar("Network", bound=StreamTransformer)

_TRANSFORMER, _CODEC = "state_dict.bin", "compression_state_dict.bin"
_T5_WIDTHS = {"t5-small": 512, "t5-base": 768, "t5-large": 1024, "t5-3b": 1024, "t5-11b": 1024}
_HEAD_DIM = 64  # of the public models, where the settings lack the number of heads
_NEVER = {  # settings of other networks, with the values that ours has
    "transformer_lm.norm_first": (True,),
    "transformer_lm.bias_proj": (False,),
    "transformer_lm.bias_attn": (False,),
    "transformer_lm.bias_ff": (False,),
    "transformer_lm.positional_embedding": ("sin",),
    "transformer_lm.layer_scale": (),
    "transformer_lm.qk_layer_norm": (False,),
    "transformer_lm.qk_layer_norm_cross": (False,),
    "transformer_lm.kv_repeat": (1,),
    "transformer_lm.activation": ("gelu",),
    "transformer_lm.norm": ("layer_norm",),
    "transformer_lm.two_step_cfg": (False,),
    "fuser.cross_attention_pos_emb": (False,),
    "fuser.prepend": ([],),
    "fuser.sum": ([],),
    "fuser.input_interpolate": ([],),
    "fuser.cross": (["description"],),
    "channels": (1,),
}
_PARALLEL = {"transformer_lm.causal": (False,), "codebooks_pattern.modeling": ("parallel",)}
_DELAYED = {
    "transformer_lm.causal": (True,),
    "codebooks_pattern.modeling": ("delay", "delayed"),
    "codebooks_pattern.delay.flatten_first": (0,),
    "codebooks_pattern.delay.empty_initial": (0,),
}
_CODEC_NEVER = {
    "seanet.causal": (False,),
    "seanet.norm": ("weight_norm",),
    "seanet.activation": ("ELU",),
    "seanet.true_skip": (True,),
    "seanet.channels": (1,),
    "seanet.disable_norm_outer_blocks": (0,),
    "seanet.decoder.final_activation": (),
    "seanet.decoder.trim_right_ratio": (1, 1.0),
    "encodec.causal": (False,),
    "encodec.renormalize": (False,),
    "encodec.autoencoder": ("seanet",),
    "encodec.quantizer": ("rvq",),
    "channels": (1,),
}


@dataclass(frozen=True, eq=False)
class MagnetParts:
    """Parts of a model from a folder of MAGNeT."""

    codec: Encodec
    transformer: StreamTransformer
    prior: DelayedPrior | None
    t5: T5Config
    mel: MelConfig  # at the codec's rate; quality is measured in it
    decoding: tuple[SolverConfig, ...]  # of each stream, by the files
    seconds: float  # of the clips in training


def magnet_from(
    folder: str | Path, codec_file: str | Path | None = None, prior: str | Path | None = None
) -> MagnetParts:
    """Build the parts of a model from a folder with ``state_dict.bin`` and ``compression_state_dict.bin``.

    Args:
        folder: folder as it is published.
        codec_file: file of the codec, if the folder lacks it or holds only its name.
        prior: folder of MusicGen with the same codec and the same T5, as external model for rescoring; None for none.

    Raises:
        CheckpointError: a file that is missing, unsafe, damaged, of another network, or at odds with the other one.
    """
    place = Path(folder)
    if not place.is_dir():
        raise CheckpointError(f"{place} must be a folder with {_TRANSFORMER} and {_CODEC}")
    codec = _codec_from(Path(codec_file) if codec_file is not None else place / _CODEC)
    settings, theirs = _opened(place / _TRANSFORMER)
    if settings.get("codebooks_pattern.modeling") in _DELAYED["codebooks_pattern.modeling"]:
        raise CheckpointError(
            f"{settings.path} must be a MAGNeT of parallel streams, but its streams are delayed: a hybrid of masked "
            "and causal decoding, whose rules are not public: take a plain MAGNeT, and MusicGen as its --prior"
        )
    transformer = _transformer_from(settings, theirs, codec, StreamTransformer, StreamTransformerConfig)
    t5 = _t5_of(settings, transformer.config.text_dim)
    mel = MelConfig(sample_rate=codec.config.sample_rate, f_max=codec.config.sample_rate / 2)
    decoding = _decoding_of(settings, transformer.config)
    external = None if prior is None else _prior_from(Path(prior), codec, t5)
    seconds = settings.read("dataset.segment_duration", float)
    return MagnetParts(codec, transformer, external, t5, mel, decoding, seconds)


def _prior_from(folder: Path, codec: Encodec, t5: T5Config) -> DelayedPrior:
    """Build the causal transformer from a folder of MusicGen."""
    settings, theirs = _opened(folder / _TRANSFORMER)
    prior = _transformer_from(settings, theirs, codec, DelayedPrior, DelayedPriorConfig)
    n_streams = prior.config.n_streams
    delays = settings.get("codebooks_pattern.delay.delays", list(range(n_streams)))
    if delays != list(range(n_streams)):
        raise CheckpointError(f"{settings.path}: stream k must lag k places behind the first, got delays {delays}")
    own = _t5_of(settings, prior.config.text_dim)
    if own != t5:
        raise CheckpointError(
            f"{settings.path}: the prior must read texts by {t5.name}, as the model does, not {own.name}"
        )
    return prior


def _t5_of(settings: ForeignSettings, width: int) -> T5Config:
    """Return the settings of the T5 for the texts, after checking that its states have this width."""
    name = str(settings.get("conditioners.description.t5.name", "t5-base"))
    if _T5_WIDTHS.get(name, width) != width:
        raise CheckpointError(
            f"{settings.path}: its text projection reads states of {width} numbers, but {name} has {_T5_WIDTHS[name]}"
        )
    return T5Config(name, width)


def _opened(path: Path) -> tuple[ForeignSettings, dict[str, Tensor]]:
    """Return the settings and the weights in an exported file."""
    content = read_exported(path)
    weights = content.get("best_state")
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path} must have named tensors in 'best_state': is it an exported checkpoint?")
    return yaml_settings(content.get("xp.cfg"), path), dict(weights)


def _codec_from(path: Path) -> Encodec:
    """Build the codec from an exported file."""
    content = read_exported(path)
    if "pretrained" in content and "best_state" not in content:
        raise CheckpointError(
            f"{path} only names its codec, {content['pretrained']}: fetch that model's {_CODEC} and give it as --codec"
        )
    settings, theirs = _opened(path)
    for key, accepted in _CODEC_NEVER.items():
        settings.refuse(key, *accepted)
    weights = encodec_weights(theirs)
    n_streams = count_parts(weights, "model.quantizer.layers.")
    book = weights.get("model.quantizer.layers.0.codebook.embed")
    if book is None or book.ndim != 2:
        raise CheckpointError(f"{path} must be an EnCodec, but it has no codebook")
    with settings.blamed():
        config = EncodecConfig(
            sample_rate=settings.read("sample_rate", int),
            n_streams=n_streams,
            n_codes=len(book),
            code_dim=book.shape[1],
            n_filters=settings.read("seanet.n_filters", int),
            ratios=settings.whole_numbers("seanet.ratios"),
            n_residual_layers=settings.read("seanet.n_residual_layers", int, 1),
            kernel_size=settings.read("seanet.kernel_size", int, 7),
            last_kernel_size=settings.read("seanet.last_kernel_size", int, 7),
            residual_kernel_size=settings.read("seanet.residual_kernel_size", int, 3),
            dilation_base=settings.read("seanet.dilation_base", int, 2),
            compress=settings.read("seanet.compress", int, 2),
            n_lstm_layers=settings.read("seanet.lstm", int, 0),
            pad_mode=str(settings.get("seanet.pad_mode", "reflect")),
        )
        module = Encodec(config)
    told = {
        "rvq.n_q": (settings.get("rvq.n_q"), n_streams),
        "rvq.bins": (settings.get("rvq.bins"), config.n_codes),
        "seanet.dimension": (settings.get("seanet.dimension"), config.code_dim),
    }
    _check_told(path, told)
    fill(module, weights, path)
    return module.eval()


def _transformer_from(
    settings: ForeignSettings,
    theirs: Mapping[str, Tensor],
    codec: Encodec,
    network: type[Network],
    sizes_of: type[StreamTransformerConfig],
) -> Network:
    """Build a transformer over the codec's streams with its weights, masked or causal."""
    for key, accepted in (_NEVER | (_DELAYED if network.causal else _PARALLEL)).items():
        settings.refuse(key, *accepted)
    _check_conditioners(settings)
    path = settings.path
    weights = stream_weights(theirs)
    try:
        table, text = weights["streams.0.weight"], weights["text.weight"]
        hidden = len(weights["blocks.0.mlp.fc1.weight"])
    except KeyError as error:
        raise CheckpointError(f"{path} must be a MAGNeT or MusicGen, but it has no {error.args[0]}") from error
    width, n_codes = table.shape[1], len(table) - 1
    context = settings.read("transformer_lm.subcodes_context", int, 5)
    seconds = settings.read("dataset.segment_duration", float)
    n_streams, depth = count_parts(weights, "streams."), count_parts(weights, "blocks.")
    sizes = codec.config
    with settings.blamed():
        config = sizes_of(
            n_streams=n_streams,
            n_codes=n_codes,
            n_cols=max(1, round(seconds * sizes.sample_rate / sizes.hop_length)),
            width=width,
            depth=depth,
            n_heads=settings.read("transformer_lm.num_heads", int, max(1, width // _HEAD_DIM)),
            mlp_ratio=hidden / width,
            context=None if context < 0 else context,
            span=settings.read("masking.span_len", int, 3),
            text_dim=text.shape[1],
        )
        module = network(config)
    told = {
        "transformer_lm.dim": (settings.get("transformer_lm.dim"), width),
        "transformer_lm.num_layers": (settings.get("transformer_lm.num_layers"), depth),
        "transformer_lm.n_q": (settings.get("transformer_lm.n_q"), n_streams),
        "transformer_lm.card": (settings.get("transformer_lm.card"), n_codes),
        "transformer_lm.hidden_scale": (settings.get("transformer_lm.hidden_scale"), hidden / width),
        "the streams of the codec": (sizes.n_streams, n_streams),
        "the codes of the codec": (sizes.n_codes, n_codes),
        "sample_rate": (settings.get("sample_rate"), sizes.sample_rate),
    }
    _check_told(path, told)
    fill(module, weights, path)
    return module.eval()


def _check_conditioners(settings: ForeignSettings) -> None:
    """Raise where there are conditions other than a text read by T5."""
    conditioners = settings.get("conditioners", {})
    names = [name for name in conditioners if name != "args"] if isinstance(conditioners, Mapping) else ["?"]
    model = settings.get("conditioners.description.model", "t5")
    if names not in ([], ["description"]) or model != "t5":
        raise CheckpointError(
            f"{settings.path}: conditioners must be one description read by t5, got {', '.join(names)} by {model}"
        )


def _check_told(path: Path, told: Mapping[str, tuple[Any, Any]]) -> None:
    """Raise where settings contradict the weights; missing ones are not compared."""
    for name, (said, found) in told.items():
        if said is not None and said != found:
            raise CheckpointError(f"{path}: {name} must be that of the weights, {found:g}, got {said!r}")


def _decoding_of(settings: ForeignSettings, config: StreamTransformerConfig) -> tuple[SolverConfig, ...]:
    """Return the decoding settings of each stream; by default those of MAGNeT."""

    def number(name: str, default: float) -> float:
        return settings.read(f"generate.lm.{name}", float, default)

    steps = settings.whole_numbers("generate.lm.decoding_steps", [20, *[10] * (config.n_streams - 1)])
    if len(steps) != config.n_streams:
        raise CheckpointError(
            f"{settings.path}: generate.lm.decoding_steps must be {config.n_streams} numbers, one a stream, got {steps}"
        )
    top_k, top_p = int(number("top_k", 0)), number("top_p", 0.9)
    sampled, annealed = (bool(settings.get(f"generate.lm.{name}", True)) for name in ("use_sampling", "anneal_temp"))
    arrangement = settings.get("generate.lm.span_arrangement", "nonoverlap")
    with settings.blamed():
        base = replace(
            preset("magnet"),
            guidance=number("max_cfg_coef", 10.0),
            guidance_min=number("min_cfg_coef", 1.0),
            token_temperature=number("temp", 3.0),
            token_annealing="to_zero" if annealed else "none",
            top_k=1 if not sampled else (top_k or None) if not top_p else None,
            top_p=(top_p or None) if sampled else None,
            # There top-k changes the probabilities for the confidence, too; top-p does not.
            confidence="drawn" if sampled and top_k and not top_p else "whole",
            group_score="max" if settings.get("generate.lm.span_scoring", "max") == "max" else "sum",
            overlap=config.span if arrangement == "stride1" else 0,
        )
        return tuple(replace(base, n_steps=n) for n in steps)

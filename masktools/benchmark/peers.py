"""Other models at their published sizes with random weights, timed beside ours in one run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from masktools.benchmark.measurements import Measurement, Value, interleaved, ratio_to, spread_of
from masktools.benchmark.models import RunSettings, random_condition
from masktools.benchmark.roofline import Peaks, bound_figures, counted, model_costs, part_precision, precision_name
from masktools.core.arguments import check_installed, checked_name
from masktools.core.runtime import threads as use_threads
from masktools.mel import MelConfig
from masktools.model import Model
from masktools.networks.scales import (
    ScaleTokenizer,
    ScaleTokenizerConfig,
    ScaleTransformer,
    ScaleTransformerConfig,
    draw_scales,
    scale_plan,
)
from masktools.networks.tokenizer import Encodec, EncodecConfig
from masktools.networks.transformer import StreamTransformer, StreamTransformerConfig
from masktools.networks.vocoder import LightVocoder, LightVocoderConfig
from masktools.pipeline import Pipeline, Progress
from masktools.solver import SolverConfig

Sizes = Mapping[str, Any]
_SCALES_SIZES = {"width": 768, "depth": 24, "n_codes": 1024}  # of SpecMaskGIT
_LIGHT = {"width": 512, "depth": 8, "mlp_ratio": 3.0}  # the vocoder of the size "paper"


@dataclass(frozen=True, eq=False)
class PeerRun:
    """A model ready for timing, for one clip with guidance."""

    name: str
    calls: Mapping[str, tuple[Callable[[], Tensor], int]]  # the parts of a whole run, and the number of calls of each
    n_steps: int  # of a whole run
    audio_s: float  # length of its output
    n_parameters: int
    note: str


def build_peer(name: str, device: torch.device, seed: int = 0, sizes: Sizes | None = None) -> PeerRun:
    """Build a peer by its name in ``PEERS``.

    Args:
        name: name of the peer.
        device: device to run on.
        seed: random seed of the weights.
        sizes: deviations from the published settings, by part; for tests of this module.

    Raises:
        ParameterError: the packages that it needs are not installed.
    """
    build, packages = PEERS[name]
    check_installed(f"{name} is built from", packages, "bench")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(device, sizes or {})


def _ready(module: Any, device: torch.device) -> Any:
    return module.eval().requires_grad_(False).to(device)


def _n_parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def audioldm_small(device: torch.device, sizes: Sizes) -> PeerRun:
    """Build AudioLDM-S: 200 steps of diffusion with guidance, then its decoder and its vocoder.

    Source: AudioLDM (arXiv:2301.12503), section 4 and its published configuration.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    published_widths = (128, 256, 384, 640)
    unet_sizes: dict[str, Any] = {
        "in_channels": 8,
        "out_channels": 8,
        "block_out_channels": published_widths,
        "cross_attention_dim": published_widths,  # self-attention, twice
        "layers_per_block": 2,
        "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * 3),
        "up_block_types": (*["CrossAttnUpBlock2D"] * 3, "UpBlock2D"),
        "class_embed_type": "simple_projection",
        "projection_class_embeddings_input_dim": 512,
        "class_embeddings_concat": True,
    } | dict(sizes.get("unet", {}))
    decoder_sizes: dict[str, Any] = {
        "in_channels": 1,
        "out_channels": 1,
        "latent_channels": 8,
        "block_out_channels": (128, 256, 512),
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
        "layers_per_block": 2,
    } | dict(sizes.get("decoder", {}))
    vocoder_sizes: dict[str, Any] = {
        "model_in_dim": 64,
        "sampling_rate": 16_000,
        "upsample_initial_channel": 1024,
        "upsample_rates": [5, 4, 2, 2, 2],
        "upsample_kernel_sizes": [16, 16, 8, 4, 4],
        "normalize_before": False,
    } | dict(sizes.get("vocoder", {}))
    unet = _ready(UNet2DConditionModel(**unet_sizes), device)
    decoder = _ready(AutoencoderKL(**decoder_sizes), device)
    vocoder = _ready(SpeechT5HifiGan(SpeechT5HifiGanConfig(**vocoder_sizes)), device)
    n_frames = int(sizes.get("n_frames", 1024))  # 10.24 s
    latents = torch.randn(2, 8, n_frames // 4, 16, device=device)
    labels = torch.randn(2, int(unet_sizes["projection_class_embeddings_input_dim"]), device=device)

    def finish() -> Tensor:
        mel = decoder.decode(latents[:1]).sample
        return vocoder(mel.squeeze(1).float())

    def step() -> Tensor:
        return unet(latents, 500, encoder_hidden_states=None, class_labels=labels).sample

    return PeerRun(
        "AudioLDM-S",
        {"step": (step, 200), "decoder and vocoder": (finish, 1)},
        200,
        n_frames * 160 / 16_000,
        _n_parameters(unet, decoder, vocoder),
        "of diffusers' and transformers' parts, random weights",
    )


def _magnet_small(device: torch.device, sizes: Sizes, n_steps: Sequence[int], seconds: float) -> PeerRun:
    config = replace(StreamTransformerConfig(), **sizes.get("transformer", {}))
    codec = _ready(Encodec(replace(EncodecConfig(), **sizes.get("codec", {}))), device)
    transformer = _ready(StreamTransformer(config), device)
    n_cols = round(float(sizes.get("seconds", seconds)) * codec.config.sample_rate / codec.config.hop_length)
    tokens = torch.randint(config.n_codes, (1, config.n_streams, n_cols), device=device)
    with torch.no_grad():
        text = transformer.read(torch.randn(1, _TEXT_TOKENS, config.text_dim, device=device))
    calls: dict[str, tuple[Callable[[], Tensor], int]] = {}
    for name, stage, steps in (("first stream", 0, n_steps[:1]), ("later stream", 1, n_steps[1:])):
        # The last step of a stream needs no guidance.
        calls[name] = partial(transformer.logits, tokens, stage, text), sum(steps)
        calls[f"{name}, no text"] = partial(transformer.logits, tokens, stage), sum(steps) - len(steps)
    calls["codec"] = partial(codec.decode, tokens), 1
    return PeerRun(
        f"MAGNeT-small, {seconds:g} s",
        calls,
        sum(n_steps),
        n_cols * codec.config.hop_length / codec.config.sample_rate,
        _n_parameters(transformer, codec),
        "its transformer and its codec at their public sizes, in this package's implementation, random weights",
    )


def magnet_small(device: torch.device, sizes: Sizes) -> PeerRun:
    """Build MAGNeT-small for 10 s of music: 20 + 10 + 10 + 10 steps, 96 passes with guidance, then EnCodec's decoder.

    Source: MAGNeT (arXiv:2401.04577), section 4 and its published configuration for 10 s.
    """
    return _magnet_small(device, sizes, (20, 10, 10, 10), 10.0)


def magnet_small_30(device: torch.device, sizes: Sizes) -> PeerRun:
    """Build MAGNeT-small for 30 s of music: 60 + 10 + 10 + 10 steps, 176 passes with guidance.

    Source: MAGNeT (arXiv:2401.04577), section 4 and its published configuration for 30 s.
    """
    return _magnet_small(device, sizes, (60, 10, 10, 10), 30.0)


def scales_paper(device: torch.device, sizes: Sizes) -> PeerRun:
    """Build a model over scales of SpecMaskGIT's width and depth: one pass per scale with guidance, then its decoder.

    It makes the same mel spectrograms of 9.85 s, over four scales that grow in time alone, with channel multiplexing
    (2, 2); no sizes of MARS have been published.

    Source: MARS (arXiv:2509.26007); VAR (arXiv:2404.02905), section 3.
    """
    mel = MelConfig()
    scales = tuple(tuple(scale) for scale in sizes.get("scales", ((5, 1), (5, 4), (5, 14), (5, 53))))
    width, depth, n_codes = (int(sizes.get(name, usual)) for name, usual in _SCALES_SIZES.items())
    n_heads = max(1, width // 96)
    config = ScaleTransformerConfig(scales, n_codes, condition_dim=512, width=width, depth=depth, n_heads=n_heads)
    widths = tuple(sizes.get("widths", (128, 128, 256, 256)))
    codec = _ready(ScaleTokenizer(ScaleTokenizerConfig(scales=scales, widths=widths, n_codes=n_codes)), device)
    transformer = _ready(ScaleTransformer(config), device)
    vocoder = _ready(LightVocoder(LightVocoderConfig(**sizes.get("vocoder", _LIGHT)), mel), device)
    plan, condition = scale_plan(len(scales), 3.0), torch.randn(1, 512, device=device)
    grids = [torch.randint(n_codes, (1, *scale), device=device) for scale in scales]

    def draw() -> Tensor:
        return draw_scales(transformer, codec.quantiser, [0], condition, plan).tokens[-1]

    return PeerRun(
        "over scales",
        {"all scales, with and without condition": (draw, 1), "decoder": (lambda: vocoder(codec.decode(grids)), 1)},
        len(scales),
        codec.n_frames * mel.hop_length / mel.sample_rate,
        _n_parameters(transformer, codec, vocoder),
        "of this package's parts at the width and depth of SpecMaskGIT, random weights",
    )


PEERS: Mapping[str, tuple[Callable[[torch.device, Sizes], PeerRun], tuple[str, ...]]] = MappingProxyType(
    {
        "audioldm-s": (audioldm_small, ("diffusers", "transformers")),
        "magnet-small": (magnet_small, ("transformers",)),
        "magnet-small-30": (magnet_small_30, ("transformers",)),
        "scales": (scales_paper, ()),
    }
)
"""Peers by name, with the packages that they need."""


_TEXT_TOKENS = 16
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def measure_peers(
    pipeline: Pipeline, peaks: Peaks, settings: RunSettings, solver: SolverConfig, progress: Progress | None = None
) -> tuple[Measurement, ...]:
    """Return the times of a clip by our model and by peers; ratios are of real-time factors.

    They are timed in alternation: a whole clip of ours, then each kind of call of every peer once. The time of a peer's
    whole run is the sum over its calls, each times its number in the published settings.

    Args:
        pipeline: our model.
        peaks: peak rates of the machine, with the same number of threads.
        settings: peers, precisions and repeats; precisions but int8 apply to peers too, by autocast, else fp32.
        solver: decoding settings of our model.
        progress: called with (calls done, calls in total).

    Raises:
        ParameterError: an unknown peer, or the packages that one needs are not installed.
    """
    for name in settings.peers:
        checked_name("peer", name, PEERS)
    precisions = [name for name in settings.precisions if name in ("fp32", *_TYPES)] or ["fp32"]
    device, n_threads = pipeline.device, settings.threads[0]
    model = Model(pipeline, n_threads)
    condition = random_condition(pipeline, 1, settings.seed)
    ours_s = pipeline.window_samples / pipeline.sample_rate
    runs = {
        name: build_peer(name, device, settings.seed, settings.peer_sizes.get(name))
        for name in dict.fromkeys(settings.peers)
    }
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: model.generate(condition, seed=settings.seed, solver=solver)
    }
    for name, run in runs.items():
        for precision in precisions:
            for call, (compute, _) in run.calls.items():
                calls[f"{name} {precision} {call}"] = _computing(compute, precision, device)
    with use_threads(n_threads):
        times = interleaved(calls, settings.repeats, device, progress=progress)
        threads = torch.get_num_threads()
    case: dict[str, Value] = {"batch": 1, "threads": threads}
    base = [seconds / ours_s for seconds in times["ours"]]
    found = [_ours(pipeline, solver, peaks, times["ours"], case)]
    for name, run in runs.items():
        flop = sum(n_times * counted(compute) for compute, n_times in run.calls.values())
        for precision in precisions:
            counts = [n_times for _, n_times in run.calls.values()]
            rounds = zip(*(times[f"{name} {precision} {call}"] for call in run.calls), strict=True)
            whole = [sum(n * seconds for n, seconds in zip(counts, taken, strict=True)) for taken in rounds]
            found.append(_theirs(run, precision, whole, base, flop, peaks, case))
    return tuple(found)


def _computing(call: Callable[[], object], precision: str, device: torch.device) -> Callable[[], object]:
    def run() -> object:
        reduced = precision in _TYPES
        with torch.inference_mode(), torch.autocast(device.type, _TYPES.get(precision), enabled=reduced):
            return call()

    return run


def _ours(
    pipeline: Pipeline, solver: SolverConfig, peaks: Peaks, times: Sequence[float], case: Mapping[str, Value]
) -> Measurement:
    costs, precision = model_costs(pipeline), precision_name(pipeline)
    flop = {precision: costs.solving(solver, True)}
    for part, amount in (("decoder", costs.decode), ("vocoder", costs.vocoder)):
        name = part_precision(pipeline, part)
        flop[name] = flop.get(name, 0.0) + amount
    audio_s = pipeline.window_samples / pipeline.sample_rate
    figures = bound_figures(flop, spread_of(times).median, audio_s, peaks)
    figures |= {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0, "n_steps": float(solver.n_steps)}
    figures["parameters"] = float(sum(costs.parameters.values()))
    return Measurement.of_times("peers", pipeline.name, {**case, "precision": precision}, times, figures)


def _theirs(
    run: PeerRun,
    precision: str,
    whole: Sequence[float],
    base: Sequence[float],
    flop: float,
    peaks: Peaks,
    case: Mapping[str, Value],
) -> Measurement:
    figures = bound_figures({precision: flop}, spread_of(whole).median, run.audio_s, peaks)
    figures |= ratio_to([seconds / run.audio_s for seconds in whole], base)
    figures |= {"n_steps": float(run.n_steps), "parameters": float(run.n_parameters)}
    counted_calls = ", ".join(f"{n_times} of {call}" for call, (_, n_times) in run.calls.items())
    note = f"each kind of call timed once and multiplied ({counted_calls}); {run.note}"
    return Measurement.of_times("peers", run.name, {**case, "precision": precision}, whole, figures, note)

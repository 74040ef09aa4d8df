"""LAION's CLAP as a conditioner: loaded from a local file, with every name checked; or lazily on first use.

The network is ``transformers.ClapModel``; the front end is our own, so that an embedding depends on the clip alone:
of long audio the middle is taken, where the original draws a part at random. A ``laion_clap.CLAP_Module`` that its user
has loaded is a conditioner too; the package itself is not imported.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from masktools.core.arguments import check_counts, shown
from masktools.core.configs import parse_json
from masktools.core.errors import CheckpointError, ParameterError
from masktools.core.runtime import single_precision
from masktools.core.shapes import Condition, Wave
from masktools.io import resample
from masktools.mel import MelConfig, mel_filterbank
from masktools.networks.conditioning.prompts import Conditioner, check_texts, check_wave
from masktools.networks.weights import check_weights, read_weights

# Without a counterpart: heads of losses and classifiers, the front end that is rebuilt, tables that follow from sizes.
_DROPPED = re.compile(
    r"^(text_transform|audio_transform)\."
    r"|^audio_branch\.(spectrogram_extractor|logmel_extractor|tscam_conv|head)\."
    r"|\.attn_mask$"
)
_AUDIO = (
    (r"^bn0\.", "batch_norm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.", ".attention.self."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
_PROJECTION = re.compile(r"^(text|audio)_projection\.([02])\.")
_LINEAR = {"0": "linear1", "2": "linear2"}
# Buffers that are made from the sizes alone, so that a checkpoint may leave them out.
_REBUILT = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")


def from_laion(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of LAION's code with the names of ``transformers.ClapModel``."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if _DROPPED.search(name):
            continue
        ours = _renamed(name)
        if ".qkv." in ours:
            parts = value.chunk(3, dim=0)  # rows: queries, keys, values
            renamed |= {ours.replace(".qkv.", f".{part}."): rows for part, rows in zip(_QKV, parts, strict=True)}
        else:
            renamed[ours] = value
    return renamed


_QKV = ("query", "key", "value")


def _renamed(name: str) -> str:
    branch, _, rest = name.partition(".")
    if branch == "text_branch":
        return f"text_model.{rest}"
    if branch == "audio_branch":
        for pattern, replacement in _AUDIO:
            rest = re.sub(pattern, replacement, rest)
        return f"audio_model.audio_encoder.{rest}"
    return _PROJECTION.sub(lambda found: f"{found[1]}_projection.{_LINEAR[found[2]]}.", name)


def check_keys(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Check that a state dict is exactly that of a model; only buffers made from sizes may be missing, or superfluous.

    Raises:
        CheckpointError: names are missing or unknown, or shapes differ.
    """
    try:
        check_weights(state, expected, source, "this CLAP", _REBUILT)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. It looks like {describe_layout(state)}") from None


def describe_layout(state: Mapping[str, Tensor]) -> str:
    """Describe the CLAP that the names and shapes resemble."""
    names = list(state)
    if any("mel_conv2d" in name or "fusion_model" in name for name in names):
        return "a fusion model (630k-audioset-fusion-best.pt); take 630k-audioset-best.pt"
    patches = [value for name, value in state.items() if name.endswith("patch_embed.proj.weight")]
    if patches:
        width = patches[0].shape[0]
        known = {96: "HTSAT-tiny, the audio side of 630k-audioset-best.pt", 128: "HTSAT-base, a music or speech CLAP"}
        return f"a CLAP with {width} channels ({known.get(width, 'no published size')})"
    if any(name.startswith(("caption_encoder.", "audio_encoder.")) for name in names):
        return "the CLAP of the msclap package, which is another model"
    if any("conv_block" in name for name in names):
        return "a CLAP with the PANN audio side, which is another model"
    return f"no CLAP at all; its first names are {', '.join(names[:4]) or 'none'}"


ENVIRONMENT_VARIABLE = "MASKTOOLS_CLAP"
_FORMS = (
    "LAION's 630k-audioset-best.pt, a .safetensors file of it, or a folder of transformers "
    "(config.json and model.safetensors)"
)
_WITHOUT = (
    "Only models conditioned on CLAP need it: inpaint, bwe, embed, encode and decode work without it, and the bundled "
    "model reads texts by itself"
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_PROBES = ("a dog barking", "rain")


def find_checkpoint(path: str | os.PathLike[str] | None) -> Path:
    """Return the checkpoint given by a path or by the environment variable MASKTOOLS_CLAP.

    Raises:
        CheckpointError: neither names a file or a folder that exists.
    """
    asked = path or os.environ.get(ENVIRONMENT_VARIABLE)
    if not asked:
        raise CheckpointError(
            f"no CLAP checkpoint: no path is given and {ENVIRONMENT_VARIABLE} is not set. Give {_FORMS}. {_WITHOUT}"
        )
    source = Path(asked).expanduser()
    if not source.exists():
        named = "" if path else f", named by {ENVIRONMENT_VARIABLE},"
        raise CheckpointError(
            f"no CLAP checkpoint at {source.absolute()}{named}: give {_FORMS}, by path or in {ENVIRONMENT_VARIABLE}. "
            f"{_WITHOUT}"
        )
    return source


def read_checkpoint(source: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights under the names of transformers, and the architecture stored beside them (or none).

    Raises:
        CheckpointError: the file is unsafe to read, damaged, or in no known format.
    """
    weights, settings = source, source.parent / "config.json"
    if source.is_dir():
        settings = source / "config.json"
        found = [source / name for name in _WEIGHTS if (source / name).is_file()]
        if not found or not settings.is_file():
            raise CheckpointError(f"the folder {source} must hold config.json and {_WEIGHTS[0]}: give {_FORMS}")
        weights = found[0]
    named = read_weights(weights, "state_dict", "model")
    state = {name.removeprefix("module."): value for name, value in named.items()}  # of data-parallel training
    if any(name.startswith(("audio_branch.", "text_branch.")) for name in state):
        return from_laion(state), {}
    return state, _architecture(settings) if settings.is_file() else {}


def _architecture(settings: Path) -> dict[str, Any]:
    try:
        content = parse_json(settings.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{settings} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict) or content.get("model_type") != "clap":
        raise CheckpointError(f"{settings} must describe a model of type 'clap': give {_FORMS}")
    return content


class ClapTokenizer:
    """RoBERTa's byte-level tokenizer, from files: texts -> token indices and their attention mask.

    Raises:
        CheckpointError: the vocabulary is not of the size that the weights were trained for, or it cannot encode text.
    """

    def __init__(self, folder: Path, n_pieces: int, n_text_tokens: int) -> None:
        self._tokenizer = _open_tokenizer(folder)
        size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        if size != n_pieces:
            raise CheckpointError(f"the tokenizer of CLAP must have {n_pieces} pieces, got {size} in {folder}")
        ids = {piece: self._tokenizer.token_to_id(piece) for piece in ("<s>", "</s>", "<pad>")}
        lacking = [piece for piece, index in ids.items() if index is None]
        if lacking:
            raise CheckpointError(f"the tokenizer in {folder} lacks {', '.join(lacking)}: take RoBERTa's")
        self._start, self._end, self._pad = ids.values()
        self._length = n_text_tokens
        first, second = self(_PROBES)[0]
        if torch.equal(first, second):
            raise CheckpointError(f"the tokenizer in {folder} gives {_PROBES[0]!r} and {_PROBES[1]!r} the same tokens")

    @staticmethod
    def find(place: str | os.PathLike[str], required: bool) -> Path | None:
        """Return the tokenizer's file or folder at or beside ``place``; None where there is none and none is required.

        Raises:
            CheckpointError: one is required and there is none.
        """
        start = Path(place).expanduser()
        if start.name == "tokenizer.json" and start.is_file():
            return start
        folder = start if start.is_dir() else start.parent
        if (folder / "tokenizer.json").is_file():
            return folder / "tokenizer.json"
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return folder
        if required:
            wanted = "tokenizer.json, or a folder with vocab.json and merges.txt"
            raise CheckpointError(f"no tokenizer of CLAP at {start}: it must be {wanted}")
        return None

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return token indices (b, n) and their attention mask (b, n), both int64, padded to a fixed length."""
        bodies = [self._tokenizer.encode(text, add_special_tokens=False).ids[: self._length - 2] for text in texts]
        rows = [[self._start, *body, self._end] for body in bodies]
        ids = [row + [self._pad] * (self._length - len(row)) for row in rows]
        attention = [[int(i < len(row)) for i in range(self._length)] for row in rows]
        return torch.tensor(ids), torch.tensor(attention)


def _open_tokenizer(place: Path) -> Any:
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers
    except ImportError as error:
        raise CheckpointError("texts for CLAP need the package tokenizers: pip install 'masktools[clap]'") from error
    try:
        if place.name == "tokenizer.json":
            return Tokenizer.from_file(str(place))
        tokenizer = Tokenizer(models.BPE.from_file(str(place / "vocab.json"), str(place / "merges.txt")))
    except Exception as error:  # the package raises Exception itself
        raise CheckpointError(f"the tokenizer in {place} cannot be read: {error}") from error
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


_POWER_FLOOR = 1e-10


@dataclass(frozen=True)
class ClapEncoderConfig:
    """Settings of the CLAP wrapper; the defaults are those that 630k-audioset-best.pt was trained with."""

    dim: int = 512
    sample_rate: int = 48_000  # Hz
    window_samples: int = 480_000  # length of the input: the middle of longer audio
    n_fft: int = 1024  # samples
    hop_length: int = 480  # samples
    n_mels: int = 64
    f_min: float = 50.0  # Hz
    f_max: float = 14_000.0  # Hz
    n_text_tokens: int = 77  # longer texts are truncated

    def __post_init__(self) -> None:
        """Check every range."""
        check_counts(self, "dim", "sample_rate", "window_samples", "n_fft", "hop_length", "n_mels", "n_text_tokens")
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise ParameterError(
                f"0 <= f_min < f_max <= {self.sample_rate / 2:g} Hz must hold, got {self.f_min:g} and {self.f_max:g} Hz"
            )


class ClapFrontEnd(nn.Module):
    """Mel spectrogram for CLAP, in dB of power. ``forward``: (b, t) at 48 kHz -> (b, m, f).

    Source: LAION's CLAP (arXiv:2211.06687), section 4.1, and its code for the framing: centred, reflected, Hann.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(self, config: ClapEncoderConfig) -> None:
        super().__init__()
        self.config = config
        mel = MelConfig(
            sample_rate=config.sample_rate,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            win_length=config.n_fft,
            n_mels=config.n_mels,
            f_min=config.f_min,
            f_max=config.f_max,
        )
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("filterbank", mel_filterbank(mel), persistent=False)

    def fit(self, wave: Wave) -> Float[Tensor, "b window"]:
        """Return CLAP's input window: the middle of a long wave, or a short one repeated as often as it fits."""
        wanted = self.config.window_samples
        n_samples = wave.shape[-1]
        if n_samples >= wanted:
            start = (n_samples - wanted) // 2
            return wave[:, start : start + wanted]
        repeated = wave.repeat(1, wanted // n_samples)
        return F.pad(repeated, (0, wanted - repeated.shape[-1]))

    def forward(self, wave: Wave) -> Tensor:
        """Return the spectrogram of the window, quantised to 16 bits as in the original."""
        samples = (self.fit(wave).clamp(-1.0, 1.0) * 32767.0).trunc() / 32767.0
        config = self.config
        spectrum = torch.stft(
            samples, config.n_fft, config.hop_length, window=self.window, center=True, return_complex=True
        )
        power = torch.view_as_real(spectrum).square().sum(-1)
        return 10.0 * (self.filterbank @ power).clamp_min(_POWER_FLOOR).log10().transpose(1, 2)


class ClapSides(nn.Module):
    """Base of all CLAP conditioners: waves at one rate, embeddings of one size; never trained."""

    config: ClapEncoderConfig
    front_end: ClapFrontEnd

    @property
    def dim(self) -> int:
        """Size of an embedding."""
        return self.config.dim

    @torch.no_grad()
    def embed_audio(self, wave: Wave, sample_rate: int) -> Condition:
        """Return the embedding of each wave; for one longer than ten seconds, that of its middle.

        Args:
            wave: samples in [-1, 1]
            sample_rate: sampling rate in Hz

        Raises:
            ParameterError: there are no samples, or some are not finite.
        """
        check_wave(wave, sample_rate)
        if sample_rate != self.config.sample_rate:
            wave = torch.from_numpy(resample(wave.cpu().numpy(), sample_rate, self.config.sample_rate))
        return self._embedded(wave)

    def _embedded(self, wave: Wave) -> Condition:
        raise NotImplementedError

    def train(self, mode: bool = True) -> "ClapSides":
        """Stay in evaluation mode: CLAP is never trained here, and its batch statistics must not move."""
        return super().train(False)


class ClapEncoder(ClapSides):
    """CLAP as a conditioner: ``embed_audio`` and ``embed_text``, both (b, 512) of unit norm.

    Sounds need the weights alone; texts need a tokenizer too. Construct it with ``from_checkpoint``.
    """

    model: Any  # transformers.ClapModel

    def __init__(self, config: ClapEncoderConfig, model: nn.Module, tokenizer: ClapTokenizer | None = None) -> None:
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.front_end = ClapFrontEnd(config)
        self.model = model.eval().requires_grad_(False)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str] | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
        device: str | torch.device = "cpu",
        architecture: Mapping[str, Any] | None = None,
    ) -> "ClapEncoder":
        """Load CLAP from local files.

        Args:
            path: LAION's .pt, a .safetensors with the same names or with those of transformers, or a folder of
                transformers;
                the environment variable MASKTOOLS_CLAP by default
            tokenizer: a folder with vocab.json and merges.txt, or with tokenizer.json, or that file itself; looked for
                beside the checkpoint by default
            device: device to compute on
            architecture: settings of ``transformers.ClapConfig``; by default those in the checkpoint's folder, or those
                of
                630k-audioset-best.pt

        Raises:
            CheckpointError: there is no such file, it is unsafe to read or in another format, the tokenizer does
                not fit, or transformers is not installed.
        """
        source = find_checkpoint(path)
        state, found_architecture = read_checkpoint(source)
        model = _build(found_architecture if architecture is None else dict(architecture), source)
        check_keys(state, model.state_dict(), str(source))
        model.load_state_dict(state, strict=False)  # the names that may be missing were checked
        n_pieces = len(model.text_model.embeddings.word_embeddings.weight)
        config = ClapEncoderConfig(dim=model.config.projection_dim)
        beside = ClapTokenizer.find(source if tokenizer is None else tokenizer, required=tokenizer is not None)
        found = None if beside is None else ClapTokenizer(beside, n_pieces, config.n_text_tokens)
        return cls(config, model, found).to(device)

    def _embedded(self, wave: Wave) -> Condition:
        mel = self.front_end(wave.to(self.front_end.window))
        heard = self.model.audio_model(input_features=mel.unsqueeze(1)).pooler_output
        return F.normalize(self.model.audio_projection(heard), dim=-1)

    @torch.no_grad()
    def embed_text(self, texts: list[str]) -> Condition:
        """Return the embedding of each text.

        Raises:
            ParameterError: a text is empty.
            CheckpointError: there is no tokenizer.
        """
        if self.tokenizer is None:
            raise CheckpointError(
                "CLAP needs its tokenizer to read texts: put vocab.json and merges.txt (or tokenizer.json) of RoBERTa "
                "beside the checkpoint, or pass `tokenizer`; sounds need none"
            )
        check_texts(texts)
        ids, attention = (tensor.to(self.front_end.window.device) for tensor in self.tokenizer(texts))
        read = self.model.text_model(input_ids=ids, attention_mask=attention).pooler_output
        return F.normalize(self.model.text_projection(read), dim=-1)


def _build(architecture: dict[str, Any], source: Path) -> Any:
    try:
        from transformers import ClapConfig, ClapModel
    except ImportError as error:
        raise CheckpointError("CLAP needs the package transformers: pip install 'masktools[clap]'") from error
    config: Any = ClapConfig(**architecture)
    if config.audio_config.enable_fusion:
        raise CheckpointError(f"{source} is a fusion model, which is not read here: take 630k-audioset-best.pt")
    return ClapModel(config)


class DeferredClap:
    """CLAP that is loaded on first use, since its weights are not part of a bundle.

    A model that was trained with it works without it as long as no condition is needed.
    """

    def __init__(self, dim: int, device: torch.device) -> None:
        self.dim, self.device = dim, device

    @cached_property
    def clap(self) -> ClapEncoder:
        """The encoder, loaded.

        Raises:
            CheckpointError: its file is missing.
        """
        with single_precision():
            return ClapEncoder.from_checkpoint(device=self.device)

    def embed_audio(self, wave: Wave, sample_rate: int) -> Condition:
        """Return one embedding per wave."""
        return self.clap.embed_audio(wave, sample_rate)

    def embed_text(self, texts: list[str]) -> Condition:
        """Return one embedding per text."""
        return self.clap.embed_text(texts)


_FACE = ("get_audio_embedding_from_data", "get_text_embedding")


class LaionClap(ClapSides):
    """A ``CLAP_Module`` as a conditioner: ``embed_audio`` and ``embed_text``, both (b, 512) of unit norm.

    A wave is resampled to 48 kHz and cut to the ten seconds in its middle, or repeated up to them, before it goes to
    the
    module: the module itself would draw ten seconds at random, and an embedding would not be reproducible.

    Args:
        clap: the module, with weights loaded by its ``load_ckpt``.

    Raises:
        ParameterError: another object than such a module.
    """

    def __init__(self, clap: Any) -> None:
        super().__init__()
        if not is_laion_clap(clap):
            raise ParameterError(f"clap must be a CLAP_Module of laion_clap, got {shown(clap)}")
        self.module: Any = clap.eval().requires_grad_(False)
        self.config = ClapEncoderConfig(dim=clap.model.joint_embed_shape)
        self.front_end = ClapFrontEnd(self.config)

    def _embedded(self, wave: Wave) -> Condition:
        heard = self.front_end.fit(wave.cpu().float()).clamp(-1.0, 1.0)
        return self._unit(self.module.get_audio_embedding_from_data(x=heard.numpy(), use_tensor=False))

    @torch.no_grad()
    def embed_text(self, texts: list[str]) -> Condition:
        """Return the embedding of each text.

        Raises:
            ParameterError: a text is empty.
        """
        check_texts(texts)
        return self._unit(self.module.get_text_embedding(list(texts), use_tensor=False))

    def _unit(self, vectors: Any) -> Tensor:
        return F.normalize(torch.as_tensor(vectors, dtype=torch.float32), dim=-1).to(self.front_end.window.device)


def is_laion_clap(given: object) -> bool:
    """Whether an object is a ``CLAP_Module``, judged by its methods."""
    has_model = isinstance(getattr(getattr(given, "model", None), "joint_embed_shape", None), int)
    return isinstance(given, nn.Module) and has_model and all(callable(getattr(given, name, None)) for name in _FACE)


def as_conditioner(given: Any) -> Conditioner:
    """Return a conditioner: one is returned unchanged, a ``CLAP_Module`` is wrapped in a ``LaionClap``.

    Raises:
        ParameterError: another object.
    """
    if isinstance(given, Conditioner):
        return given
    if is_laion_clap(given):
        return LaionClap(given)
    raise ParameterError(
        f"conditioner must have dim, embed_audio and embed_text, or be a CLAP_Module, got {shown(given)}"
    )

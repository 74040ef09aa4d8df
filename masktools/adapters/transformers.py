"""The encoder as a model of transformers: ``register()``, then ``AutoModel.from_pretrained(FOLDER or OWNER/NAME)``.

No code is taken from a repository: a bundle says what it is in its config.json, and this module is what
reads it. Whatever is trained further with transformers is saved, pushed and loaded as transformers does it.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from masktools.core.configs import from_dict
from masktools.core.errors import ParameterError
from masktools.core.shapes import flatten
from masktools.features.layers import LayerChoice, hidden_states
from masktools.features.windows import Hop, Source, Times, tokenised_windows
from masktools.io import resample
from masktools.mel import MelConfig
from masktools.networks.transformer import MaskedTransformer
from masktools.networks.vocoder import VOCODERS
from masktools.pipeline import Pipeline
from masktools.pipeline.bundles import MODEL_TYPE, find_bundle, list_models, stored_part
from masktools.pipeline.hub import build_part

try:
    import transformers
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, PreTrainedConfig, PreTrainedModel
    from transformers.feature_extraction_utils import BatchFeature
    from transformers.modeling_outputs import BaseModelOutputWithPooling
except ImportError as error:
    raise ParameterError(
        "masktools.adapters.transformers needs the package transformers, 5 or newer: pip install 'transformers>=5'"
    ) from error

__all__ = ["SpecMaskGitConfig", "SpecMaskGitFeatureExtractor", "SpecMaskGitModel", "register"]


class SpecMaskGitConfig(PreTrainedConfig):
    """Configuration of a bundle (its config.json), or as ``SpecMaskGitModel.save_pretrained`` has written it.

    Attributes:
        mel: settings of the mel spectrograms.
        tokenizer: ``kind`` and ``config`` of the tokenizer.
        transformer: ``kind`` and ``config`` of the transformer.
        format: format of the bundle; None where transformers has written the weights.
    """

    model_type = MODEL_TYPE
    mel: dict | None = None
    tokenizer: dict | None = None
    transformer: dict | None = None
    format: int | None = None

    @property
    def hidden_size(self) -> int:
        """Numbers in the vector of a token."""
        return int((self.transformer or {})["config"]["width"])

    @property
    def num_hidden_layers(self) -> int:
        """Blocks of the transformer."""
        return int((self.transformer or {})["config"]["depth"])

    @property
    def sampling_rate(self) -> int:
        """Of the waves, in Hz."""
        return int((self.mel or {})["sample_rate"])


class SpecMaskGitModel(PreTrainedModel):
    """Waves -> the vector of each token. ``forward``: (b, t) at ``config.sampling_rate`` -> (b, n, d), and their mean.

    Nothing is masked, and the tokenizer is not trained. Vectors are those of ``masktools.Encoder``: columns of 0.186 s
    one after the other, five rows each, from the lowest band up; longer waves are heard in windows of 9.85 s. A wave is
    the same alone and in any batch.
    """

    config_class = SpecMaskGitConfig
    base_model_prefix = "model"
    main_input_name = "input_values"

    def __init__(self, config: SpecMaskGitConfig) -> None:
        super().__init__(config)
        self.mel_config = from_dict(MelConfig, config.mel or {})
        parts = {}
        for part in ("tokenizer", "transformer"):
            entry = getattr(config, part) or {}
            if not {"kind", "config"} <= set(entry):
                raise ParameterError(f"the configuration must tell kind and config of the {part}, got {entry!r:.80}")
            parts[part] = build_part(part, entry["kind"], entry["config"], self.mel_config)
        self.tokenizer: Any = parts["tokenizer"].requires_grad_(False)
        self.transformer: Any = parts["transformer"]
        if not isinstance(self.transformer, MaskedTransformer):
            raise ParameterError("transformers takes models over a grid of bands, this one is none")
        self._made: Pipeline | None = None
        self.post_init()

    def _init_weights(self, module: Any) -> None:
        """Leave layers as they are made."""

    @classmethod
    def from_pretrained(cls, source: Any, *args: Any, config: Any = None, **options: Any) -> Any:
        """Return the model of a bundle, or of what ``save_pretrained`` has written.

        Args:
            source: the name of a model at hand, the folder of either, or ``owner/name`` on the Hugging Face hub.
            args: as transformers has them.
            config: the configuration; that of the source if None.
            options: as transformers has them; of a bundle only revision, cache_dir and dtype count.

        Raises:
            BundleError: no such model, or one that is incomplete or altered.
        """
        source = str(list_models().get(str(source), source))
        where: dict[str, Any] = {name: options.get(name) for name in ("revision", "cache_dir")}
        config = SpecMaskGitConfig.from_pretrained(source, **where) if config is None else config
        if config.format is None:
            return super().from_pretrained(source, *args, config=config, **options)
        folder = find_bundle(source, **where)
        config.format = None
        model = cls(config)
        for part in ("tokenizer", "transformer"):
            getattr(model, part).load_state_dict(stored_part(folder, part)[1])
        dtype = options.get("dtype", options.get("torch_dtype"))
        return (model if dtype in (None, "auto") else model.to(dtype)).eval()

    def train(self, mode: bool = True) -> "SpecMaskGitModel":
        """Leave the tokenizer in evaluation."""
        super().train(mode)
        self.tokenizer.train(False)
        return self

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """Return the vectors of tokens; those behind the end of a wave are 0.

        Args:
            input_values: waves (b, t) in [-1, 1], at the model's rate.
            attention_mask: (b, t), 0 behind the end of each wave; what is there changes nothing.
            output_hidden_states: whether all states are wanted: what enters the first block, and what leaves each.
            return_dict: a tuple is returned if it is False.
            options: not needed here.

        Raises:
            AudioError: no samples, or some that are not finite.
        """
        depth = self.transformer.config.depth
        wanted = tuple(range(depth + 1)) if output_hidden_states else (depth,)
        whole = torch.ones_like(input_values, dtype=torch.bool) if attention_mask is None else attention_mask
        lengths = whole.long().sum(dim=1).tolist()
        waves = [wave[:stop].detach().float().cpu().numpy() for wave, stop in zip(input_values, lengths, strict=True)]
        every = self._states(waves, LayerChoice(wanted, single=False))
        pooled = torch.stack([states[-1].mean(dim=0) for states in every])
        states = tuple(pad_sequence([own[number] for own in every], batch_first=True) for number in range(len(wanted)))
        kept = states if output_hidden_states else None
        found = BaseModelOutputWithPooling(last_hidden_state=states[-1], pooler_output=pooled, hidden_states=kept)
        return found.to_tuple() if return_dict is False else found

    def _states(self, waves: list[np.ndarray], choice: LayerChoice) -> list[Tensor]:
        """Return the states (l, n, d) of each wave."""
        walk = self._walk()
        rate, n_rows = walk.sample_rate, walk.grid.n_rows
        of_width: defaultdict[int, list[tuple[int, int, Tensor]]] = defaultdict(list)  # wave, first new column, tokens
        for number, wave in enumerate(waves):
            channels = wave[None]
            source = Source(lambda start, stop, of=channels: of[:, start:stop], len(wave), rate)
            position = 0
            for piece in tokenised_windows(walk, source, Times(walk.grid, Hop(), len(wave), rate), 0, walk.window_cols):
                of_width[piece.window.length].append((number, position - piece.window.start, piece.tokens))
                position = piece.window.stop
        parts: list[list[Tensor]] = [[] for _ in waves]
        for width in sorted(of_width, reverse=True):  # of a wave, the last window alone may be shorter
            tokens = torch.stack([tokens for _, _, tokens in of_width[width]]).to(self.device)
            states = hidden_states(self.transformer, flatten(tokens), None, choice)
            for (number, first, _), own in zip(of_width[width], states.unbind(1), strict=True):
                parts[number].append(own[:, first * n_rows :])
        return [torch.cat(own, dim=1) for own in parts]

    def _walk(self) -> Pipeline:
        """Return the way from waves to tokens, on the device where the weights are."""
        if self._made is None or self._made.device != self.device:
            kept, mode = [(weight, weight.requires_grad) for weight in self.transformer.parameters()], self.training
            settings, vocoder = VOCODERS["griffin_lim"]  # which nobody hears
            silent: Any = vocoder(settings(), self.mel_config)
            self._made = Pipeline(self.mel_config, self.tokenizer, self.transformer, silent, device=self.device)
            for weight, wanted in kept:  # a pipeline trains nothing
                weight.requires_grad_(wanted)
            self.train(mode)
        return self._made


class SpecMaskGitFeatureExtractor(transformers.SequenceFeatureExtractor):
    """Waves of any rate and number of channels -> a batch (b, t) at the model's rate, filled up with silence.

    Args:
        feature_size: numbers of a moment: 1.
        sampling_rate: sampling rate of the model in Hz.
        padding_value: behind the end of a wave.
        options: as transformers has them.
    """

    model_input_names = ["input_values", "attention_mask"]  # noqa: RUF012 - transformers' way to say it

    def __init__(
        self, feature_size: int = 1, sampling_rate: int = 22_050, padding_value: float = 0.0, **options: Any
    ) -> None:
        super().__init__(feature_size, sampling_rate, padding_value, **options)

    def __call__(
        self, raw_speech: Any, sampling_rate: int | None = None, padding: Any = True, **options: Any
    ) -> BatchFeature:
        """Return ``input_values`` and ``attention_mask``.

        Args:
            raw_speech: a wave (t,), as librosa and datasets have it, (channels, t), or a list of them.
            sampling_rate: sampling rate of the waves in Hz; that of the model if None.
            padding: as transformers has it.
            options: as transformers has them, above all return_tensors.
        """
        given = raw_speech if isinstance(raw_speech, list | tuple) else [raw_speech]
        given = [raw_speech] if isinstance(raw_speech, list) and np.ndim(raw_speech[0]) == 0 else given
        rate = self.sampling_rate if sampling_rate is None else sampling_rate
        waves = [np.atleast_2d(np.asarray(wave, np.float32)) for wave in given]
        mono = [resample(wave, rate, self.sampling_rate).mean(axis=0) for wave in waves]
        options = {"return_attention_mask": True, **options}
        return self.pad(BatchFeature({"input_values": mono}), padding=padding, **options)


def register() -> None:
    """Make the encoder known to ``AutoConfig``, ``AutoModel`` and ``AutoFeatureExtractor``; once is enough."""
    AutoConfig.register(MODEL_TYPE, SpecMaskGitConfig, exist_ok=True)
    AutoModel.register(SpecMaskGitConfig, SpecMaskGitModel, exist_ok=True)
    AutoFeatureExtractor.register(SpecMaskGitConfig, SpecMaskGitFeatureExtractor, exist_ok=True)

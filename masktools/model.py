"""The public model class: recordings in, recordings of the same rate and length out.

A recording is a numpy array (t,) or (t, channels), as from soundfile, or a torch tensor (t,) or (channels, t), as from
torchaudio, on any device: floats, full scale 1. The result has the same kind, shape, type and device, in memory of its
own and without gradients; where its sample rate is another one, it is float32.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from masktools.core.arguments import checked_call, checked_switch, checked_whole
from masktools.core.arrays import as_recording, checked_rate, checked_tokens, is_alone
from masktools.core.arrays import like as as_given
from masktools.core.gaps import GapLike
from masktools.core.runtime import threads as use_threads
from masktools.core.settings import (
    BandSettings,
    ContinuationSettings,
    DecodingSettings,
    GapSettings,
    LoopSettings,
    PromptSettings,
    RepairSettings,
    VariationSettings,
)
from masktools.features import Embedding, Encoder, LayerLike
from masktools.io import resample, resample_to
from masktools.networks.conditioning import Prompts
from masktools.pipeline import Progress, Walk, hub
from masktools.solver import Plan

if TYPE_CHECKING:
    from masktools.restoration import Region

Samples = TypeVar("Samples", np.ndarray, Tensor)

Steps = int | Sequence[int]
"""Decoding steps: for all stages, or for each."""


@dataclass(frozen=True, eq=False)
class Result(Generic[Samples]):
    """A recording made by a job, and a report on it in JSON types."""

    samples: Samples  # numpy (t,) or (t, channels); torch (t,) or (channels, t) where a tensor was given
    sample_rate: int  # Hz
    report: dict[str, Any]

    def _repr_html_(self) -> str:
        """Return a player and a spectrogram, for notebooks; for long recordings, of the longest repair."""
        from masktools.review.notebook import recording_html  # imports plotting, which nothing else here needs

        recording = as_recording(self.samples, self.sample_rate, finite=False) if np.size(self.samples) else None
        return recording_html(np.zeros((1, 0)) if recording is None else recording, self.sample_rate, self.report)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A recording as tokens, with its rate and length for decoding."""

    tokens: np.ndarray  # (rows, columns), or (channels, rows, columns); int64
    sample_rate: int  # of the recording, Hz
    n_samples: int  # length of the recording


def load(
    model: str | os.PathLike[str] = "mini",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    batch_size: int | None = None,
    compile: bool = False,
    conditioner: Any = None,
) -> "Model":
    """Load a model.

    Args:
        model: the name of a model at hand, the folder of a bundle, or ``owner/name`` on the Hugging Face hub.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16, fp16 or int8; auto is bf16 where the processor is faster in it.
        threads: most CPU threads; as many as torch takes by default.
        batch_size: clips computed at once; by default 8 on a CPU, and as many as fit on a GPU.
        compile: whether to compile the transformer, which takes minutes: for many short jobs on a GPU.
        conditioner: embedder of prompts instead of the model's own: an object with ``dim``, ``embed_audio`` and
            ``embed_text``, or a ``laion_clap.CLAP_Module``, for a model that was trained with CLAP.

    Raises:
        BundleError: no such model, or one that is incomplete, altered or of another format.
        ParameterError: a value out of its range, or an unknown name.
        DeviceError: a device or a precision that this machine does not offer.
    """
    threads, batch_size = (
        None if value is None else checked_whole(name, value, 1)
        for name, value in (("threads", threads), ("batch_size", batch_size))
    )
    compile = checked_switch("compile", compile)
    with use_threads(threads):
        options: dict[str, Any] = {"batch_size": batch_size, "compile": compile, "conditioner": conditioner}
        return Model(hub.load_bundle(model, device, precision, **options), threads)


class Model:
    """A pretrained model with its jobs: restoration, generation, embeddings, tokens."""

    def __init__(self, pipeline: Walk, threads: int | None = None) -> None:
        self.pipeline: Any = pipeline  # jobs that need a grid of bands call ``hub.check_job`` first
        self.threads = threads

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {self.sample_rate} Hz, {self.pipeline.device})"

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.pipeline.name

    @property
    def sample_rate(self) -> int:
        """The model's own rate in Hz, which generated audio has."""
        return self.pipeline.sample_rate

    @property
    def encoder(self) -> Encoder:
        """The model as an encoder, with every option that embeddings have.

        Raises:
            ParameterError: a model that embeds nothing.
        """
        return Encoder(self.pipeline, self.threads)

    def inpaint(
        self,
        samples: Samples,
        sample_rate: int,
        gaps: Iterable[GapLike] | str = "auto",
        settings: GapSettings | None = None,
        *,
        progress: Progress | None = None,
        **changes: Any,
    ) -> Result[Samples]:
        """Return the recording with its gaps filled; outside them every sample is unchanged.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t); samples in the gaps are not
                read, and may be NaN.
            sample_rate: sampling rate in Hz.
            gaps: (start, end) in seconds, or (start, end, channels); or a text such as "1.20-1.55,3-3.2"; or "auto":
                detected: dropouts to digital silence, held samples and samples that are not finite.
            settings: detection and filling of gaps.
            progress: called with (steps done, steps in total).
            **changes: fields of ``settings.GapSettings`` to change: seed, n_steps, prompt, method, ...

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: gaps that do not fit the recording, or a value out of its range.
        """
        made = GapSettings.of(settings, changes)
        return self._restored("inpaint", samples, sample_rate, gaps, made, progress=progress)

    def bwe(
        self,
        samples: Samples,
        sample_rate: int,
        cutoff_hz: float | str = "auto",
        settings: BandSettings | None = None,
        *,
        like: tuple[Samples, int] | str | None = None,
        progress: Progress | None = None,
        **changes: Any,
    ) -> Result[Samples]:
        """Return the recording with its missing band above a cutoff added (bandwidth extension).

        A recording of a lower rate than the model's is returned at the model's.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t).
            sample_rate: sampling rate in Hz.
            cutoff_hz: upper limit of the recording's own band in Hz; "auto": detected, and a recording without such an
                edge, or with one that the model cannot extend, is returned unchanged, with the reason in the report.
            settings: settings of the extension.
            like: a full-band recording of the same source, (samples, sample rate): its most similar frames give the
                level and the detail instead of the model. "own": the recording's own full-band frames are used for
                its dull ones, and the former are unchanged.
            progress: called with (steps done, steps in total).
            **changes: fields of ``settings.BandSettings`` to change: seed, n_steps, lfr, to_hz, ...

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: a cutoff that does not fit the recording or the model, or a value out of its range.
        """
        made = BandSettings.of(settings, changes)
        take = (as_recording(*like), like[1]) if isinstance(like, tuple) and len(like) == 2 else like
        return self._restored("bwe", samples, sample_rate, cutoff_hz, made, finite=True, like=take, progress=progress)

    def repair(
        self,
        samples: Samples,
        sample_rate: int,
        regions: "Iterable[Region] | str",
        settings: RepairSettings | None = None,
        *,
        progress: Progress | None = None,
        **changes: Any,
    ) -> Result[Samples]:
        """Return the recording with regions of time and frequency replaced; outside their times no sample changes.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t).
            sample_rate: sampling rate in Hz.
            regions: list of ``restoration.Region``, or a text such as "1.2-1.5,3000-6000": seconds, and Hz; several are
                separated by semicolons.
            settings: settings of the repair.
            progress: called with (steps done, steps in total).
            **changes: fields of ``settings.RepairSettings`` to change: seed, n_steps, prompt, ...

        Raises:
            AudioError: no samples, or some around a region that are not finite.
            ParameterError: regions that do not fit the recording, or a value out of its range.
        """
        made = RepairSettings.of(settings, changes)
        return self._restored("repair", samples, sample_rate, regions, made, progress=progress)

    def continuation(
        self,
        samples: Samples,
        sample_rate: int,
        seconds: float,
        settings: ContinuationSettings | None = None,
        *,
        progress: Progress | None = None,
        **changes: Any,
    ) -> Result[Samples]:
        """Return the recording with more audio after its end, or before its start; the recording itself is unchanged.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t).
            sample_rate: sampling rate in Hz.
            seconds: length of the added audio, up to 600.
            settings: side of the continuation, and its decoding.
            progress: called with (steps done, steps in total).
            **changes: fields of ``settings.ContinuationSettings`` to change: side, fade_s, seed, ...

        Raises:
            AudioError: no samples, or some beside the join that are not finite.
            ParameterError: a value out of its range.
        """
        made = ContinuationSettings.of(settings, changes)
        return self._restored("continue_recording", samples, sample_rate, seconds, made, progress=progress)

    def loop(
        self,
        samples: Samples,
        sample_rate: int,
        settings: LoopSettings | None = None,
        *,
        progress: Progress | None = None,
        **changes: Any,
    ) -> Result[Samples]:
        """Return a recording of the same length that loops seamlessly: its end leads into its start.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t), at least twice as long as the seam.
            sample_rate: sampling rate in Hz.
            settings: length of the seam, and its filling.
            progress: called with (steps done, steps in total).
            **changes: fields of ``settings.LoopSettings`` to change: seam_s, method, seed, ...

        Raises:
            AudioError: no samples, or some beside the seam that are not finite.
            ParameterError: a value out of its range.
        """
        made = LoopSettings.of(settings, changes)
        return self._restored("loop", samples, sample_rate, made, progress=progress)

    def _restored(
        self, job: str, samples: Samples, sample_rate: int, *given: Any, finite: bool = False, **more: Any
    ) -> Result[Samples]:
        """Return the result of a job of ``restoration``, in the kind and the shape of the input."""
        from masktools import restoration

        recording, rate = as_recording(samples, sample_rate, finite=finite), checked_rate(sample_rate)
        with use_threads(self.threads):
            made = getattr(restoration, job)(self.pipeline, recording, rate, *given, **more)
        return Result(as_given(samples, made.samples, made.sample_rate != rate), made.sample_rate, made.report)

    def generate(
        self,
        prompts: Prompts | None = None,
        n: int = 1,
        seconds: float | None = None,
        settings: PromptSettings | None = None,
        *,
        progress: Progress | None = None,
        **changes: Any,
    ) -> list[Result[np.ndarray]]:
        """Return n new recordings for each prompt, mono, at the model's rate; without a prompt, n unconditional ones.

        Args:
            prompts: a text, texts, embeddings, or the path of a .npy file of embeddings.
            n: recordings for each prompt.
            seconds: length of each; the model's window by default.
            settings: settings of the decoding.
            progress: called with (steps done, steps in total).
            **changes: fields of ``PromptSettings`` to change: n_candidates, seed, n_steps,
                temperature, guidance, solver.

        Raises:
            ParameterError: a value out of its range, or prompts that cannot be read.
        """
        from masktools.restoration import generation

        made = PromptSettings.of(settings, changes)
        with use_threads(self.threads):
            sounds = generation.generate(self.pipeline, prompts, n, seconds, made, progress=progress)
        return [
            Result(
                wave,
                sounds.sample_rate,
                sounds.report
                | {name: sounds.report[name][index : index + 1] for name in sounds.EACH}
                | {"index": index},
            )
            for index, wave in enumerate(sounds.samples)
        ]

    def embed(
        self,
        samples: np.ndarray | Tensor,
        sample_rate: int,
        layer: LayerLike = "last",
        pool: str = "mean",
        *,
        frames: bool = True,
        progress: Progress | None = None,
    ) -> Embedding:
        """Return the embedding of the recording: one vector, and one for each 0.19 s. ``encoder`` has more options.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t); channels are averaged.
            sample_rate: sampling rate in Hz.
            layer: 0 is the input of the first block, 1 its output; negative numbers count from the last one;
                ``last``, ``mean`` or ``all``.
            pool: mean, rows, max, mean_std, rows_std or none.
            frames: whether to return a vector for each frame.
            progress: called with (windows done, windows in total).

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: a layer that the model does not have, or an unknown name.
        """
        one = as_recording(samples, sample_rate).T  # transposed: the encoder takes several as a batch
        return self.encoder.encode(one, sample_rate, layer=layer, pool=pool, frames=frames, progress=progress)

    def encode(self, samples: np.ndarray | Tensor, sample_rate: int) -> Encoded:
        """Return the recording as tokens, a column for each 0.19 s; the last column is padded with silence.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t); each channel has its own tokens.
            sample_rate: sampling rate in Hz.

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: samples or a rate of another type.
        """
        recording, rate = as_recording(samples, sample_rate), checked_rate(sample_rate)
        with use_threads(self.threads):
            wave = resample(recording, rate, self.sample_rate)
            if not wave.shape[1]:
                wave = np.zeros((len(recording), 1), np.float32)
            tokens = self.pipeline.encode(torch.from_numpy(wave)).cpu().numpy()
        return Encoded(tokens[0] if is_alone(samples) else tokens, rate, recording.shape[1])

    def decode(
        self, tokens: Encoded | np.ndarray | Tensor, sample_rate: int | None = None, n_samples: int | None = None
    ) -> Result[np.ndarray]:
        """Return the recording decoded from tokens.

        Args:
            tokens: result of ``encode``, or integers (rows, columns) or (channels, rows, columns), of numpy or torch.
            sample_rate: output sampling rate in Hz; by default that of the encoded recording, else the model's.
            n_samples: output length at that rate; by default that of the encoded recording, else all of every column.

        Raises:
            ParameterError: tokens that do not fit this model, or a value out of its range.
        """
        if isinstance(tokens, Encoded):
            n_samples = tokens.n_samples if n_samples is None and sample_rate is None else n_samples
            sample_rate = tokens.sample_rate if sample_rate is None else sample_rate
            tokens = tokens.tokens
        rate = self.sample_rate if sample_rate is None else checked_rate(sample_rate)
        shape = self.pipeline.shape
        grids = checked_tokens(tokens, shape.n_rows, shape.n_codes)
        if n_samples is not None:  # plain tokens have no length but their columns, the last of which may be cut
            longest = (grids.shape[2] + 1) * shape.column_samples * rate // self.sample_rate
            n_samples = checked_whole("n_samples", n_samples, 0, longest)
        with use_threads(self.threads):
            wave = self.pipeline.decode(torch.from_numpy(grids)).cpu().numpy()
            if n_samples is None:
                samples = resample(wave, self.sample_rate, rate)
            else:
                samples = resample_to(wave, self.sample_rate, rate, n_samples)
        report = {"job": "decode", "model": self.name, "n_columns": grids.shape[2]}
        return Result(samples[0] if np.ndim(tokens) == 2 else np.ascontiguousarray(samples.T), rate, report)

    def coarsen(self, samples: Samples, sample_rate: int, n_scales: int) -> Result[Samples]:
        """Return the recording as rebuilt by the model from its coarsest scales: from one, from two, and so on.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t).
            sample_rate: sampling rate in Hz.
            n_scales: number of scales that are used, 1 to all.

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: a model without scales, or with fewer.
        """
        from masktools.restoration import generation

        recording, rate = as_recording(samples, sample_rate), checked_rate(sample_rate)
        with use_threads(self.threads):
            made = generation.coarsen(self.pipeline, recording, rate, checked_whole("n_scales", n_scales, 1))
        return Result(as_given(samples, made.samples[0]), rate, made.report)

    def vary(
        self,
        samples: Samples,
        sample_rate: int,
        n: int = 1,
        settings: VariationSettings | None = None,
        *,
        progress: Progress | None = None,
        **changes: Any,
    ) -> list[Result[Samples]]:
        """Return n variations of the recording with the same coarse scales and other detail.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t).
            sample_rate: sampling rate in Hz.
            n: number of variations.
            settings: scales that are kept, and decoding of the others.
            progress: called with (steps done, steps in total).
            **changes: fields of ``settings.VariationSettings`` to change.

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: a model without scales, or a value out of its range.
        """
        from masktools.restoration import generation

        recording, rate = as_recording(samples, sample_rate), checked_rate(sample_rate)
        made = VariationSettings.of(settings, changes)
        with use_threads(self.threads):
            versions = generation.vary(
                self.pipeline, recording, rate, checked_whole("n", n, 1), made, checked_call("progress", progress)
            )
        each = zip(versions.samples, versions.report["seeds"], strict=True)
        return [Result(as_given(samples, one), rate, versions.report | {"seeds": [own]}) for one, own in each]

    def solver(
        self,
        job: str,
        base: Plan | str | None = None,
        n_steps: Steps | None = None,
        temperature: float | None = None,
        guidance: float | None = None,
    ) -> Any:
        """Return the decoding settings of a job: a base, or the model's own, with changes.

        Args:
            job: name of the job; an error if the model does not support it.
            base: settings, for all stages or each of them, or the name of a preset.
            n_steps: number of decoding steps, or one for each stage.
            temperature: scale of the noise in the order of decisions.
            guidance: scale of the guidance by the prompt.

        Returns:
            A ``SolverConfig``; a tuple of them, one for each stage, where the model has several.

        Raises:
            ParameterError: an unknown job or preset, or a value out of its range.
        """
        asked = DecodingSettings(solver=base, n_steps=n_steps, temperature=temperature, guidance=guidance)
        return hub.plan_for(self.pipeline, job, asked)

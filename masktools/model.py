"""The model as its users hold it: recordings in, recordings of the same rate and length out.

A recording is a numpy array (t,) or (t, channels), as soundfile has it, or a torch tensor (t,) or (channels, t), as
torchaudio has it, on any device: floats, full scale 1. What comes back is of the same kind, shape, type and device, in
memory of its own and without gradients; where its rate is another one, it is float32.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from masktools.core.arguments import (
    as_recording,
    checked_call,
    checked_rate,
    checked_switch,
    checked_tokens,
    checked_whole,
    is_alone,
)
from masktools.core.arguments import like as as_given
from masktools.core.gaps import GapLike
from masktools.core.runtime import threads as use_threads
from masktools.core.settings import (
    BandSettings,
    ContinuationSettings,
    DecodingSettings,
    GapSettings,
    LoopSettings,
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
"""Decoding steps: of all stages, or of each."""


@dataclass(frozen=True, eq=False)
class Result(Generic[Samples]):
    """A recording that a job made, and a report of how, in what JSON has."""

    samples: Samples  # numpy (t,) or (t, channels); torch (t,) or (channels, t) where a tensor was given
    sample_rate: int  # Hz
    report: dict[str, Any]

    def _repr_html_(self) -> str:
        """Return a player and a spectrogram, as notebooks show them; of long recordings the longest repair."""
        from masktools.review.notebook import recording_html  # with what draws, which nobody else needs

        recording = as_recording(self.samples, self.sample_rate, finite=False) if np.size(self.samples) else None
        return recording_html(np.zeros((1, 0)) if recording is None else recording, self.sample_rate, self.report)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A recording as tokens, with what it takes to get its rate and its length back."""

    tokens: np.ndarray  # (rows, columns), or (channels, rows, columns); int64
    sample_rate: int  # of the recording, Hz
    n_samples: int  # of the recording


def load(
    model: str | os.PathLike[str] = "mini",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    batch_size: int | None = None,
    compile: bool = False,
    conditioner: Any = None,
) -> "Model":
    """Return a model, ready for use.

    Args:
        model: the name of a model at hand, the folder of a bundle, or ``owner/name`` on the Hugging Face hub.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16, fp16 or int8; auto is bf16 where the processor multiplies in it faster.
        threads: CPU threads at most; as many as torch takes where it is not given.
        batch_size: clips computed at once; where it is not given 8 on a CPU, and on a GPU what its memory holds.
        compile: whether the transformer is compiled, a matter of minutes: for many short jobs on a GPU.
        conditioner: what reads prompts in place of the model's own: an object with ``dim``, ``embed_audio`` and
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
    """A pretrained model and its jobs."""

    def __init__(self, pipeline: Walk, threads: int | None = None) -> None:
        self.pipeline: Any = pipeline  # jobs that need a grid of bands ask ``hub.check_job`` first
        self.threads = threads

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {self.sample_rate} Hz, {self.pipeline.device})"

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.pipeline.name

    @property
    def sample_rate(self) -> int:
        """The model's own rate in Hz: that of what it generates."""
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
        """Return the recording with its gaps filled; outside them every sample stays as it is.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t); what is in the gaps is not
                read, and may be NaN.
            sample_rate: in Hz.
            gaps: (start, end) in seconds, or (start, end, channels); or a text such as "1.20-1.55,3-3.2"; or "auto":
                dropouts to digital silence, held samples and samples that are not finite are found.
            settings: how they are found and filled.
            progress: called with (steps done, steps in all).
            **changes: fields of ``settings.GapSettings`` that are to be otherwise: seed, n_steps, prompt, method, ...

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: gaps that are none of this recording, or a value out of its range.
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
        """Return the recording with what it lacks above a cutoff.

        A recording of a lower rate than the model's comes back at the model's.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t).
            sample_rate: in Hz.
            cutoff_hz: where the recording's own band ends; "auto": as it is found, and a recording without such an
                edge, or with one that the model cannot go on from, comes back as it is, with the reason in the report.
            settings: how the band is extended.
            like: a full-band take of the same source, (samples, sample rate): its moments that are most alike lend
                their level and their detail in place of the model. "own": the recording's full-band moments lend to
                its dull ones, and nothing is added to the former.
            progress: called with (steps done, steps in all).
            **changes: fields of ``settings.BandSettings`` that are to be otherwise: seed, n_steps, lfr, to_hz, ...

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: a cutoff that the recording or the model does not have, or a value out of its range.
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
        """Return the recording with regions of time and frequency replaced; outside their times every sample stays.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t).
            sample_rate: in Hz.
            regions: of ``restoration.Region``, or a text such as "1.2-1.5,3000-6000": seconds, and Hz; several with
                semicolons between them.
            settings: how they are replaced.
            progress: called with (steps done, steps in all).
            **changes: fields of ``settings.RepairSettings`` that are to be otherwise: seed, n_steps, prompt, ...

        Raises:
            AudioError: no samples, or some around a region that are not finite.
            ParameterError: regions that are none of this recording, or a value out of its range.
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
        """Return the recording with more audio after its end, or before its start; what was given is unchanged.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t).
            sample_rate: in Hz.
            seconds: how much is added, up to 600.
            settings: at which side, and how.
            progress: called with (steps done, steps in all).
            **changes: fields of ``settings.ContinuationSettings`` that are to be otherwise: side, fade_s, seed, ...

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
        """Return a recording of the same length that can be played round and round: its end leads into its start.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t), at least twice as long as the seam.
            sample_rate: in Hz.
            settings: how long the seam is, and how it is filled.
            progress: called with (steps done, steps in all).
            **changes: fields of ``settings.LoopSettings`` that are to be otherwise: seam_s, method, seed, ...

        Raises:
            AudioError: no samples, or some beside the seam that are not finite.
            ParameterError: a value out of its range.
        """
        made = LoopSettings.of(settings, changes)
        return self._restored("loop", samples, sample_rate, made, progress=progress)

    def _restored(
        self, job: str, samples: Samples, sample_rate: int, *given: Any, finite: bool = False, **more: Any
    ) -> Result[Samples]:
        """Return what a job of ``restoration`` makes of a recording, in the kind and the shape that samples have."""
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
        settings: DecodingSettings | None = None,
        *,
        progress: Progress | None = None,
        **changes: Any,
    ) -> list[Result[np.ndarray]]:
        """Return n new recordings for each prompt, mono, at the model's rate; without a prompt, n of anything.

        Args:
            prompts: a text, texts, embeddings, or the path of a .npy file of embeddings.
            n: recordings for each prompt.
            seconds: length of each; the model's window where it is not given.
            settings: of the decoding.
            progress: called with (steps done, steps in all).
            **changes: fields of ``DecodingSettings`` that are to be otherwise: seed, n_steps, temperature,
                guidance, solver.

        Raises:
            ParameterError: a value out of its range, or prompts that cannot be read.
        """
        from masktools.restoration import generation

        made = DecodingSettings.of(settings, changes)
        with use_threads(self.threads):
            sounds = generation.generate(self.pipeline, prompts, n, seconds, made, progress=progress)
        each = zip(sounds.samples, sounds.report["seeds"], sounds.report["gains_db"], strict=True)
        return [
            Result(wave, sounds.sample_rate, {**sounds.report, "seeds": [own], "gains_db": [gain_db], "index": index})
            for index, (wave, own, gain_db) in enumerate(each)
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
        """Return what the recording is like: one vector, and one for each 0.19 s. ``encoder`` can do more.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t); channels are averaged.
            sample_rate: in Hz.
            layer: 0 is what enters the first block, 1 what leaves it; negative numbers count from the last one;
                ``last``, ``mean`` or ``all``.
            pool: mean, rows, max, mean_std, rows_std or none.
            frames: whether the sequence over time is wanted.
            progress: called with (windows done, windows in all).

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: a layer that the model does not have, or an unknown name.
        """
        one = as_recording(samples, sample_rate).T  # a batch is for the encoder
        return self.encoder.encode(one, sample_rate, layer=layer, pool=pool, frames=frames, progress=progress)

    def encode(self, samples: np.ndarray | Tensor, sample_rate: int) -> Encoded:
        """Return the recording as tokens, a column for each 0.19 s; its last column is filled up with silence.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t); each channel has its own tokens.
            sample_rate: in Hz.

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: samples or a rate of another kind.
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
        """Return the recording that tokens stand for.

        Args:
            tokens: what ``encode`` gave, or integers (rows, columns) or (channels, rows, columns), numpy's or torch's.
            sample_rate: wanted, in Hz; that of the encoded recording, else the model's, where it is not given.
            n_samples: wanted at that rate; those of the encoded recording, else all of every column.

        Raises:
            ParameterError: tokens that this model does not have, or a value out of its range.
        """
        if isinstance(tokens, Encoded):
            n_samples = tokens.n_samples if n_samples is None and sample_rate is None else n_samples
            sample_rate = tokens.sample_rate if sample_rate is None else sample_rate
            tokens = tokens.tokens
        rate = self.sample_rate if sample_rate is None else checked_rate(sample_rate)
        shape = self.pipeline.shape
        grids = checked_tokens(tokens, shape.n_rows, shape.n_codes)
        if n_samples is not None:  # tokens tell no more than their columns, the last of which may be cut
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
        """Return the recording as the model rebuilds it of its coarsest scales: of one, of two, and so on.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t).
            sample_rate: in Hz.
            n_scales: that it is made of, 1 to all.

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: a model that has no scales, or not so many.
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
        """Return n versions of the recording that have its coarse scales and other detail.

        Args:
            samples: numpy (t,) or (t, channels), torch (t,) or (channels, t).
            sample_rate: in Hz.
            n: versions.
            settings: which scales stay, and how the others are drawn.
            progress: called with (steps done, steps in all).
            **changes: fields of ``settings.VariationSettings`` that are to be otherwise.

        Raises:
            AudioError: no samples, or some that are not finite.
            ParameterError: a model that has no scales, or a value out of its range.
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
        """Return the settings of a job's decoding: a base, or the model's own, with what was asked for beside it.

        Args:
            job: what they are for; one that the model cannot do is refused.
            base: settings, those of each stage, or the name of a preset.
            n_steps: decoding steps, or a number for each stage.
            temperature: noise in the order of decisions.
            guidance: how closely to follow the prompt.

        Returns:
            A ``SolverConfig``; a tuple of them, one for each stage, where the model has several.

        Raises:
            ParameterError: an unknown job or preset, or a value out of its range.
        """
        asked = DecodingSettings(solver=base, n_steps=n_steps, temperature=temperature, guidance=guidance)
        return hub.plan_for(self.pipeline, job, asked)

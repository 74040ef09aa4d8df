"""How near unprompted samples come to the training recordings, beside recordings that nobody trained on, and copies."""

from collections.abc import Iterator, Sequence

import numpy as np

from masktools.evaluation.clips import Clip
from masktools.evaluation.nearness import heard_parts, mel_space, nearest_medians, ratio_of_medians
from masktools.evaluation.protocols.generation_scores import Heard
from masktools.evaluation.protocols.judged import Judged
from masktools.evaluation.protocols.sounds import ANY, Maker, Sound, fitted
from masktools.solver import derive_seed

__all__ = ["COPIES", "nearness_scores"]

COPIES = "copies"
"""Training recordings after the model's tokenizer and vocoder: what one who learned them by heart would play."""

_REAL, _UNPROMPTED = "real", "unconditional"
_NEAR = 0.05  # of the recordings that nobody trained on are nearer than what counts as near
_NOTE = (
    "nearest: distance of the nearest training recording; nearest_ratio: its median over that of real recordings, "
    "which nobody trained on; nearer_share: share that is nearer than 95 % of those. Copies are training recordings "
    "after tokenizer and vocoder: what was learned by heart would come as near as they do"
)


def nearness_scores(
    judged: Judged,
    maker: Maker,
    unprompted: Sequence[Sound],
    clips: Sequence[Clip],
    training: Sequence[Clip],
    everything: Sequence[Heard],
) -> list[str]:
    """Add how near samples, real recordings and copies come to training recordings, and return what to say of it.

    Distances are between vectors of an embedder, and between mel spectrograms of 1.5 s in dB, root mean square.

    Args:
        judged: where the figures go.
        maker: makes the copies.
        unprompted: the samples.
        clips: real recordings, none of which the model was trained on.
        training: recordings that it was trained on.
        everything: what each embedder heard.
    """
    rng = np.random.default_rng(derive_seed(maker.seed, 1))
    drawn = [training[place] for place in rng.permutation(len(training))[: len(unprompted)]]
    cut = [Sound(clip.name, fitted(clip.wave, min(len(clip.wave), maker.n_samples))) for clip in drawn]
    samples = {
        _REAL: [Sound(clip.name, clip.wave, clip.kind, clip.origin, clip=place) for place, clip in enumerate(clips)],
        _UNPROMPTED: list(unprompted),
        COPIES: maker.of_recordings(cut),
    }
    sounds = [sound for some in samples.values() for sound in some]
    rate = maker.model.sample_rate
    for heard in everything:
        vectors = [heard_parts(heard.vectors_of(sound.wave, rate), sound.wave) for sound in sounds]
        known = (heard_parts(own, clip.wave) for own, clip in zip(heard.training, training, strict=True))
        _add(judged, samples, nearest_medians(vectors, known), heard.name)
    pipeline = maker.model.pipeline
    space, finely = mel_space(pipeline), mel_space(pipeline, hop_cols=1)

    def known_mels() -> Iterator[np.ndarray]:
        for clip in training:
            yield finely(clip.wave)
            maker.meter.step()

    mels = [space(sound.wave) for sound in sounds]
    per_unit = (pipeline.mel.db_max - pipeline.mel.db_min) / 2 / np.sqrt(mels[0].shape[1])
    _add(judged, samples, per_unit * nearest_medians(mels, known_mels()), "mel spectrogram in dB")
    return [_NOTE]


def _add(judged: Judged, samples: dict[str, list[Sound]], distances: np.ndarray, space: str) -> None:
    """Add the distances of all samples, one set after the other, and what they come to."""
    ends = np.cumsum([len(sounds) for sounds in samples.values()])[:-1]
    found = dict(zip(samples, np.split(distances, ends), strict=True))
    for method, sounds in samples.items():
        for sound, distance in zip(sounds, found[method], strict=True):
            judged.add(sound, method, "nearest", distance, space)
    for group, members in judged.groups.items():
        origins = {origin for kind, origin in members if kind == ANY}
        own = [place for place, sound in enumerate(samples[_REAL]) if sound.origin in origins]
        references = found[_REAL][own]
        references = references[np.isfinite(references)]
        for method in (_UNPROMPTED, COPIES):
            measured = found[method][np.isfinite(found[method])]
            if not len(references) or not len(measured):
                continue
            spread = judged.statistics
            ratio = ratio_of_medians(measured, references, spread.n_resamples, spread.seed, spread.level)
            share = float((measured < np.quantile(references, _NEAR)).mean())
            judged.add_set(group, method, "nearest_ratio", ratio, len(measured), space)
            judged.add_set(group, method, "nearer_share", (share, None, None), len(measured), space)

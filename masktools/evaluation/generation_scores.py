"""Scores of generated sounds: text-audio similarity, set distances, a probe's classes, and memorisation."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from masktools.core.errors import ParameterError
from masktools.evaluation.clips import Clip, class_of, common_classes
from masktools.evaluation.common import Meter
from masktools.evaluation.embedders import Embedder, Scorer, unit_rows
from masktools.evaluation.scores import Classifier, jackknife, on_components, paired_frechet
from masktools.evaluation.sounds import ANY, Maker, Results, Sound, fitted
from masktools.metrics import Interval, inception_score, kernel_distance, kl_divergence, ndb, ranks
from masktools.pipeline import Pipeline
from masktools.solver import derive_seed

_SILENCE = 1e-3  # RMS of full scale: -60 dB
_MEL_COLS = 8  # window of 1.5 s
_MEL_HOP = 4
_SMALLEST = 1e-12

Space = Callable[[np.ndarray], np.ndarray]
"""A wave (t,) -> the vectors (n, d) of its windows, silent ones left out; n may be 0."""


def audible_parts(vectors: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """Return the vectors (n, d) of equal windows of a wave (t,) without those of silent ones."""
    parts = np.array_split(wave, len(vectors))
    return vectors[[_is_audible(part) for part in parts]]


def mel_space(pipeline: Pipeline, hop_cols: int = _MEL_HOP) -> Space:
    """Return the space of mel spectrograms: windows of 1.5 s, averaged over each column of tokens.

    A distance divided by the square root of the vectors' size is in the unit of the mel spectrogram.

    Args:
        pipeline: pipeline for the mel spectrogram.
        hop_cols: hop of the windows in columns.
    """
    column, frames = pipeline.grid.column_samples, pipeline.grid.patch_frames

    def vectors(wave: np.ndarray) -> np.ndarray:
        mel = pipeline.to_mel(torch.from_numpy(np.ascontiguousarray(wave, np.float32))[None])[0].cpu().numpy()
        columns = mel.reshape(len(mel), -1, frames).mean(axis=2).T.astype(np.float64)  # (w, f)
        columns = np.pad(columns, ((0, max(0, _MEL_COLS - len(columns))), (0, 0)), constant_values=-1.0)
        starts = range(0, len(columns) - _MEL_COLS + 1, hop_cols)
        heard = [start for start in starts if _is_audible(wave[start * column : (start + _MEL_COLS) * column])]
        return np.array([columns[start : start + _MEL_COLS].ravel() for start in heard]).reshape(
            len(heard), _MEL_COLS * len(mel)
        )

    return vectors


def _is_audible(part: np.ndarray) -> bool:
    return bool(part.size) and float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))) >= _SILENCE


def nearest_medians(samples: Sequence[np.ndarray], training: Iterable[np.ndarray]) -> np.ndarray:
    """Return for each sample the median distance of its vectors to the nearest training vector; NaN for none.

    Args:
        samples: vectors (n_i, d) of each sample.
        training: vectors (m_j, d), recording by recording.

    Raises:
        ParameterError: no training vectors, or other dimensions.
    """
    filled = [vectors for vectors in samples if len(vectors)]
    if not filled:
        return np.full(len(samples), np.nan)
    queries = np.concatenate(filled).astype(np.float64)
    squares = np.square(queries).sum(axis=1)
    nearest = np.full(len(queries), np.inf)
    for vectors in training:
        if not len(vectors):
            continue
        if vectors.shape[1] != queries.shape[1]:
            raise ParameterError(f"both sets must be of one dimension, got {queries.shape[1]} and {vectors.shape[1]}")
        rows = vectors.astype(np.float64)
        found = squares[:, None] - 2 * queries @ rows.T + np.square(rows).sum(axis=1)
        nearest = np.minimum(nearest, found.min(axis=1))
    if not np.isfinite(nearest).all():
        raise ParameterError("there must be at least one training recording that is not silent, got none")
    distances = np.split(np.sqrt(nearest.clip(0)), np.cumsum([len(vectors) for vectors in samples])[:-1])
    return np.array([np.median(one) if len(one) else np.nan for one in distances])


def ratio_of_medians(
    values: np.ndarray, references: np.ndarray, n_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return the median of values (n,) over that of references (m,), with its bootstrap interval over both.

    Args:
        values: values in the numerator.
        references: values in the denominator.
        n_resamples: number of bootstrap resamples.
        seed: random seed of the bootstrap.
        level: level of the interval, in (0, 1).

    Raises:
        ParameterError: no values.
    """
    one, other = (np.asarray(x, np.float64)[np.isfinite(x)] for x in (values, references))
    if not len(one) or not len(other):
        raise ParameterError(f"a ratio of medians needs values on both sides, got {len(one)} and {len(other)}")
    rng = np.random.default_rng(seed)
    draws = [_ratio(rng.choice(one, len(one)), rng.choice(other, len(other))) for _ in range(n_resamples)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(_ratio(one, other), float(low), float(high))


def _ratio(values: np.ndarray, references: np.ndarray) -> float:
    return float(np.median(values)) / max(float(np.median(references)), _SMALLEST)


REAL, CHANCE, HALVES = "real", "chance", "real halves"
MIN_CLASS = 8  # least training clips of a class for the probe
_NEAREST = 5  # nearest real clips in which a sound's own one is looked for
_SPLIT_FROM, _N_SPLITS = 500, 10  # least sounds for an inception score with ten splits, as in the literature

Sets = Mapping[str, Sequence[Sound]]
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class SetVectors:
    """Embeddings by one embedder of each set, and of the training recordings: vectors (n_i, d) of each sound."""

    embedder: Embedder
    vectors: dict[str, list[np.ndarray]]
    training: list[np.ndarray]

    @classmethod
    def of(
        cls, embedder: Embedder, sets: Sets, training: Sequence[Clip], sample_rate: int, meter: Meter
    ) -> "SetVectors":
        """Embed all sets.

        Args:
            embedder: embedder to use.
            sets: sounds of each method.
            training: further recordings.
            sample_rate: sampling rate of all of them in Hz.
            meter: counts sounds.
        """
        heard = cls(embedder, {}, [])
        for method, sounds in sets.items():
            heard.vectors[method] = [heard.vectors_of(sound.wave, sample_rate) for sound in sounds]
            meter.step(len(sounds))
        for clip in training:
            heard.training.append(heard.vectors_of(clip.wave, sample_rate))
            meter.step()
        return heard

    @property
    def name(self) -> str:
        """Name of the embedder."""
        return self.embedder.name

    def vectors_of(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return the vectors (n, d) of a wave (t,), in float64."""
        return np.asarray(self.embedder.embed(wave, sample_rate), np.float64)


def _means(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Return one vector for each sound, (n, d)."""
    return np.stack([one.mean(axis=0) for one in vectors])


def text_scores(results: Results, scorer: Scorer, sets: Sets, texts: Sequence[str], sample_rate: int) -> None:
    """Add the similarity of sounds and their captions, and the rank of the caption among all.

    Args:
        results: results to add to.
        scorer: embedder of texts and audio.
        sets: sounds of each method; those without a caption are skipped.
        texts: all captions.
        sample_rate: sampling rate of the sounds in Hz.
    """
    read = unit_rows(scorer.embed_text(list(texts)))
    for method, sounds in sets.items():
        for sound in sounds:
            if sound.prompt is None:
                continue
            heard = unit_rows(np.asarray(scorer.embed(sound.wave, sample_rate), np.float64).mean(axis=0, keepdims=True))
            similarity = heard @ read.T
            rank = int(ranks(similarity, np.array([sound.prompt]))[0])
            found = {"text_score": similarity[0, sound.prompt], "caption_r1": rank <= 1, "caption_r5": rank <= 5}
            results.add(sound, method, found | {"caption_rank": rank}, scorer.name)
    for group in results.groups:
        n = max(len(results.members(group, sounds)) for sounds in sets.values())
        chance = {"caption_r1": 1 / len(texts), "caption_r5": min(5, len(texts)) / len(texts)}
        for metric, value in (chance | {"caption_rank": (len(texts) + 1) / 2}).items():
            results.add_set(group, CHANCE, metric, value, n, scorer.name)


def set_scores(results: Results, heard: SetVectors, sets: Sets, n_bins: int, seed: int) -> None:
    """Add the Frechet and kernel distances of each set from the real recordings, and its NDB.

    Bins are made of the training recordings if there are any, else of the real ones.

    Args:
        results: results to add to.
        heard: embeddings of the sets.
        sets: sounds of each method.
        n_bins: most bins; a fifth of the recordings that they are made of if those are few.
        seed: random seed of the bins.
    """
    for group in results.groups:
        originals = _chosen(heard.vectors[REAL], results.members(group, sets[REAL]))
        for method, sounds in sets.items():
            estimates = _chosen(heard.vectors[method], results.members(group, sounds))
            if method == REAL or min(sum(map(len, originals)), sum(map(len, estimates))) < 3:
                continue
            pairs = _buckets(originals, estimates)
            spread = results.statistics
            projected = on_components(pairs, np.concatenate(originals), spread.n_components)
            for metric, distance, some in (("fad", paired_frechet, projected), ("kid", _kernel, pairs)):
                values = jackknife(some, distance, spread.n_folds, spread.level)
                results.add_set(group, method, metric, values, len(estimates), heard.name)
    binned = heard.training or heard.vectors[REAL]
    k = min(n_bins, len(binned) // 5)
    if k < 2:
        return
    reference = _means(binned)
    for group in results.groups:
        for method, sounds in sets.items():
            members = results.members(group, sounds)
            if members and not (method == REAL and not heard.training) and _is_widest(results, group):
                found = ndb(reference, _means(_chosen(heard.vectors[method], members)), k, seed)
                results.add_set(group, method, "ndb_share", found.share, len(members), heard.name)
                results.add_set(group, method, "ndb_js", found.jensen_shannon, len(members), heard.name)


def clip_scores(results: Results, heard: SetVectors, sets: Sets, n_components: int, seed: int) -> None:
    """Add the Frechet distance of the clips' means from those of the real ones, and how sounds retrieve their clips.

    Only counted sounds are included. For comparison there are two random halves of the real clips, drawn ten
    times: the distance among real clips, though of only half as many.

    Args:
        results: results to add to.
        heard: embeddings of the sets.
        sets: sounds of each method.
        n_components: principal components of the real clips' means for the distances; 0: all.
        seed: random seed of the halves.
    """
    spread = results.statistics
    means = {method: _means(vectors) for method, vectors in heard.vectors.items() if vectors}
    counted = {method: [place for place, one in enumerate(sets[method]) if one.counted] for method in means}
    for group in results.groups:
        members = {
            method: sorted({*results.members(group, sets[method])} & {*places}) for method, places in counted.items()
        }
        real = means[REAL][members[REAL]]
        if len(real) < 3:
            continue
        for method, places in members.items():
            if method != REAL and len(places) > 2:
                n = min(len(real), len(places))
                sides = [np.array_split(rows, n) for rows in (real, means[method][places])]
                pairs = on_components(list(zip(*sides, strict=True)), real, n_components)
                values = jackknife(pairs, paired_frechet, spread.n_folds, spread.level)
                results.add_set(group, method, "fad_clips", values, len(places), heard.name)
        halves = _between_halves(real, n_components, seed)
        results.add_set(group, HALVES, "fad_clips", halves, len(real), heard.name)
    _find_own(results, heard, sets, means, counted)


def _between_halves(real: np.ndarray, n_components: int, seed: int) -> float:
    """Return the mean Frechet distance between random halves of clips (n, d)."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(_N_SPLITS):
        one, other = np.array_split(real[rng.permutation(len(real))], 2)
        if len(other) < 2:
            return float("nan")
        found.append(paired_frechet(on_components([(one, other)], real, n_components)))
    return float(np.mean(found))


def _find_own(
    results: Results,
    heard: SetVectors,
    sets: Sets,
    means: Mapping[str, np.ndarray],
    counted: Mapping[str, Sequence[int]],
) -> None:
    """Add whether the real clip of a sound's caption is among the nearest five of all real clips, by cosine."""
    centre = means[REAL][counted[REAL]].mean(axis=0)
    candidates = {sets[REAL][place].clip: number for number, place in enumerate(counted[REAL])}
    known = _unit(means[REAL][counted[REAL]] - centre)
    for method, places in counted.items():
        for place in places:
            sound = sets[method][place]
            if method == REAL or sound.clip not in candidates:
                continue
            similarity = _unit(means[method][[place]] - centre) @ known.T
            rank = int(ranks(similarity, np.array([candidates[sound.clip]]))[0])
            results.add(sound, method, {"clip_r5": rank <= _NEAREST}, heard.name)
    for group in results.groups:
        n = len(results.members(group, sets[REAL]))
        share = min(1.0, _NEAREST / max(1, len(candidates)))
        results.add_set(group, CHANCE, "clip_r5", share, n, heard.name)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return rows (n, d) normalised to length 1; zeros are unchanged."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _is_widest(results: Results, group: str) -> bool:
    """Tell whether a group holds all of an origin: bins of all recordings are meaningless for a single kind."""
    return any(kind == "any" for kind, _ in results.groups[group])


def _chosen(vectors: Sequence[np.ndarray], places: Sequence[int]) -> list[np.ndarray]:
    return [vectors[place] for place in places]


def _buckets(originals: Sequence[np.ndarray], estimates: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split both sets into as many parts as the smaller one has sounds, none of them empty."""
    n = min(len(originals), len(estimates))
    sides = [
        [np.concatenate([vectors[place] for place in part]) for part in np.array_split(np.arange(len(vectors)), n)]
        for vectors in (originals, estimates)
    ]
    return list(zip(*sides, strict=True))


def _kernel(pairs: Sequence[Pair]) -> float:
    reference, estimate = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return kernel_distance(reference, estimate).mean


def label_scores(
    results: Results, heard: SetVectors, sets: Sets, clips: Sequence[Clip], training: Sequence[Clip], seed: int
) -> list[str]:
    """Add the classes of each set by a probe trained on training recordings; return notes on it.

    Args:
        results: results to add to.
        heard: embeddings of the sets.
        sets: sounds of each method.
        clips: clips that the sounds' captions belong to.
        training: recordings with labels.
        seed: random seed of the probe.
    """
    counts = common_classes(training, MIN_CLASS)
    own = [class_of(clip.labels, counts) for clip in training]
    labelled = [place for place, label in enumerate(own) if label is not None]
    if len(counts) < 2:
        return [f"No probe by {heard.name}: fewer than 2 classes of at least {MIN_CLASS} training recordings"]
    probe = Classifier.fit(_means(_chosen(heard.training, labelled)), [own[place] or "" for place in labelled], seed)
    true = [class_of(clip.labels, counts) for clip in clips]
    real = probe.probabilities(_means(heard.vectors[REAL]))
    of_clip = {sound.clip: row for sound, row in zip(sets[REAL], real, strict=True)}
    right = [
        probe.classes[int(row.argmax())] == true[sound.clip]
        for sound, row in zip(sets[REAL], real, strict=True)
        if sound.clip is not None and true[sound.clip] is not None
    ]
    trust = f"right on {np.mean(right):.0%} of {len(right)}" if right else "none is of a class that it knows"
    for method, sounds in sets.items():
        if not sounds:
            continue
        likely = probe.probabilities(_means(heard.vectors[method]))
        for sound, row in zip(sounds, likely, strict=True):
            if sound.clip is None:
                continue
            label = true[sound.clip]
            if label is not None:
                results.add(sound, method, {"probe_top1": probe.classes[int(row.argmax())] == label}, heard.name)
            if method != REAL:
                divergence = kl_divergence(of_clip[sound.clip][None], row[None])
                results.add(sound, method, {"kl": divergence}, heard.name)
        for group in results.groups:
            members = results.members(group, sounds)
            if len(members) > 1:
                n_splits = _N_SPLITS if len(members) >= _SPLIT_FROM else 1
                score = inception_score(likely[members], n_splits, seed).mean
                results.add_set(group, method, "inception_score", score, len(members), heard.name)
    for group in results.groups:
        n = len(results.members(group, sets[REAL]))
        results.add_set(group, CHANCE, "probe_top1", 1 / len(probe.classes), n, heard.name)
    return [
        f"probe of {heard.name}: {len(probe.classes)} classes, trained on {len(labelled)} other recordings, all "
        f"classes of one weight; of the real recordings, {trust}"
    ]


COPIES = "copies"
"""Training recordings after the model's tokenizer and vocoder: the output of a model that memorised them."""

_REAL, _UNPROMPTED = "real", "unconditional"
_NEAR = 0.05  # share of unseen recordings that are nearer than the threshold for "near"
_NOTE = (
    "nearest: distance of the nearest training recording; nearest_ratio: its median over that of real recordings, "
    "which nobody trained on; nearer_share: share that is nearer than 95 % of those. Copies are training recordings "
    "after tokenizer and vocoder: what was learned by heart would come as near as they do"
)


def nearness_scores(
    results: Results,
    maker: Maker,
    unprompted: Sequence[Sound],
    clips: Sequence[Clip],
    training: Sequence[Clip],
    everything: Sequence[SetVectors],
) -> list[str]:
    """Add the distances of samples, real recordings and copies from training recordings, and return notes on them.

    Distances are between vectors of an embedder, and between mel spectrograms of 1.5 s in dB, root mean square.

    Args:
        results: results to add to.
        maker: maker of the copies.
        unprompted: unconditional samples.
        clips: real recordings that the model was not trained on.
        training: recordings that it was trained on.
        everything: embeddings by each embedder.
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
        vectors = [audible_parts(heard.vectors_of(sound.wave, rate), sound.wave) for sound in sounds]
        known = (audible_parts(own, clip.wave) for own, clip in zip(heard.training, training, strict=True))
        _add(results, samples, nearest_medians(vectors, known), heard.name)
    pipeline = maker.model.pipeline
    space, finely = mel_space(pipeline), mel_space(pipeline, hop_cols=1)

    def known_mels() -> Iterator[np.ndarray]:
        for clip in training:
            yield finely(clip.wave)
            maker.meter.step()

    mels = [space(sound.wave) for sound in sounds]
    per_unit = (pipeline.mel.db_max - pipeline.mel.db_min) / 2 / np.sqrt(mels[0].shape[1])
    _add(results, samples, per_unit * nearest_medians(mels, known_mels()), "mel spectrogram in dB")
    return [_NOTE]


def _add(results: Results, samples: dict[str, list[Sound]], distances: np.ndarray, space: str) -> None:
    """Add the distances of all samples, set by set, and their summary."""
    ends = np.cumsum([len(sounds) for sounds in samples.values()])[:-1]
    found = dict(zip(samples, np.split(distances, ends), strict=True))
    for method, sounds in samples.items():
        for sound, distance in zip(sounds, found[method], strict=True):
            results.add(sound, method, {"nearest": distance}, space)
    for group, members in results.groups.items():
        origins = {origin for kind, origin in members if kind == ANY}
        own = [place for place, sound in enumerate(samples[_REAL]) if sound.origin in origins]
        references = found[_REAL][own]
        references = references[np.isfinite(references)]
        for method in (_UNPROMPTED, COPIES):
            measured = found[method][np.isfinite(found[method])]
            if not len(references) or not len(measured):
                continue
            spread = results.statistics
            ratio = ratio_of_medians(measured, references, spread.n_resamples, spread.seed, spread.level)
            share = float((measured < np.quantile(references, _NEAR)).mean())
            results.add_set(group, method, "nearest_ratio", ratio, len(measured), space)
            results.add_set(group, method, "nearer_share", share, len(measured), space)

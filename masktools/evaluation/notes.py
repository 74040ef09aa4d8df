"""Notes: whether a model makes the pitch and the instrument that it was asked for, how variously, and how near to real.

Each figure has beside it what real notes get in its place, against the same half of the reference: without that, none
of them says anything. Some depend on the classifier, and figures of two classifiers must not be compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masktools.core.arguments import check_least
from masktools.core.errors import AudioError, ParameterError
from masktools.core.runtime import threads
from masktools.evaluation.clips import Clip, LeftOut
from masktools.evaluation.common import Meter, check_clips, chosen_methods, described
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.report import Figure, Report, Row
from masktools.evaluation.scores import Statistics
from masktools.io import resample
from masktools.mel import MelConfig, MelFrontEnd
from masktools.metrics import frechet_distance, inception_score, multiquadric_distance, ndb, principal_axes
from masktools.metrics.signal import pitch_of_note
from masktools.model import Model
from masktools.networks.conditioning.notes import pitch_name
from masktools.networks.scales import NoteClassifier
from masktools.pipeline import Progress
from masktools.pipeline.hub import check_job
from masktools.solver import SolverConfig, derive_seed, stage_plan
from masktools.training.notes import Note, read_notes

REAL, CEILING, MODEL = "real", "reconstructed", "generated"
NOTE_METHODS = (REAL, CEILING, MODEL)
"""The sets by name: half of the real notes, the same after the model's tokenizer and vocoder, and what the model makes
of their pitch and instrument; all of them are compared with the other half."""

_N_AXES = 32  # components of the spectrograms, in which bins are made
_MEANS = ("pitch_50c", "pitch", "family")
_AT_ONCE = 16


@dataclass(frozen=True)
class NoteSettings:
    """Settings of the measurement of notes."""

    classifier: str = ""  # a checkpoint of ``NoteClassifierTraining``; the model's own where it is left out
    guidance: tuple[
        float, ...
    ] = ()  # scales of guidance, each of which is measured; the model's own where there is none
    k: int = 20  # bins of the NDB, at most
    biased: bool = False  # whether PKID and IKID are those of published figures, see ``multiquadric_distance``
    n_components: int = 24  # of the real notes' embeddings, on which FAD is computed; 0: all
    methods: tuple[str, ...] = ()  # all where none is named
    seed: int = 0
    solver: tuple[SolverConfig, ...] | None = None  # the model's own where there is none
    statistics: Statistics = field(default_factory=Statistics)

    def __post_init__(self) -> None:
        """Check every range."""
        check_least(0, n_components=self.n_components)
        check_least(2, k=self.k)
        if any(guidance < 0 for guidance in self.guidance):
            raise ParameterError(f"guidance must be at least 0, got {self.guidance}")
        chosen_methods(self.methods, NOTE_METHODS)


@dataclass(frozen=True, eq=False)
class NoteClips(Sequence[Clip]):
    """Notes as clips of one length, what is known of each, and which could not be read."""

    chosen: tuple[Clip, ...]
    notes: tuple[Note, ...]
    left_out: tuple[LeftOut, ...] = ()

    def __getitem__(self, index: Any) -> Any:
        """Return a clip."""
        return self.chosen[index]

    def __len__(self) -> int:
        return len(self.chosen)


def read_note_clips(
    sources: Sequence[Path],
    sample_rate: int,
    n_samples: int,
    split: str = "test",
    n_each: int | None = None,
    seed: int = 0,
) -> NoteClips:
    """Return notes of NSynth's files at a rate, cut or followed by silence to one length.

    Args:
        sources: as for ``read_notes``, each of them.
        sample_rate: in Hz.
        n_samples: of each note.
        split: train, valid or test, or all.
        n_each: notes of each family, drawn at random; None takes all.
        seed: of the draw.

    Raises:
        ParameterError: no notes of the split.
    """
    found = [note for source in sources for note, _ in read_notes(source) if split in (note.split, "all")]
    if not found:
        raise ParameterError(f"there are no notes of split {split!r} in {', '.join(map(str, sources))}")
    counts, wanted = dict[str, int](), set[str]()
    for number in np.random.default_rng(seed).permutation(len(found)).tolist():
        note = found[number]
        counts[note.family] = counts.get(note.family, 0) + 1
        if n_each is None or counts[note.family] <= n_each:
            wanted.add(note.name)
    clips, notes, left_out = list[Clip](), list[Note](), list[LeftOut]()
    for note, load in (one for source in sources for one in read_notes(source)):
        if note.name not in wanted:
            continue
        try:
            samples, rate = load()
        except (AudioError, OSError) as error:
            left_out.append(LeftOut(note.name, "broken", str(error)))
            continue
        wave = resample(samples[None].astype(np.float32), rate, sample_rate)[0, :n_samples]
        clips.append(Clip(note.name, np.pad(wave, (0, n_samples - len(wave))), sample_rate, "notes"))
        notes.append(note)
    return NoteClips(tuple(clips), tuple(notes), tuple(left_out))


def evaluate_notes(
    model: Model,
    clips: NoteClips,
    settings: NoteSettings = NoteSettings(),
    embedders: Sequence[Embedder] = (),
    progress: Progress | None = None,
) -> Report:
    """Return how notes that the model rebuilds and makes are named, heard and spread, beside real ones.

    ``pitch`` and ``family`` are how often a classifier names a note as it is, ``pitch_50c`` how often a method that was
    not trained hears its pitch within 50 cents; ``PIS`` and ``IIS`` are inception scores of pitch and of family,
    ``PKID`` and ``IKID`` multiquadric distances of their logits, ``NDB/k`` is the share of bins of the spectrograms
    that differ, ``FAD`` the Frechet distance by each embedder, ``MSE`` and ``MAE`` the errors of spectrograms in
    [-1, 1].

    Args:
        model: the model, which must be told notes by words.
        clips: at the model's rate, of one length.
        settings: of the measurement.
        embedders: what the Frechet distances are computed with.
        progress: called with the notes done and their number.

    Raises:
        ParameterError: fewer than 8 notes, clips at another rate, a model that generates nothing, or no classifier.

    Source: MARS (arXiv:2509.26007) for the measures; Nistal et al. (arXiv:2006.09266), section 4.3, for the first four;
        Richardson and Weiss (arXiv:1805.12462) for NDB.
    """
    check_clips(model, clips, bands=False)
    check_job(model.pipeline, "generate")
    if len(clips) < 8:
        raise ParameterError(f"the measures of notes need at least 8 of them, got {len(clips)}")
    methods = chosen_methods(settings.methods, NOTE_METHODS)
    classifier, front_end = _classifier(model, settings.classifier)
    order = np.random.default_rng(settings.seed).permutation(len(clips)).tolist()
    base, held = order[: len(order) // 2], order[len(order) // 2 :]
    plans = _plans(model, settings) if MODEL in methods else {}
    n_sets = 1 + (CEILING in methods) + len(plans)
    meter = Meter(progress, len(held) * (n_sets - 1) + len(embedders) * (len(base) + len(held) * n_sets))
    reference, real = (np.stack([clips[number].wave for number in half]) for half in (base, held))
    notes = [clips.notes[number] for number in held]
    with threads(model.threads):
        sets = {(REAL, ""): real}
        if CEILING in methods:
            sets[CEILING, ""] = _rebuilt(model, real, meter)
        sets |= {
            (MODEL, case): _generated(model, notes, real, plan, settings.seed, meter) for case, plan in plans.items()
        }
        mels = {key: _mels(front_end, waves) for key, waves in sets.items()}
        measured = note_scores(
            classifier, _mels(front_end, reference), mels, settings.k, settings.seed, settings.biased
        )
        if CEILING in methods:
            measured[CEILING, ""] |= spectrogram_errors(mels[REAL, ""], mels[CEILING, ""])
        rows = list[Row]()
        figures = [
            _figure(method, case, metric, value, len(held))
            for (method, case), own in measured.items()
            for metric, value in own.items()
        ]
        for embedder in embedders:
            distances = _distances(embedder, reference, sets, model.sample_rate, settings.n_components, meter)
            figures += [_figure(*key, "FAD", value, len(held), embedder.name) for key, value in distances.items()]
        for (method, case), waves in sets.items():
            named = _named(classifier, mels[method, case], waves, model.sample_rate, notes)
            for number, values in zip(held, named, strict=True):
                rows += Row.each(clips[number], method, values, case)
    about = described("notes", model, clips, settings, embedders) | {"accuracy": list(classifier.config.accuracy or ())}
    remarks = (
        f"Real notes are one half, {len(held)}, and everything is compared with the other half, {len(base)}",
        "pitch, family: named by the classifier as asked for; pitch_50c: heard within 50 cents by YIN",
        "accuracy: of the classifier, in pitch and in family, on notes of instruments that it was not trained on",
    )
    figures = [*settings.statistics.summary(rows, _MEANS), *figures]
    kept = tuple(figure for figure in figures if figure.method in methods)
    return Report("Notes", about, kept, tuple(rows), clips.left_out, remarks)


def _figure(method: str, case: str, metric: str, value: float, n: int, embedder: str | None = None) -> Figure:
    return Figure("notes", method, metric, value, None, None, n, embedder, case, "set")


def _classifier(model: Model, source: str) -> tuple[NoteClassifier, MelFrontEnd]:
    if source:
        from masktools.training.notes import load_note_classifier  # with lightning

        classifier, mel = load_note_classifier(source)
        return classifier, MelFrontEnd(mel)
    own = model.pipeline.parts.get("classifier")
    if own is None:
        raise ParameterError(
            f"model {model.name!r} has no classifier of notes: name a checkpoint by --set classifier=PATH, as "
            "recipes/notes/classifier.yaml makes one"
        )
    mel: MelConfig = model.pipeline.mel
    return own, MelFrontEnd(mel)


def _plans(model: Model, settings: NoteSettings) -> dict[str, Any]:
    """Return the settings of the decoding of each case."""
    own = settings.solver or model.solver("generate")
    if not settings.guidance:
        return {"": own}
    stages = stage_plan(own, model.pipeline.shape.n_stages)
    made = {}
    for guidance in settings.guidance:
        plan = tuple(replace(config, guidance=guidance) for config in stages)
        made[f"guidance {guidance:g}"] = plan[0] if len(plan) == 1 else plan
    return made


def _generated(model: Model, notes: Sequence[Note], like: np.ndarray, plan: Any, seed: int, meter: Meter) -> np.ndarray:
    """Return notes (n, t) that the model makes of the words for others, as long as those."""
    made, seconds = list[np.ndarray](), like.shape[1] / model.sample_rate
    for start in range(0, len(notes), _AT_ONCE):
        texts = [_text(model, note) for note in notes[start : start + _AT_ONCE]]
        results = model.generate(texts, seconds=seconds, seed=derive_seed(seed, start), solver=plan)
        made += [result.samples for result in results]
        meter.step(len(texts))
    return np.stack(made)


def _text(model: Model, note: Note) -> str:
    """Return the words for a note: its instrument, or its family where the model does not know that, and its pitch."""
    for word in (note.label, note.family):
        text = f"a {word.replace('_', ' ')}, {pitch_name(note.pitch)}"
        try:
            model.pipeline.condition([text])
        except ParameterError:
            continue
        return text
    return pitch_name(note.pitch)


def _rebuilt(model: Model, waves: np.ndarray, meter: Meter) -> np.ndarray:
    made = list[np.ndarray]()
    for start in range(0, len(waves), _AT_ONCE):
        part = torch.from_numpy(waves[start : start + _AT_ONCE])
        made.append(model.pipeline.decode(model.pipeline.encode(part), part.shape[1]).cpu().numpy())
        meter.step(len(part))
    return np.concatenate(made)


@torch.inference_mode()
def _mels(front_end: MelFrontEnd, waves: np.ndarray) -> Tensor:
    return torch.cat([front_end(part) for part in torch.from_numpy(waves).split(_AT_ONCE)])


def _named(
    classifier: NoteClassifier, mels: Tensor, waves: np.ndarray, sample_rate: int, notes: Sequence[Note]
) -> list[dict[str, float]]:
    """Return for each note whether its pitch and its family were named, and its pitch heard, as they are."""
    guess, names = classifier.guess(mels), classifier.config.families
    pitches = (guess.pitch.argmax(1) + classifier.config.lowest).tolist()
    families = [names[number] for number in guess.family.argmax(1).tolist()]
    return [
        {
            "pitch_50c": float(abs(pitch_of_note(wave, sample_rate) - note.pitch) < 0.5),
            "pitch": float(pitch == note.pitch),
            "family": float(family == note.family),
        }
        for wave, note, pitch, family in zip(waves, notes, pitches, families, strict=True)
    ]


def _distances(
    embedder: Embedder,
    reference: np.ndarray,
    sets: Mapping[tuple[str, str], np.ndarray],
    sample_rate: int,
    n_components: int,
    meter: Meter,
) -> dict[tuple[str, str], float]:
    """Return the Frechet distance of each set of notes from the reference, by one embedder."""

    def vectors(waves: np.ndarray) -> np.ndarray:
        found = [embedder.embed(wave, sample_rate).mean(axis=0) for wave in waves]
        meter.step(len(waves))
        return np.stack(found)

    base = vectors(reference)
    axes = principal_axes(base, n_components) if n_components else np.eye(base.shape[1])
    return {key: frechet_distance(base @ axes, vectors(waves) @ axes) for key, waves in sets.items()}


def note_scores(
    classifier: NoteClassifier,
    reference: Tensor,
    sets: Mapping[Any, Tensor],
    k: int = 20,
    seed: int = 0,
    biased: bool = False,
) -> dict[Any, dict[str, float]]:
    """Return the measures of sets of notes that compare them with a reference, by the name of the set.

    Args:
        classifier: names notes.
        reference: spectrograms (n, f, m) of real notes that no model was trained on.
        sets: spectrograms (m, f, m) of others, by name: real ones in one of them, for comparison.
        k: bins.
        seed: of the bins.
        biased: whether PKID and IKID are those of published figures, see ``multiquadric_distance``.

    Raises:
        ParameterError: fewer than 4 reference notes or 2 of a set, or spectrograms of another size.
    """
    for name, mels in sets.items():
        if len(reference) < 4 or len(mels) < 2 or reference.shape[1] != mels.shape[1]:
            raise ParameterError(
                "note scores need 4 reference spectrograms and 2 of each set, of one height, got "
                f"{tuple(reference.shape)} and {tuple(mels.shape)} of {name}"
            )
    of_reference = classifier.guess(reference)
    flat = reference.flatten(1).double().numpy()
    middle = flat.mean(axis=0)
    _, _, axes = np.linalg.svd(flat - middle, full_matrices=False)
    base, n_bins = (flat - middle) @ axes[:_N_AXES].T, max(2, min(k, len(flat) // 4))
    scores: dict[Any, dict[str, float]] = {}
    for set_name, mels in sets.items():
        found, own = classifier.guess(mels), dict[str, float]()
        for letter, logits, theirs in (
            ("P", found.pitch, of_reference.pitch),
            ("I", found.family, of_reference.family),
        ):
            n_splits = max(1, min(10, len(logits) // 2))
            own[f"{letter}IS"] = inception_score(logits.double().softmax(1).numpy(), n_splits, seed).mean
            own[f"{letter}KID"] = multiquadric_distance(theirs.numpy(), logits.numpy(), biased)
        rows = (mels.flatten(1).double().numpy() - middle) @ axes[:_N_AXES].T
        own["NDB/k"] = ndb(base, rows, n_bins, seed, split=True).share
        scores[set_name] = own
    return scores


def spectrogram_errors(reference: Tensor, estimate: Tensor) -> Mapping[str, float]:
    """Return the mean squared and mean absolute error of spectrograms of one shape, in their unit, [-1, 1].

    Raises:
        ParameterError: spectrograms of different shapes, or none.
    """
    if reference.shape != estimate.shape or not reference.numel():
        raise ParameterError(
            f"spectrograms must be of one shape, got {tuple(reference.shape)} and {tuple(estimate.shape)}"
        )
    difference = (reference - estimate).double()
    return {"MSE": float(difference.square().mean()), "MAE": float(difference.abs().mean())}

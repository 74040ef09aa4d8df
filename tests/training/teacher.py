"""A sentence encoder small enough for tests: a BERT of one layer with random weights, in a folder as a real one is."""

from tests.networks.conditioning.conftest import PIECES

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WIDTH = 32


def write_teacher(folder):
    """Write the teacher, and return its folder as a text."""
    import torch
    from transformers import BertConfig, BertModel

    vocabulary = [*SPECIAL, *PIECES]
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.5,  # so that texts differ
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    return str(folder)

"""T5 beside a model: a folder as it is published, at a tiny size; what is not the T5 that is wanted is refused."""

from dataclasses import replace

import pytest
import torch

from masktools.core.errors import CheckpointError, ParameterError
from masktools.networks.conditioning import DeferredT5, T5Config

transformers = pytest.importorskip("transformers")
TEXTS = ["rain on a roof", "a bell"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A whole T5, encoder and decoder, and its tokenizer, in the folder that it is published as."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("models") / "t5-tiny"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(piece, -3.0) for piece in ("▁rain", "▁on", "▁a", "▁roof", "▁bell", *"abcdefghijklmnopqrstuvwxyz")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=len(pieces), d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3, decoder_start_token_id=0
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    return folder, fast, model


@pytest.fixture
def t5(whole, monkeypatch):
    monkeypatch.setenv("MASKTOOLS_T5", str(whole[0]))
    return DeferredT5(T5Config("t5-tiny", 24))


def test_states_are_those_of_its_encoder_and_zero_beyond_a_text(whole, t5):
    _, tokenizer, model = whole
    states = t5.text_states(TEXTS)
    for text, row in zip(TEXTS, states, strict=True):
        read = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            wanted = model.encoder(input_ids=read).last_hidden_state[0]
        torch.testing.assert_close(row[: len(wanted)], wanted, atol=1e-5, rtol=1e-5)
        assert not row[len(wanted) :].any()
    assert states.shape == (2, 5, 24)


def test_weights_are_read_in_single_precision_whatever_they_are_stored_in(whole, monkeypatch, tmp_path):
    _, tokenizer, model = whole
    model.half().save_pretrained(tmp_path / "half")
    model.float()
    tokenizer.save_pretrained(tmp_path / "half")
    monkeypatch.setenv("MASKTOOLS_T5", str(tmp_path / "half"))
    assert DeferredT5(T5Config("t5-tiny", 24)).text_states(TEXTS).dtype == torch.float32


def test_a_model_knows_which_t5_it_was_converted_with(whole, t5, monkeypatch, tmp_path):
    noted = t5.config.noted()
    assert len(noted.sha256) == 64
    DeferredT5(noted).text_states(TEXTS)
    _, tokenizer, model = whole
    other = transformers.T5ForConditionalGeneration(model.config)
    other.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    monkeypatch.setenv("MASKTOOLS_T5", str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match=r"reads texts by the t5-tiny of SHA-256 .* holds another one: name"):
        DeferredT5(noted).text_states(TEXTS)
    DeferredT5(t5.config).text_states(TEXTS)  # which was converted where there was none
    monkeypatch.delenv("MASKTOOLS_T5")
    assert t5.config.noted() == t5.config
    with pytest.raises(ParameterError, match="64 hexadecimal digits"):
        T5Config(sha256="abc")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("width", "whose states have 768 numbers, but those of the T5 in .* have 24"),
        ("no tokenizer", "must be a folder of transformers with t5-tiny|tells no texts apart"),
        ("no weights", "cannot be read"),
        ("weights of another", "its weights lack "),
        ("no folder", "MASKTOOLS_T5 names .*, which is no folder"),
    ],
)
def test_what_is_no_such_t5_is_refused_in_one_line(whole, monkeypatch, tmp_path, fault, reason):
    from safetensors.torch import load_file, save_file

    _, tokenizer, model = whole
    folder = tmp_path / "t5"
    if fault != "no folder":
        model.save_pretrained(folder)
    if fault not in ("no folder", "no tokenizer"):
        tokenizer.save_pretrained(folder)
    if fault == "no weights":
        (folder / "model.safetensors").unlink()
    if fault == "weights of another":
        weights = load_file(folder / "model.safetensors")
        some = {f"other.{name}": value for name, value in weights.items()}
        save_file(some, folder / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setenv("MASKTOOLS_T5", str(folder))
    config = T5Config("t5-base") if fault == "width" else T5Config("t5-tiny", 24)
    with pytest.raises(CheckpointError, match=reason) as caught:
        DeferredT5(config).text_states(TEXTS)
    assert "\n" not in str(caught.value)


def test_a_converted_model_reads_texts_by_the_t5_that_is_named(t5, tmp_path):
    import masktools
    from masktools.cli.main import main
    from tests.pipeline.streams.test_convert import publish

    source = publish(tmp_path / "magnet-small")
    assert main(["convert", "magnet", str(source), "-o", str(tmp_path / "model")]) == 0
    model = masktools.load(tmp_path / "model", device="cpu", precision="fp32")
    assert model.pipeline.conditioner.config == replace(t5.config, sha256=t5.config.noted().sha256)
    together = model.generate(TEXTS, seconds=0.4, n_steps=(3, 1, 1), seed=5)
    (alone,) = model.generate(TEXTS[0], seconds=0.4, n_steps=(3, 1, 1), seed=5)
    assert (together[0].samples == alone.samples).all(), "a text beside a longer one is what it is alone"

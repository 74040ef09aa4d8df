"""What may stand for a condition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masktools.core.errors import ParameterError
from masktools.networks.conditioning import as_condition


class Fake:
    """A conditioner whose texts point where their length says, and are not of unit norm."""

    dim = 4

    def embed_audio(self, wave, sample_rate):
        return torch.ones(len(wave), 4)

    def embed_text(self, texts):
        return torch.tensor([[float(len(text)), 1.0, 0.0, 0.0] for text in texts])


def test_a_text_and_a_list_of_one_text_are_the_same():
    one = as_condition("dog", Fake())
    torch.testing.assert_close(one, as_condition(["dog"], Fake()))
    torch.testing.assert_close(one, torch.tensor([[3.0, 1.0, 0.0, 0.0]]) / 10**0.5)


def test_several_texts_keep_their_order():
    conditions = as_condition(("dog", "a dog barking"), Fake())
    assert conditions.shape == (2, 4)
    assert conditions[0, 1] > conditions[1, 1]


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(0.1, 100.0)))
def test_embeddings_of_any_length_become_unit_vectors_of_the_same_direction(vectors):
    conditions = as_condition(vectors, Fake())
    assert conditions.dtype == torch.float32
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(conditions.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64])
def test_tensors_of_any_number_type_are_taken(dtype):
    assert as_condition(torch.tensor([3, 4, 0, 0], dtype=dtype), Fake()).dtype == torch.float32


def test_a_single_vector_is_a_batch_of_one():
    assert as_condition(np.ones(4), Fake()).shape == (1, 4)


@pytest.mark.parametrize("as_text", [True, False])
def test_embeddings_come_from_a_file(tmp_path, as_text):
    path = tmp_path / "clap.npy"
    np.save(path, np.eye(4, dtype=np.float32))
    torch.testing.assert_close(as_condition(str(path) if as_text else path, Fake()), torch.eye(4))


def test_embeddings_need_no_conditioner():
    assert as_condition(np.ones((2, 7)), None).shape == (2, 7)
    with pytest.raises(ParameterError, match=r"must be \(b, 512\), got \(2, 7\)"):
        as_condition(np.ones((2, 7)), None, dim=512)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((2, 5)), r"must be \(b, 4\), got \(2, 5\)"),
        (np.ones((1, 2, 4)), r"must be \(b, 4\), got \(1, 2, 4\)"),
        (np.ones((0, 4)), r"must be \(b, 4\), got \(0, 4\)"),
        (np.array(1.0), r"must be \(b, 4\), got \(\)"),
        (np.array([[1.0, 0, 0, 0], [np.nan, 0, 0, 0]]), "row 1 holds NaN"),
        (np.array([[np.inf, 0, 0, 0]]), "row 0 holds NaN or infinity"),
        (np.array([[1.0, 0, 0, 0], [0.0, 0, 0, 0]]), "must not be zero, but row 1 is"),
        (np.ones((1, 4), dtype=bool), "must be real numbers"),
        (np.ones((1, 4), dtype=complex), "must be real numbers"),
    ],
)
def test_embeddings_that_point_nowhere_are_refused(vectors, message):
    with pytest.raises(ParameterError, match=message):
        as_condition(vectors, Fake())


def test_vectors_too_small_to_square_still_have_a_direction():
    tiny = torch.tensor([[3e-30, 4e-30, 0.0, 0.0]])
    torch.testing.assert_close(as_condition(tiny, Fake()), torch.tensor([[0.6, 0.8, 0.0, 0.0]]))


@pytest.mark.parametrize(
    ("prompts", "message"), [("", "'' is empty"), (["dog", "  "], "'  ' is empty"), ([], "at least one")]
)
def test_empty_texts_are_refused(prompts, message):
    with pytest.raises(ParameterError, match=message):
        as_condition(prompts, Fake())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: as_condition("dog", None), "reads no texts: give embeddings instead of 'dog'"),
        (lambda: as_condition([1, 2], Fake()), "got a list of int"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"no embeddings at .*none\.npy"):
        as_condition(str(tmp_path / "none.npy"), Fake())


def test_a_file_with_objects_in_it_is_not_opened(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(ParameterError, match="must be a .npy file of numbers"):
        as_condition(tmp_path / "objects.npy", Fake())


def test_a_file_of_words_is_refused(tmp_path):
    np.save(tmp_path / "words.npy", np.array(["dog"]))
    with pytest.raises(ParameterError, match="must be real numbers"):
        as_condition(tmp_path / "words.npy", Fake())


def test_an_archive_of_several_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.ones(4), b=np.ones(4))
    with pytest.raises(ParameterError, match="must hold one array"):
        as_condition(tmp_path / "two.npz", Fake())


def test_a_file_of_text_is_refused(tmp_path):
    (tmp_path / "text.npy").write_text("not numbers")
    with pytest.raises(ParameterError, match="must be a .npy file of numbers"):
        as_condition(tmp_path / "text.npy", Fake())

"""The transformer of scikit-learn: what it promises, and what it does with real recordings."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

import masktools.estimators
from masktools import io
from masktools.core.errors import AudioError, BundleError, ParameterError
from masktools.pipeline import hub
from tests.tiny import SAMPLE_RATE, noise, tiny_pipeline, tone

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from masktools.estimators import EmbeddingTransformer

# No check of scikit-learn fails: a reason would stand here beside the name of each that may.
EXPECTED_FAILURES: dict[str, str] = {}


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Return a folder of models, one of which has the name that the checks of scikit-learn know."""
    place = tmp_path_factory.mktemp("models")
    hub.save_bundle(tiny_pipeline(), place / "tiny", "A card.")
    return place


@pytest.fixture(autouse=True)
def at_hand(models, only_its_own_models, monkeypatch):
    monkeypatch.setenv("MASKTOOLS_MODELS", str(models))


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        io.write(path, noise(0.3 + number, n_channels=1 + number % 2, seed=number), SAMPLE_RATE, "FLOAT")
    return paths


@parametrize_with_checks([EmbeddingTransformer("tiny", threads=1)], expected_failed_checks=lambda _: EXPECTED_FAILURES)
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


def test_paths_waves_and_tables_are_the_same_recordings(files):
    from_files = EmbeddingTransformer("tiny").fit_transform(files)
    waves = [io.read(path).samples.T for path in files]
    assert from_files.shape == (3, 32)
    assert from_files.dtype == np.float32
    for given in (waves, [(wave, SAMPLE_RATE) for wave in waves], np.array([str(path) for path in files])):
        np.testing.assert_allclose(EmbeddingTransformer("tiny").fit_transform(given), from_files, atol=1e-5)
    mono = np.stack([noise(1, seed=seed)[0] for seed in range(2)])
    table = EmbeddingTransformer("tiny").fit(mono)
    assert table.n_features_in_ == mono.shape[1]
    np.testing.assert_allclose(table.transform(mono), table.transform([*torch.from_numpy(mono)]), atol=1e-5)


def test_a_series_of_paths_is_a_list_of_recordings(files):
    pandas = pytest.importorskip("pandas")
    given = pandas.Series([str(path) for path in files], index=[5, 6, 7])
    transformer = EmbeddingTransformer("tiny").fit(given)
    np.testing.assert_array_equal(transformer.transform(given), transformer.transform(files))
    named = transformer.set_output(transform="pandas").transform(given)
    assert list(named.columns[:2]) == ["embeddingtransformer0", "embeddingtransformer1"]


def test_each_option_reaches_the_encoder(files):
    widths = {"rows": 160, "mean_std": 64, "max": 32}
    for pool, width in widths.items():
        assert EmbeddingTransformer("tiny", pool=pool).fit_transform(files).shape == (3, width)
    every = EmbeddingTransformer("tiny", layer="all")
    assert every.fit_transform(files).shape == (3, 96)
    assert len(every.get_feature_names_out()) == 96
    plain = EmbeddingTransformer("tiny").fit_transform(files)
    assert np.abs(EmbeddingTransformer("tiny", prefix="condition").fit_transform(files) - plain).max() > 1e-3
    wave = [noise(1, 8_000)[0]]
    slow, right = (EmbeddingTransformer("tiny", sample_rate=rate).fit_transform(wave) for rate in (None, 8_000))
    assert np.abs(slow - right).max() > 1e-3


def test_a_copy_asks_for_the_same_and_a_change_is_taken(files):
    transformer = EmbeddingTransformer("tiny", layer=1, pool="rows")
    copy = clone(transformer)
    assert copy.get_params() == transformer.get_params()
    assert copy.set_params(pool="mean").fit(files).transform(files).shape == (3, 32)


def test_a_pickle_holds_no_weights_and_knows_its_model(files, models, monkeypatch):
    fitted = EmbeddingTransformer("tiny").fit(files)
    stored = pickle.dumps(fitted)
    assert len(stored) < 2_000
    opened = pickle.loads(stored)
    np.testing.assert_array_equal(opened.transform(files), fitted.transform(files))
    hub.save_bundle(tiny_pipeline(seed=1), models / "other", "A card.")
    with pytest.raises(BundleError, match="other is not the model that this was fitted with: .* fit again"):
        pickle.loads(stored).set_params(model="other").transform(files)


def test_a_classifier_behind_it_tells_tones_from_noise():
    pitches = np.linspace(200, 4_000, 12)
    waves = [tone(pitch, 0.5)[0] for pitch in pitches] + [noise(0.5, seed=seed)[0] for seed in range(12)]
    labels = ["tone"] * 12 + ["noise"] * 12
    classifier = make_pipeline(EmbeddingTransformer("tiny"), LogisticRegression())
    classifier.fit(waves[::2], labels[::2])
    assert classifier.score(waves[1::2], labels[1::2]) > 0.9


def test_what_is_no_recording_is_refused(files, tmp_path):
    transformer = EmbeddingTransformer("tiny").fit(files)
    with pytest.raises(ParameterError, match="at least one recording must be given, got an empty list"):
        transformer.transform([])
    with pytest.raises(AudioError, match="missing.wav"):
        transformer.transform([tmp_path / "missing.wav"])
    with pytest.raises(ParameterError, match=r"a tuple must be a wave and its rate in Hz, got \(1, 2, 3\)"):
        transformer.transform([(1, 2, 3)])
    with pytest.raises(ParameterError, match="the pool none has none: choose another"):
        EmbeddingTransformer("tiny", pool="none").fit(files)
    with pytest.raises(ParameterError, match="unknown pool 'median'"):
        EmbeddingTransformer("tiny", pool="median").fit(files)


def test_without_scikit_learn_it_says_what_to_install():
    code = """
import sys
sys.modules["sklearn"] = None
import masktools.estimators
assert dir(masktools.estimators) == ["EmbeddingTransformer"]
try:
    masktools.estimators.EmbeddingTransformer
except masktools.core.errors.ParameterError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'needs scikit-learn: pip install "masktools[probes]"' in done.stdout
    with pytest.raises(AttributeError, match="module 'masktools.estimators' has no attribute 'Probe'"):
        _ = masktools.estimators.Probe

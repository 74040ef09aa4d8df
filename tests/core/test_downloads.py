"""Models of the Hugging Face hub, without a network: a cache as the hub leaves it behind, and a hub that is made up."""

import shutil
import sys

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.hf_api
import numpy as np
import pytest
from huggingface_hub import errors

import masktools
from masktools.cli.main import main
from masktools.core import downloads
from masktools.core.errors import BundleError
from masktools.pipeline import hub
from tests.pipeline.hub_server import serving
from tests.tiny import SAMPLE_RATE, noise, tiny_pipeline

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return hub.save_bundle(tiny_pipeline(), tmp_path_factory.mktemp("downloads") / "tiny", "A card.")


@pytest.fixture
def cache(bundle, tmp_path):
    """Return a cache that holds someone/tiny."""
    repository = tmp_path / "cache" / "models--someone--tiny"
    shutil.copytree(bundle, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return tmp_path / "cache"


def snapshot(cache):
    return cache / "models--someone--tiny" / "snapshots" / COMMIT


def test_a_model_in_the_cache_needs_no_network(cache):
    encoder = masktools.Encoder.from_pretrained("someone/tiny", cache_dir=cache)
    assert encoder.name == "tiny"
    assert hub.load_bundle("someone/tiny", revision=COMMIT, cache_dir=cache).name == "tiny"
    wave = noise(0.5)[0]
    expected = masktools.Encoder(tiny_pipeline()).encode(wave, SAMPLE_RATE).clip
    np.testing.assert_allclose(encoder.encode(wave, SAMPLE_RATE).clip, expected, atol=0.05)  # of weights in fp16


def test_the_cache_of_the_hub_itself_is_the_default(cache, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    assert masktools.load("someone/tiny").name == "tiny"


def test_what_is_not_in_the_cache_is_asked_for_once(cache, bundle, monkeypatch):
    asked = []

    def download(repo_id, **options):
        asked.append((repo_id, options))
        if options.get("local_files_only"):
            raise errors.LocalEntryNotFoundError("not there")
        return str(bundle)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert downloads.fetch("someone/other", "v1", cache) == bundle
    assert [name for name, _ in asked] == ["someone/other"] * 2
    for _, options in asked:
        assert options["revision"] == "v1"
        assert options["cache_dir"] == cache
        assert options["allow_patterns"] == ["*.safetensors", "*.json", "*.md"], "nothing that could run"


def test_a_download_that_was_cut_off_is_finished(cache, bundle, monkeypatch):
    (snapshot(cache) / "transformer.safetensors").unlink()
    real = huggingface_hub.snapshot_download

    def download(repo_id, **options):
        if options.pop("local_files_only", False):
            return real(repo_id, local_files_only=True, **options)
        shutil.copy(bundle / "transformer.safetensors", snapshot(cache))
        return str(snapshot(cache))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert downloads.fetch("someone/tiny", cache_dir=cache) == snapshot(cache)


def test_an_altered_download_is_refused(cache):
    path = snapshot(cache) / "MODEL_CARD.md"
    path.write_text("Another card.")
    with pytest.raises(BundleError, match=r"MODEL_CARD.md was altered or cut off"):
        hub.load_bundle("someone/tiny", cache_dir=cache)
    (snapshot(cache) / "checksums.json").write_text("{")
    with pytest.raises(BundleError, match=r"checksums.json is not JSON"):
        hub.load_bundle("someone/tiny", cache_dir=cache)


def refused(kind):
    """Return an error of the hub without the response that it was made from."""
    error = kind.__new__(kind)
    error.args = ("404",)
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            errors.LocalEntryNotFoundError("offline"),
            "it is not in the cache, and .* be reached .offline",
        ),
        (errors.OfflineModeIsEnabled("is offline"), "be reached .is offline.: connect to the network"),
        (refused(errors.RepositoryNotFoundError), "nor a public repository"),
        (
            refused(errors.RevisionNotFoundError),
            "no revision 'v1' on the Hugging",
        ),
        (FileNotFoundError("it lacks checksums.json"), "is no whole bundle of masktools: it lacks checksums"),
    ],
)
def test_why_there_is_no_model_is_told(error, message, tmp_path, monkeypatch):
    def download(repo_id, **options):
        raise errors.LocalEntryNotFoundError("none") if options.get("local_files_only") else error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(BundleError, match=message):
        masktools.Encoder.from_pretrained("someone/none", revision="v1", cache_dir=tmp_path)


def test_without_a_network_it_says_so(tmp_path):
    with pytest.raises(BundleError, match="no model 'someone/none': there is no such folder, it is not in the cache"):
        masktools.load("someone/none") if not tmp_path else hub.load_bundle("someone/none", cache_dir=tmp_path)


def test_without_huggingface_hub_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BundleError, match=r'no model .someone/none. at hand; .*pip install "masktools\[hub\]"'):
        hub.load_bundle("someone/none")


@pytest.mark.parametrize("name", ["mini", "./someone/tiny", "/a/b", "a/b/c", "a/", "a/..", "a b/c", "a--b/c", ""])
def test_what_is_no_name_on_the_hub_is_looked_for_at_hand_only(name):
    assert not downloads.is_hub_name(name)
    if name not in ("mini", ""):
        with pytest.raises(
            BundleError, match="no model .*: available are mini, mini-magnet, mini-mars; or give the folder of a bundle"
        ):
            hub.load_bundle(name)


def test_names_on_the_hub():
    assert downloads.is_hub_name("someone/a-model_1.0")


def test_a_folder_comes_before_the_hub(bundle, tmp_path, monkeypatch):
    shutil.copytree(bundle, tmp_path / "someone" / "tiny")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("the hub was asked"))
    assert hub.load_bundle("someone/tiny").name == "tiny"


of_httpx = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # how the client sends its files


@pytest.fixture
def local_hub(tmp_path, monkeypatch):
    """Serve a hub on loopback and point the hub's own client at it."""
    with serving() as (served, address):
        told = {"ENDPOINT": address, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}
        told["HUGGINGFACE_CO_URL_TEMPLATE"] = address + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in (told | {"HF_HUB_CACHE": str(tmp_path / "hub")}).items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", address)
        monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield served


@of_httpx
def test_a_bundle_is_pushed_in_one_commit_and_loaded_by_its_name(bundle, local_hub, capsys):
    assert main(["push", str(bundle), "someone/tiny", "--licence", "cc0-1.0", "--private"]) == 0
    assert capsys.readouterr().out.strip().endswith("/someone/tiny")
    there = local_hub.repositories["someone/tiny"]
    for path in bundle.iterdir():
        assert there[path.name] == path.read_bytes(), path.name
    assert set(there) - {path.name for path in bundle.iterdir()} == {"README.md", "preprocessor_config.json"}
    assert sum("/commit/" in one for one in local_hub.asked) == 1
    card = huggingface_hub.ModelCard(there["README.md"].decode())
    assert (card.data.license, card.data.library_name) == ("cc0-1.0", "masktools")
    assert masktools.load("someone/tiny", device="cpu").name == "tiny"
    asked = len(local_hub.asked)
    assert masktools.load("someone/tiny", device="cpu").name == "tiny"
    assert len(local_hub.asked) == asked, "the second time it is in the cache"
    assert main(["push", str(bundle), "someone/tiny"]) == 0, "a repository that is there is written to"


@of_httpx
def test_an_encoder_is_pushed_from_python(local_hub):
    address = masktools.Encoder(tiny_pipeline()).push_to_hub("someone/tiny", private=True)
    assert address.endswith("/someone/tiny")
    assert {"config.json", "README.md", "transformer.safetensors"} <= set(local_hub.repositories["someone/tiny"])


def test_what_cannot_be_pushed_is_told_before_anything_is_written(bundle, tmp_path, local_hub, capsys):
    altered = shutil.copytree(bundle, tmp_path / "altered")
    (altered / "config.json").write_text((altered / "config.json").read_text() + " ")
    for words, message in (
        ([str(altered), "someone/tiny"], "config.json was altered or cut off"),
        ([str(bundle), "tiny"], "the repository must be OWNER/NAME, got 'tiny'"),
        ([str(tmp_path / "none"), "someone/tiny"], "no model"),
    ):
        assert main(["push", *words]) == 2
        assert message in capsys.readouterr().err
    assert not local_hub.repositories


def test_a_hub_that_refuses_is_quoted(monkeypatch):
    class Api:
        def create_repo(self, *_, **__):
            raise errors.LocalTokenNotFoundError("Token is required\nand more")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    with pytest.raises(BundleError, match=r"someone/tiny cannot be written on .* hub \(Token is required\)"):
        masktools.Encoder(tiny_pipeline()).push_to_hub("someone/tiny")

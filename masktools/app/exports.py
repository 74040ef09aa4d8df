"""Exports of the app: the recording with its repairs, a comparison page, or the file itself, patched."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from masktools import io
from masktools.app.refusals import RefusalError
from masktools.core.settings import AUDIO_FORMATS

FORMATS = ("keep", *AUDIO_FORMATS)


def ending_of(name: str, format: str, is_lossy: bool) -> str:
    """Return the ending of an export, which keeps what its source is; a lossy one is not coded lossily again.

    Raises:
        RefusalError: an unknown format.
    """
    from masktools.batch.tasks import kept_ending

    if format not in FORMATS:
        raise RefusalError(422, f"format must be one of {', '.join(FORMATS)}, got {format[:20]!r}", "format")
    if format != "keep":
        return f".{format}"
    return ".flac" if is_lossy else kept_ending(Path(name))


def write_audio(source: Path, target: Path, pieces: Sequence[io.Piece]) -> dict[str, Any]:
    """Write a recording with pieces in their places; without any it is copied byte for byte, where it can be.

    Raises:
        AudioError: it cannot be read or written.
    """
    with io.open_recording(source, tell=False) as recording:
        if not pieces and io.coding_for(target, recording.subtype).format == recording.format:
            with io.replacing(target) as part:
                shutil.copyfile(source, part)
            return {"clipped": 0}
        return {"clipped": io.restore_into(source, target, recording, pieces)}


def save(source: Path, target: Path, pieces: Sequence[io.Piece]) -> dict[str, Any]:
    """Write a recording with its repairs over the file that it came from.

    Raises:
        RefusalError: a coding that would change all of it.
        AudioError: it cannot be read or written.
    """
    with io.open_recording(source, tell=False, exact=False) as recording:
        if recording.is_lossy and pieces:
            told = f"{target.name} is coded lossily: to save into it would change all of it"
            raise RefusalError(422, told, hint="export it as FLAC")
        if not pieces:
            with io.replacing(target) as part:
                shutil.copyfile(source, part)
            return {"clipped": 0}
        return {"clipped": io.restore_into(source, target, recording, pieces)}


def write_page(before: Path, after: Path, target: Path, marks: Sequence[dict[str, Any]], title: str) -> None:
    """Write the page that compares a recording with what was made of it.

    Raises:
        AudioError: it cannot be read or written.
    """
    from masktools import review

    repairs = [review.Repair(**{**mark, "channels": mark["channels"] and tuple(mark["channels"])}) for mark in marks]
    review.write_page(review.compare(before, after, repairs=repairs, title=title), target)

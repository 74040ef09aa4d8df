"""The figures of a comparison as text tables, for the page, the plot and the command line."""

from masktools.core.tables import Table, text_of
from masktools.review.comparison import Comparison, Repair, Version

_LSD = "LSD: the log-spectral distance, 0 for equal sounds, 3 to 4 for very much alike ones."
_SEAM = (
    "Seam: by how much the worse of the two joins sticks out of its surroundings, about 0 where nothing is to be heard."
)
_NOTHING = "\N{EN DASH}"


def versions_table(comparison: Comparison) -> Table:
    """Return the table of the files: format and level."""
    versions = comparison.versions
    rows: list[tuple[str, ...]] = [
        ("format", *(f"{version.format} {version.subtype}" for version in versions)),
        ("sample rate", *(f"{version.sample_rate} Hz" for version in versions)),
        ("channels", *(str(version.n_channels) for version in versions)),
        ("length", *(f"{version.duration_s:.3f} s" for version in versions)),
        ("level, dBFS of a sine", *(_level(version, "level_db") for version in versions)),
        ("peak, dB of full scale", *(_level(version, "peak_db") for version in versions)),
    ]
    if comparison.reference is not None:
        split = comparison.before.distance is not None and comparison.before.distance.lsd_low_db is not None
        wanted = (
            [("lsd_low_db", "LSD below the cutoff, dB"), ("lsd_high_db", "LSD above the cutoff, dB")] if split else []
        )
        for name, words in (*wanted, ("lsd_db", "LSD to the reference, dB")):
            distances = [_decibels(getattr(version.distance, name, None), sign=False) for version in versions]
            rows.append((words, *distances))
    notes = (_LSD,) if comparison.reference is not None else ()
    return Table("The files", ("", *(version.name for version in versions)), tuple(rows), notes)


def difference_table(comparison: Comparison) -> Table:
    """Return the table of the difference of the versions."""
    difference = comparison.difference
    rows = [("samples compared, all channels", f"{difference.n_compared:,}")]
    if difference.n_differ is not None:
        rows.append(("samples that differ", _share(difference.n_differ, difference.n_compared)))
    if comparison.repairs and difference.n_differ_inside is not None:
        rows.append(("inside the repairs", f"{difference.n_differ_inside:,}"))
        rows.append(("outside the repairs", f"{difference.n_differ_outside:,}"))
    rows.append(("greatest difference, dB of full scale", _decibels(difference.peak_db)))
    if comparison.repairs:
        rows.append(("the same outside the repairs", _decibels(difference.peak_outside_db)))
    rows.append(("level of the difference, dBFS of a sine", _decibels(difference.rms_db)))
    if comparison.cutoff_hz is not None:
        rows.append(("cutoff", f"{comparison.cutoff_hz:.0f} Hz"))
    return Table("The difference", ("", "After \N{MINUS SIGN} before"), tuple(rows))


def repairs_table(comparison: Comparison) -> Table:
    """Return the table of the repairs, with their measurements."""
    with_reference = comparison.reference is not None
    columns = ("start", "length", "channels", "method", "level before", "after", "seam")
    rows = []
    for repair, figures in zip(comparison.repairs, comparison.repair_figures, strict=True):
        levels = (figures.level_before_db, figures.level_after_db)
        distances = (figures.lsd_before_db, figures.lsd_after_db) if with_reference else ()
        rows.append(
            (
                f"{repair.start_s:.3f} s",
                f"{1000 * (repair.end_s - repair.start_s):.1f} ms",
                channels_of(repair),
                said_of(repair),
                *(_decibels(level) for level in levels),
                _decibels(figures.seam_db),
                *(_decibels(distance, sign=False) for distance in distances),
            )
        )
    more = ("LSD before", "LSD after") if with_reference else ()
    notes = (_SEAM, _LSD) if with_reference else (_SEAM,)
    return Table("Repairs, levels and distances in dB", (*columns, *more), tuple(rows), notes)


def channels_of(repair: Repair) -> str:
    """Return the channels of a repair, counted from 1."""
    return "all" if repair.channels is None else ", ".join(str(channel + 1) for channel in repair.channels)


def said_of(repair: Repair) -> str:
    """Return the method of a repair in words."""
    band = ""
    if repair.low_hz is not None or repair.high_hz is not None:
        high = "" if repair.high_hz is None else f"{repair.high_hz:.0f}"
        band = f"{repair.low_hz or 0:.0f}\N{EN DASH}{high} Hz"
    return ", ".join(part for part in (repair.method, band) if part) or _NOTHING


def as_text(comparison: Comparison) -> str:
    """Return all figures as plain text."""
    files = [f"{version.name.lower()}: {version.path}" for version in comparison.versions]
    figures = text_of(
        [versions_table(comparison), difference_table(comparison), repairs_table(comparison)], notes=False
    )
    return "\n".join([*files, "", figures.rstrip(), *(f"note: {note}" for note in comparison.notes)])


def _level(version: Version, name: str) -> str:
    return _NOTHING if version.level is None else _decibels(getattr(version.level, name), silent="silent")


def _decibels(value: float | None, sign: bool = True, silent: str = _NOTHING) -> str:
    if value is None:
        return silent
    text = f"{value:+.2f}" if sign else f"{value:.2f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _share(n: int, of: int) -> str:
    """Return a number and its percentage; 100 only for all.

    >>> _share(5, 8), _share(264_591, 264_600), _share(8, 8)
    ('5 (62.5 %)', '264,591 (99.997 %)', '8 (100 %)')
    """
    if not n:
        return "0"
    texts = (f"{100 * n / of:.{digits}g}" for digits in range(3, 17))
    return f"{n:,} ({next((text for text in texts if n == of or text != '100'), 'nearly 100')} %)"

"""Round numbers for axes, and the words for times and frequencies."""

from math import ceil, floor, log10

__all__ = ["hz_label", "time_label", "time_step", "time_ticks"]


def hz_label(hz: float) -> str:
    """Return a frequency as axes show it.

    >>> hz_label(500), hz_label(2000)
    ('500', '2 k')
    """
    return f"{hz / 1000:g} k" if hz >= 1000 else f"{hz:g}"


def time_step(start_s: float, end_s: float, n_ticks: float) -> float:
    """Return the seconds between about so many round times."""
    wanted = max((end_s - start_s) / max(1.0, n_ticks), 0.001)
    if wanted > 5:
        steps = (10, 15, 30, 60, 120, 300, 600, 900, 1800)
        return float(next((step for step in steps if step >= wanted), 3600 * ceil(wanted / 3600)))
    power = 10.0 ** floor(log10(wanted))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= wanted * 0.999)


def time_ticks(start_s: float, end_s: float, n_ticks: float) -> list[float]:
    """Return about so many round times in [start_s, end_s].

    >>> time_ticks(0.5, 10.0, 5)
    [2.0, 4.0, 6.0, 8.0, 10.0]
    """
    step = time_step(start_s, end_s, n_ticks)
    return [round(number * step, 6) for number in range(ceil(start_s / step - 1e-6), floor(end_s / step + 1e-6) + 1)]


def time_label(second: float, step: float = 0.001) -> str:
    """Return a time in hours, minutes and seconds, with as many places as steps of that size need.

    >>> time_label(83.5, 0.5), time_label(3723.0, 1), time_label(0.25)
    ('1:23.5', '1:02:03', '0:00.250')
    """
    places = next((places for places in range(4) if abs(step * 10**places - round(step * 10**places)) < 1e-6), 3)
    ticks = round(second * 10**places)
    whole, fraction = divmod(ticks, 10**places)
    hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    return f"{text}.{fraction:0{places}d}" if places else text

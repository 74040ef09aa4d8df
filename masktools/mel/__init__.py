"""Mel spectrograms (wave -> mel), and the grid of tokens over them."""

from masktools.mel.spectrogram import (
    DB_PER_NEPER,
    MelConfig,
    MelFrontEnd,
    check_patches,
    db_to_mel,
    differing_fields,
    level_of,
    log_to_mel,
    mel_edges_hz,
    mel_filterbank,
    mel_to_db,
    mel_to_log,
    power_of,
)

__all__ = [
    "DB_PER_NEPER", "MelConfig", "MelFrontEnd", "check_patches", "db_to_mel", "differing_fields", "level_of",
    "log_to_mel", "mel_edges_hz", "mel_filterbank", "mel_to_db", "mel_to_log", "power_of",
]  # fmt: skip

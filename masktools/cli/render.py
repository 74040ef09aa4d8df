"""Render training audio of one's own: composed music, synthetic speech, and mixtures, with a manifest.

The same seed renders the same audio. What was killed goes on where it stopped when the same command is given again, and
more minutes enlarge a folder. It needs fluidsynth with a General MIDI bank, and espeak-ng (of Debian, the packages
fluidsynth, fluid-soundfont-gm and espeak-ng).
"""

import argparse
from pathlib import Path

from masktools.cli import options
from masktools.cli.cache import progress

__all__ = ["HELP", "add_arguments", "run"]

HELP = "render music, speech and mixtures, or single notes, for training"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="where to")
    for kind, minutes in (("music", 90.0), ("speech", 20.0), ("mixture", 20.0)):
        parser.add_argument(
            f"--{kind}-minutes",
            type=options.number(0),
            default=minutes,
            metavar="MIN",
            help=f"of it; {minutes:g} if left out",
        )
    parser.add_argument("--seed", type=options.whole_number(0), default=0, metavar="N", help="what draws everything")
    parser.add_argument("--soundfont", type=Path, metavar="FILE.sf2", help="a General MIDI bank; FluidR3 if left out")
    parser.add_argument(
        "--notes",
        type=options.whole_number(1),
        nargs="?",
        const=1,
        metavar="STEP",
        help="single notes of every instrument instead, laid out as NSynth, one each STEP semitones; 1 if left out",
    )
    parser.add_argument("--workers", type=options.whole_number(1), default=1, metavar="N", help="processes")


def run(args: argparse.Namespace) -> int:
    """Render, and say what there is."""
    from masktools.training.renders.folder import RenderSettings, render_folder
    from masktools.training.renders.music import SOUNDFONT

    if args.notes is not None:
        return _render_notes(args, args.soundfont or SOUNDFONT)
    settings = RenderSettings(
        args.music_minutes, args.speech_minutes, args.mixture_minutes, args.seed, soundfont=args.soundfont or SOUNDFONT
    )
    rows = render_folder(args.output, settings, args.workers, progress("renders"))
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = [row for row in rows if row["kind"] == kind]
        minutes = sum(float(row["duration_s"]) for row in of_kind) / 60
        print(f"{kind:<8}{len(of_kind):>6} renders{minutes:>8.1f} min")
    print(f"{args.output / 'manifest.csv'}")
    return 0


def _render_notes(args: argparse.Namespace, soundfont: Path) -> int:
    from masktools.training.renders.notes import NoteRenderSettings, render_notes

    settings = NoteRenderSettings(step=args.notes, seed=args.seed, soundfont=soundfont)
    for split, n_notes in render_notes(args.output, settings, args.workers, progress("instruments")).items():
        print(f"{split:<8}{n_notes:>6} notes")
    print(f"{args.output}")
    return 0

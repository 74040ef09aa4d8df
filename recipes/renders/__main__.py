"""Render training audio of one's own: composed music, synthetic speech and mixtures with a manifest, or single notes.

Usage, in a checkout: python -m recipes.renders -o FOLDER [--music-minutes 90 | --notes] [--workers 2]

The same seed renders the same audio. What was killed goes on where it stopped when the same command is given again, and
more minutes enlarge a folder. It needs fluidsynth with a General MIDI bank, and espeak-ng (of Debian, the packages
fluidsynth, fluid-soundfont-gm and espeak-ng).
"""

import argparse
import sys
from pathlib import Path

from masktools.cli.files import counting
from masktools.cli.options import number, whole_number
from masktools.core.errors import MasktoolsError
from recipes.renders.folder import RenderSettings, render_folder
from recipes.renders.music import SOUNDFONT
from recipes.renders.notes import NoteRenderSettings, render_notes


def main(arguments=None):
    """Render, say what there is, and return the exit code."""
    parser = argparse.ArgumentParser(prog="recipes.renders", description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="where to")
    for kind, minutes in (("music", 90.0), ("speech", 20.0), ("mixture", 20.0)):
        told = f"length of all {kind}; {minutes:g} if left out"
        parser.add_argument(f"--{kind}-minutes", type=number(0), default=minutes, metavar="MIN", help=told)
    parser.add_argument("--seed", type=whole_number(0), default=0, metavar="N", help="what draws everything")
    parser.add_argument("--soundfont", type=Path, default=SOUNDFONT, metavar="FILE.sf2", help="a General MIDI bank")
    told = "single notes of every instrument instead, laid out as NSynth, one each STEP semitones; 1 if left out"
    parser.add_argument("--notes", type=whole_number(1), nargs="?", const=1, metavar="STEP", help=told)
    parser.add_argument("--workers", type=whole_number(1), default=1, metavar="N", help="processes")
    args = parser.parse_args(arguments)
    try:
        return render_all_notes(args) if args.notes is not None else render_recordings(args)
    except MasktoolsError as error:
        print(f"recipes.renders: error: {error}", file=sys.stderr)
        return 2


def render_recordings(args):
    """Render music, speech and mixtures."""
    minutes = args.music_minutes, args.speech_minutes, args.mixture_minutes
    settings = RenderSettings(*minutes, args.seed, soundfont=args.soundfont)
    rows = render_folder(args.output, settings, args.workers, counting("renders"))
    for kind in dict.fromkeys(row["kind"] for row in rows):
        lengths = [float(row["duration_s"]) for row in rows if row["kind"] == kind]
        print(f"{kind:<8}{len(lengths):>6} renders{sum(lengths) / 60:>8.1f} min")
    print(args.output / "manifest.csv")
    return 0


def render_all_notes(args):
    """Render single notes."""
    settings = NoteRenderSettings(step=args.notes, seed=args.seed, soundfont=args.soundfont)
    for split, n_notes in render_notes(args.output, settings, args.workers, counting("instruments")).items():
        print(f"{split:<8}{n_notes:>6} notes")
    print(args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())

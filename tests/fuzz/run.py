"""Fuzz files and command lines: whatever is given, one line and an exit code, nothing lost and nothing left behind.

    python tests/fuzz/run.py 10000                 # so many fuzzed files and command lines in all
    python tests/fuzz/run.py 1 --seed 4711         # the one that was found to fail, again

Of every 100 cases 70 open and restore a damaged file, 29 run a command in this process, and one runs it in another.
"""

import argparse
import contextlib
import functools
import hashlib
import io as streams
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import traceback
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from masktools import io
from masktools.cli.main import main, make_parser
from masktools.core.errors import MasktoolsError
from masktools.pipeline import hub
from tests.io.broken import ID3, encoded, tone, variable_mp3
from tests.tiny import tiny_pipeline

ROOT = Path(__file__).parents[2]
KINDS = (
    *(
        ("WAV", subtype)
        for subtype in ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "MS_ADPCM")
    ),
    *(("WAVEX", subtype) for subtype in ("PCM_16", "FLOAT")),
    *((container, "PCM_16") for container in ("RF64", "W64", "AIFF", "CAF", "AU", "FLAC")),
    *(("OGG", subtype) for subtype in ("VORBIS", "OPUS")),
    ("CAF", "ALAC_16"),
    ("MP3", "MPEG_LAYER_III"),
    ("MP3", "variable"),
)
ENDINGS = ("wav", "flac", "mp3", "ogg", "opus", "aiff", "caf", "m4a", "xyz")
EDGES = (0, 1, 2, 8, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
VALUES = (
    *("", " ", "0", "1", "2", "-1", "0.3", "1e9", "1e37", "-1e-9", "nan", "inf", "9" * 25, "0x10", "1_0", "\u0661"),
    *("auto", "none", "mid_side", "0.1-0.12", "0.1-0.12:0", "0.3-0.1", "0.1-0.12," * 60, "0.1-0.2,1000-3000", "-"),
    *("a.wav", "b.flac", "in", "in/c.wav", "gaps.json", "labels.txt", "list.csv", "list.jsonl", "shard.tar"),
    *(
        "tokens.npz",
        "vector.npy",
        "out",
        "out.wav",
        "out/x.wav",
        "missing.wav",
        "missing/x.wav",
        ".",
        "/",
        "..",
        "loop",
    ),
    *("a.wav ", "file://a.wav", "file:///nowhere/%zz.wav", "http://", "s3://x", "s-{0..1}.tar", "{0..99999999}.wav"),
    *("x" * 300, "x" * 5_000, "caf\udce9.wav", "\u202e", "new\nline", "%s%n{}", "🎵", "a\0b", "cpu", "cuda:99", "int8"),
    *("pcm24", "json", "html", "png", "ogg", "keep", "mean", "-3", "zeros,hold", "clicks", "linear", "burg", "model"),
)
LINES = (
    *("probe a.wav in --json", "probe in -r", "inpaint a.wav -o out.wav --gaps 0.1-0.12 --method linear"),
    *("inpaint in b.flac -o out -n 2 --gaps 0.1-0.3 --method model --steps 1", "inpaint a.wav --gaps gaps.json"),
    *("inpaint in -r -o out --gaps labels.txt --method burg --report r.json", "inpaint a.wav -o x.ogg --gaps 0.1-0.2"),
    *("restore a.wav -o o.flac --cutoff 4000 --steps 1", "restore in -o out --resume --steps 1 --dry-run"),
    *("bwe b.flac -o out.wav --cutoff 4000 --steps 1", "repair a.wav -o out.wav --region 0.1-0.2,1000-3000 --steps 1"),
    *("extend a.wav -o out.wav --seconds 0.2 --steps 1", "loop a.wav -o out.wav --steps 1"),
    *("compare a.wav b.flac -o page.html", "generate rain -o out.wav --seconds 0.5 --steps 1"),
    *("generate vector.npy -o out.wav --seconds 0.5 --steps 1", "embed a.wav b.flac -o out.npz"),
    *("embed list.csv -o out.npz", "embed list.jsonl -o out", "embed shard.tar -o out.npz --layer 1 --pool mean"),
    *("encode a.wav -o t.npz", "decode tokens.npz -o out.wav", "models", "cache in -o cached"),
)
NEEDLESS_MODEL = ("probe", "compare", "models", "cache")
SLOW = {
    "--jobs",
    "--seconds",
    "-n",
    "--candidates",
    "--workers",
    "--decoders",
}  # with a large value they just take long
LONGEST_S = 60


def encoded_kind(kind):
    """Return a whole file of a container and a coding."""
    return _encoded(*kind)


@functools.cache
def _encoded(container, subtype):
    if subtype == "variable":
        return variable_mp3(0.5)
    return encoded(np.stack([tone(0.4, 22_050), tone(0.4, 22_050, 990.0)], 1), 24_000, container, subtype)


def damaged(rng, content, other=b""):
    """Return what a few accidents leave of a file."""
    held = bytearray(content)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4, 16))):
        reach = rng.choice((16, 64, 256, len(held))) or 1
        at = rng.randrange(min(reach, len(held) or 1) or 1)
        match rng.randrange(8):
            case 0 | 1:
                held[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                held[at : at + 4] = rng.choice(EDGES).to_bytes(4, rng.choice(("little", "big")))
            case 3:
                del held[at : at + rng.choice((1, 2, 100, 5_000))]
            case 4:
                held[at:at] = rng.randbytes(rng.choice((1, 2, 300)))
            case 5:
                held[at : at + 200] = bytes([rng.choice((0, 255))]) * 200
            case 6:
                del held[rng.randrange(len(held) + 1) :]
            case 7:
                held = bytearray(rng.choice((ID3, b"", other))) + held + rng.choice((ID3, bytes(5_000), other, b"TAG"))
    return bytes(held)


def sums(folder):
    """Return a digest of every file in a folder, and the names of all else."""
    found = {}
    for path in sorted(folder.rglob("*")):
        told = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        found[os.fsencode(path.relative_to(folder))] = told
    return found


class TooSlowError(Exception):
    """A case that does not come to an end."""


@contextlib.contextmanager
def in_time():
    """End what takes too long."""

    def end(*_):
        raise TooSlowError(f"no end after {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz_file(rng, folder):
    """Open and restore a damaged file; return what it was, and what is wrong with what came of it."""
    kind, other = rng.choice(KINDS), rng.choice(KINDS)
    content = damaged(rng, encoded_kind(kind), encoded_kind(other)) or b"\0"
    path, result = folder / f"in.{rng.choice(ENDINGS)}", folder / f"out.{rng.choice(('wav', 'flac', 'aiff', 'ogg'))}"
    path.write_bytes(content)
    what, wrong, done = f"{kind} as {path.name}", [], False
    try:
        with in_time(), io.open_recording(path, tell=False) as recording:
            wrong += [f"several lines: {line!r}" for line in recording.warnings if "\n" in line]
            recording.read(0, 100_000)
            piece = io.Piece(0, np.full((recording.n_channels, 1), 0.5, np.float32), tuple(range(recording.n_channels)))
            io.restore_into(path, result, recording, [piece] if rng.random() < 0.5 else [])
            done = True
    except MasktoolsError as error:
        wrong += [f"several lines: {error}"] if "\n" in str(error) else []
    except Exception:
        wrong.append(traceback.format_exc())
    after = sums(folder)
    wrong += (
        ["the source was changed"] if after.pop(os.fsencode(path.name)) != hashlib.sha256(content).hexdigest() else []
    )
    wrong += [f"left behind: {after}"] if set(after) != ({os.fsencode(result.name)} if done else set()) else []
    return what, wrong


def fill(rng, folder):
    """Make the files that command lines name; some of them damaged."""
    (folder / "in").mkdir()
    recordings = {"a.wav": "WAV", "b.flac": "FLAC", "in/c.wav": "AIFF", "in/d.mp3": "MP3"}
    subtypes = {"MP3": "MPEG_LAYER_III"}
    files = {name: encoded_kind((kind, subtypes.get(kind, "PCM_16"))) for name, kind in recordings.items()}
    files["gaps.json"] = b'{"gaps": [{"start_s": 0.1, "end_s": 0.12, "channels": [0]}]}'
    files["labels.txt"] = b"0.1\t0.12\tgap\n0.2\t0.21\tgap\n"
    files["list.csv"] = b"key,path,start_s,stop_s\nx,a.wav,0.1,0.3\ny,b.flac,,\n"
    files["list.jsonl"] = b'{"key": "x", "path": "a.wav"}\n{"path": "in/c.wav", "start_s": 0.1}\n'
    files["tokens.npz"], files["vector.npy"], files["shard.tar"] = _arrays()
    for name, content in files.items():
        (folder / name).write_bytes(damaged(rng, content) if rng.random() < 0.25 else content)
    (folder / "loop").symlink_to("loop")


@functools.cache
def _arrays():
    tokens, vector, shard = (streams.BytesIO() for _ in range(3))
    whole = {"tokens": np.zeros((1, 5, 3), np.int32), "sample_rate": 22_050, "n_samples": 10_000, "model": "tiny"}
    np.savez(tokens, **whole)
    np.save(vector, np.ones(8, np.float32))
    with tarfile.open(fileobj=shard, mode="w") as file:
        for name in ("a.wav", "b.wav"):
            info = tarfile.TarInfo(name)
            info.size = len(encoded_kind(KINDS[0]))
            file.addfile(info, streams.BytesIO(encoded_kind(KINDS[0])))
    return tokens.getvalue(), vector.getvalue(), shard.getvalue()


@functools.cache
def options_of(command):
    """Return the options of a command, each with how many words it takes."""
    commands = next(
        action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)
    ).choices
    return tuple((name, action.nargs != 0) for action in commands[command]._actions for name in action.option_strings)


def command_line(rng, model):
    """Return a command line, with a few words of it left out, said twice, or others."""
    words = rng.choice(LINES).split()
    command = words[0]
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5))):
        at = rng.randrange(1, len(words)) if len(words) > 1 else 1
        match rng.randrange(5):
            case 0:
                words[at : at + 1] = []
            case 1:
                words[at : at + 1] = [rng.choice(VALUES)]
            case 2:
                words.insert(at, words[at] if at < len(words) else rng.choice(VALUES))
            case _:
                name, takes = rng.choice(options_of(command))
                words += [name, rng.choice(VALUES)] if takes and name != "--model" else [name]
    kept = [word for n, word in enumerate(words) if not (words[n - 1] in SLOW and _is_large(word))]
    chosen = [] if command in NEEDLESS_MODEL else ["--model", str(model), "--device", "cpu"]
    return [word.replace("\0", "") for word in kept] + chosen


def _is_large(word):
    try:
        return float(word) > 2
    except ValueError:
        return False


def fuzz_command(rng, folder, model, *, apart):
    """Run a fuzzed command line; return it, and what is wrong with what came of it."""
    fill(rng, folder)
    words, before, wrong, errors = command_line(rng, model), sums(folder), [], ""
    if apart:
        run = [sys.executable, "-m", "masktools", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": rng.choice(("C", "C.UTF-8", "POSIX"))}
        environment |= rng.choice(({}, {"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii"}))
        try:
            done = subprocess.run(run, cwd=folder, env=environment, capture_output=True, timeout=5 * LONGEST_S)
            code, errors = done.returncode, done.stderr.decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            code, wrong = None, ["no end"]
        except (OSError, ValueError, UnicodeError):  # no command line: too long, or a letter that none can have
            return words, []
    else:
        out, err, here = streams.StringIO(), streams.StringIO(), os.getcwd()
        os.chdir(folder)
        try:
            with in_time(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(words)
        except BaseException:
            code, wrong = None, [traceback.format_exc()]
        finally:
            os.chdir(here)
        errors = err.getvalue()
    after = sums(folder)
    if code not in (0, 2, 3, 4, None):
        wrong.append(f"exit code {code}")
    wrong += [f"said: {line}" for line in errors.splitlines() if not line.startswith("masktools: ")]
    wrong += [f"said: {line}" for line in errors.splitlines() if "internal error (" in line]
    if code == 2 and errors.count("masktools: error: ") < 1:
        wrong.append(f"not a line of its own: {errors!r}")
    overwrites = "--overwrite" in words or any(word.startswith("--ov") for word in words)
    lost = [name for name, told in before.items() if after.get(name) != told]
    outputs = {words[n + 1] for n, word in enumerate(words[:-1]) if word in ("-o", "--output", "--report")}
    wrong += [f"lost or changed: {name}" for name in lost if not (overwrites and os.fsdecode(name) in outputs)]
    new = set(after) - set(before)
    wrong += [f"left behind: {name}" for name in new if name.endswith((b".part", b".lock"))]
    if code == 2:
        wrong += [f"left behind by a refusal: {name}" for name in new if not name.endswith(b".errors.jsonl")]
    return words, wrong


@contextlib.contextmanager
def heard(said):
    """Add to a list what libraries write on the error stream behind Python's back."""
    with tempfile.TemporaryFile() as file:
        stream = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stream, 2)
            os.close(stream)
            file.seek(0)
            said += [f"said: {line}" for line in file.read().decode("utf-8", "replace").splitlines()]


def fuzz(seeds, model, tell=print):
    """Run the cases of these seeds, tell of those that went wrong, and return how many ran and how many of them did."""
    counts = Counter()
    for seed in seeds:
        rng, kind = random.Random(seed), ("file", "command", "apart")[(seed % 100 >= 70) + (seed % 100 == 99)]
        with tempfile.TemporaryDirectory(prefix="masktools-fuzz-") as place:
            folder = Path(place) / "all"
            folder.mkdir()
            said = []
            with heard(said):
                if kind == "file":
                    what, wrong = fuzz_file(rng, folder)
                else:
                    what, wrong = fuzz_command(rng, folder, model, apart=kind == "apart")
            wrong += said
        counts[kind] += 1
        if wrong:
            counts["wrong"] += 1
            tell(f"seed {seed}: {what!r}\n    " + "\n    ".join(wrong))
    return counts


def tiny_model(folder):
    """Return the folder of a model of random weights."""
    return hub.save_bundle(tiny_pipeline(), folder / "tiny", "Random weights, for fuzzing.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int, help="cases")
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    asked = parser.parse_args()
    made = Path(tempfile.mkdtemp(prefix="masktools-fuzz-"))
    try:
        counted = fuzz(range(asked.seed, asked.seed + asked.n), tiny_model(made))
    finally:
        shutil.rmtree(made)
    print(json.dumps(counted))
    sys.exit(bool(counted["wrong"]))

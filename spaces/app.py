"""A Space of the Hugging Face hub: restore clips of up to 60 s, make sound from text, embed."""

import os
import tempfile
from functools import cache
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported: nothing is reported

import gradio as gr
import numpy as np
import soundfile

import masktools
from masktools import MasktoolsError
from masktools.detection import GAP_KINDS, find_damage
from masktools.io import open_recording
from masktools.review import Repair, compare, write_picture

LONGEST_S = 60.0
RESTORES_S, MAKES_S = 0.2, 0.3  # seconds of work for a second of sound on two cores, as told before the run
ABOUT = (
    "A fill is an invention that fits its surroundings: it is not what was lost. Outside gaps and below the cutoff "
    "every sample stays. Clips of up to 60 s; longer ones, and many of them, with `pip install masktools`."
)


@cache
def model():
    """Return the model, loaded when it is first needed."""
    return masktools.load("mini", device="cpu", threads=2)


def told(error):
    """Return an error as the page shows it: the one line that the command would print."""
    return gr.Error(str(error), print_exception=False)


def opened(path):
    """Return samples (channels, t) and their rate, if the clip is short enough."""
    if not path:
        raise gr.Error("choose a recording first", print_exception=False)
    try:
        with open_recording(Path(path)) as recording:
            if recording.n_samples > LONGEST_S * recording.sample_rate:
                seconds = recording.n_samples / recording.sample_rate
                line = f"the clip must last at most {LONGEST_S:g} s, got {seconds:.0f} s"
                raise gr.Error(line, print_exception=False)
            return recording.read(0, recording.n_samples, finite=False), recording.sample_rate
    except MasktoolsError as error:
        raise told(error) from error


def find(path):
    """Return the gaps of a clip as rows of start and end in seconds, and how long restoring it takes about."""
    samples, rate = opened(path)
    found = [one for one in find_damage(samples, rate) if one.kind in GAP_KINDS]
    gaps = [[round(gap.start / rate, 4), round(gap.stop / rate, 4)] for gap in found]
    about_s = 3 + RESTORES_S * samples.shape[1] / rate
    return gaps, f"{len(gaps)} gap{'s' * (len(gaps) != 1)} found; about {about_s:.0f} s to restore"


def restore(path, gaps, band, seed):
    """Return the clip before and after, a picture of both and the report.

    Args:
        path: of the clip.
        gaps: rows of start and end in seconds.
        band: whether the bandwidth is extended, too.
        seed: another one gives another fill.
    """
    samples, rate = opened(path)
    rows = gaps.get("data", []) if isinstance(gaps, dict) else gaps if gaps is not None else []
    try:
        wanted = [(float(row[0]), float(row[1])) for row in np.asarray(rows, object) if row[0] not in (None, "")]
        recording = np.ascontiguousarray(samples.T)
        result = model().inpaint(recording, rate, wanted, seed=int(seed)) if wanted else None
        report = {"gaps": [] if result is None else result.report["gaps"]}
        after, after_rate = (recording, rate) if result is None else (result.samples, result.sample_rate)
        if band:
            result = model().bwe(np.nan_to_num(after), after_rate, seed=int(seed))
            after, after_rate = result.samples, result.sample_rate
            report["cutoff_hz"] = result.report.get("cutoff_hz")
        place = Path(tempfile.mkdtemp(prefix="masktools-"))
        files = [place / name for name in ("before.wav", "after.wav", "comparison.png")]
        soundfile.write(files[0], recording, rate, "PCM_24")
        soundfile.write(files[1], after, after_rate, "PCM_24")
        repairs = [Repair(start, end) for start, end in wanted]
        write_picture(compare(*files[:2], repairs=repairs, title="Before and after"), files[2])
    except (MasktoolsError, ValueError, TypeError) as error:
        raise told(error) from error
    return *map(str, files), report


def make(prompt, seconds, seed):
    """Return the path of a new sound for a text."""
    try:
        made = model().generate(prompt, seconds=float(seconds), seed=int(seed))[0]
    except MasktoolsError as error:
        raise told(error) from error
    path = Path(tempfile.mkdtemp(prefix="masktools-")) / "made.wav"
    soundfile.write(path, made.samples, made.sample_rate)
    return str(path)


def embed(path, layer):
    """Return the path of an .npz with the vector of a clip, those of its moments, and their times."""
    samples, rate = opened(path)
    try:
        found = model().embed(np.ascontiguousarray(samples.T), rate, layer=layer)
    except MasktoolsError as error:
        raise told(error) from error
    path = Path(tempfile.mkdtemp(prefix="masktools-")) / "embedding.npz"
    np.savez(path, clip=found.clip, frames=found.frames, times_s=found.times_s)
    return str(path)


def build():
    """Return the page."""
    with gr.Blocks(title="masktools", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown(f"# masktools\n\n{ABOUT}")
        with gr.Tab("Restore"):
            clip = gr.Audio(type="filepath", label="Recording, up to 60 s", sources=["upload"])
            note = gr.Markdown()
            gaps = gr.Dataframe(headers=["start", "end"], datatype="number", label="Gaps in seconds", type="array")
            with gr.Row():
                band, seed = gr.Checkbox(label="Extend the bandwidth, too"), gr.Number(0, label="Seed", precision=0)
                run = gr.Button("Restore", variant="primary")
            before, after = (gr.Audio(label=name, interactive=False) for name in ("Before", "After"))
            picture, report = gr.Image(label="Before, after and difference"), gr.JSON(label="Report")
            clip.upload(find, clip, [gaps, note], api_name="find")
            run.click(restore, [clip, gaps, band, seed], [before, after, picture, report], api_name="restore")
        with gr.Tab("Make"):
            prompt = gr.Textbox("Rain falling.", label="What to hear")
            seconds = gr.Slider(1, 10, 5, step=0.5, label="Seconds")
            other, go = gr.Number(0, label="Seed", precision=0), gr.Button("Make", variant="primary")
            gr.Markdown(f"About {3 + 10 * MAKES_S:.0f} s for 10 s of sound.")
            made = gr.Audio(label="Made", interactive=False)
            go.click(make, [prompt, seconds, other], made, api_name="make")
        with gr.Tab("Embed"):
            heard = gr.Audio(type="filepath", label="Recording, up to 60 s", sources=["upload"])
            layer, take = gr.Dropdown(["last", "mean", "all"], value="last", label="Layer"), gr.Button("Embed")
            vectors = gr.File(label="clip, frames and times_s")
            take.click(embed, [heard, layer], vectors, api_name="embed")
    return page.queue(default_concurrency_limit=1, max_size=20)


if __name__ == "__main__":
    model()  # before the first visitor waits for it
    build().launch(max_file_size="20mb")

"""What is heard: both versions on one clock, by the graph that the page plays with, rendered without a loudspeaker."""

from base64 import b64decode
from itertools import pairwise

import numpy as np
import pytest

from tests.app.browser.conftest import until


@pytest.fixture(scope="module")
def page(browser, server):
    """One page for all: nothing here changes anything."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.address)
    until(page, "document.querySelectorAll('#repairs tbody tr').length >= 2")
    yield page
    context.close()


RENDER = """async ([side, chunks, switches, same, band]) => {
  const { Graph } = await import('./graph.js');
  const rate = 44100, length = 3 * 32768;
  const context = new OfflineAudioContext(1, length, rate);
  const graph = new Graph(context);
  const signal = (seed) => Float32Array.from({ length }, (_, n) => {
    const mixed = Math.sin(n * 12.9898 + seed) * 43758.5453;
    return 0.8 * (mixed - Math.floor(mixed)) - 0.4;
  });
  const first = signal(1), second = same ? first : signal(2);
  if (band) for (let n = 0; n < length; n++) first[n] = second[n] = Math.sin(2 * Math.PI * band.tone * n / rate);
  let at = 0;
  for (const count of chunks) {
    const part = (all) => {
      const buffer = new AudioBuffer({ numberOfChannels: 1, length: count, sampleRate: rate });
      buffer.copyToChannel(all.subarray(at, at + count), 0);
      return buffer;
    };
    const before = part(first), after = same ? before : part(second);
    graph.schedule(before, after, at / rate, 0, count);
    at += count;
  }
  graph.choose(side, 0);
  if (band) graph.only([band.low, band.high], 0);
  for (const [to, when] of switches) graph.choose(to, when);
  const heard = (await context.startRendering()).getChannelData(0);
  const packed = (all) => {
    let text = '';
    const bytes = new Uint8Array(all.buffer, all.byteOffset, all.byteLength);
    for (let n = 0; n < bytes.length; n += 8192) text += String.fromCharCode(...bytes.subarray(n, n + 8192));
    return btoa(text);
  };
  return [heard, first, second].map(packed);
}"""

CHUNKS = [32768, 20000, 12768, 32767, 1]
SETTLED = 400  # samples: after the fade with which a side is chosen


def render(page, side="before", chunks=CHUNKS, switches=(), same=False, band=None):
    found = page.evaluate(RENDER, [side, chunks, [list(one) for one in switches], same, band])
    return tuple(np.frombuffer(b64decode(one), "<f4") for one in found)


def test_the_difference_of_a_version_and_itself_is_exactly_silence(page):
    heard, *_ = render(page, "difference", same=True)
    assert heard[:SETTLED].any()
    assert not heard[SETTLED:].any()


def test_borders_between_windows_leave_every_sample_as_it_is(page):
    heard, first, _ = render(page, "before")
    assert np.array_equal(heard[SETTLED:], first[SETTLED:])


def test_the_difference_is_after_minus_before(page):
    heard, first, second = render(page, "difference")
    assert np.abs(heard - (second - first))[SETTLED:].max() <= 1e-6


def test_a_switch_changes_nothing_where_the_versions_are_the_same(page):
    heard, first, _ = render(page, switches=[("after", 0.7), ("before", 0.702), ("after", 1.3)], same=True)
    assert np.abs(heard - first)[SETTLED:].max() <= 1e-6


def test_a_switch_is_over_after_five_milliseconds(page):
    heard, first, second = render(page, switches=[("after", 1.0)])
    over = int(1.005 * 44_100) + 2
    assert np.array_equal(heard[SETTLED : 44_100 - 1], first[SETTLED : 44_100 - 1])
    assert np.array_equal(heard[over:], second[over:])


def test_of_a_band_only_what_lies_in_it_is_heard(page):
    def level(tone):
        heard, *_ = render(page, band={"tone": tone, "low": 1000, "high": 4000})
        return 20 * np.log10(np.abs(heard[-32_768:]).max())

    assert abs(level(2000)) < 0.5
    assert level(200) < -40
    assert level(16_000) < -40


def test_what_is_played_are_the_samples_of_the_file(page, tape):
    import soundfile

    found = page.evaluate("""async () => {
      const { player } = await import('./transport.js');
      const [before, after] = await player.both(1);
      const samples = Array.from(before.getChannelData(1).subarray(0, 5000));
      return { same: before === after, window: player.window, samples };
    }""")
    samples, _ = soundfile.read(tape, dtype="float32")
    start = found["window"]
    assert found["same"]
    assert np.array_equal(np.float32(found["samples"]), samples[start : start + 5000, 1])


def test_the_clock_goes_with_the_sound(page):
    page.keyboard.press("Space")
    until(page, "Number(document.querySelector('#clock').textContent.split(':')[1]) > 0.2")
    moved = page.evaluate("""async () => {
      const { player } = await import('./transport.js');
      const [place, time] = [player.position(), player.context.currentTime];
      await new Promise((done) => setTimeout(done, 600));
      return (player.position() - place) / player.source.rate - (player.context.currentTime - time);
    }""")
    page.keyboard.press("Space")
    assert abs(moved) < 0.05


def test_a_loop_comes_round_without_a_sample_too_many(page):
    plan = page.evaluate("""async () => {
      const { player } = await import('./transport.js');
      player.setLoop([1000, 9000]);
      player.seek(5000);
      await player.play();
      while (player.plan.length < 5) await new Promise((done) => setTimeout(done, 20));
      const plan = [...player.plan];
      player.pause();
      player.setLoop(null);
      return plan;
    }""")
    assert [piece["from"] for piece in plan[:5]] == [5000, 1000, 1000, 1000, 1000]
    assert [piece["count"] for piece in plan[:5]] == [4000, 8000, 8000, 8000, 8000]
    for before, after in pairwise(plan):
        assert after["frame"] == before["frame"] + before["count"]

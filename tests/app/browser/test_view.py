"""The picture: a mark is where its samples are, from an hour to four milliseconds; a drag names samples."""

import json
import re

import pytest

from tests.app.browser.conftest import until

HOUR, RATE = 3600 * 44_100, 44_100
MARKS = [
    {"id": "a", "start": 79_380_001, "end": 79_380_111, "kind": "zeros"},
    {"id": "b", "start": 5_000_001, "end": 90_000_003, "kind": "drawn"},
]
ONE_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


@pytest.fixture
def hour(visit, server):
    """A page that takes the tape for an hour of stereo at 44.1 kHz, and what it asks to be marked."""
    asked = []

    def pretend(route):
        url, method = route.request.url, route.request.method
        if method == "PUT":
            asked.append(json.loads(route.request.post_data))
            route.fulfill(json={"revision": len(asked)})
        elif "/tiles/" in url:
            route.fulfill(body=ONE_PIXEL, content_type="image/png")
        elif "/peaks" in url:
            route.fulfill(body=bytes(2 * 1024 * 2 * 2))
        elif "/samples/" in url:
            route.fulfill(body=bytes(2 * 4 * int(re.search(r"count=(\d+)", url).group(1))))
        else:
            state = route.fetch().json()
            marks = asked[-1] if asked else MARKS
            route.fulfill(
                json={**state, "samples": HOUR, "rate": RATE, "damage": [], "regions": marks, "revision": len(asked)}
            )

    page = visit(server.address, prepare=lambda page: page.route(re.compile(r"/api/recordings/\w{26}"), pretend))
    until(page, "document.querySelectorAll('#repairs tbody tr').length >= 2")
    return page, asked


EDGES = """async ([start, perPixel]) => {
  const { view } = await import('./stage.js');
  view.set(start, perPixel);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const left = document.querySelector('#stage').getBoundingClientRect().left;
  const boxes = [...document.querySelectorAll('#marks .mark.wave')].map((mark) => mark.getBoundingClientRect());
  return { start: view.start, perPixel: view.perPixel, width: view.width, least: view.least,
    boxes: boxes.map((box) => [box.left - left, box.right - left]) };
}"""


def test_edges_of_marks_lie_on_their_samples_from_an_hour_across_to_four_milliseconds(hour):
    page, _ = hour
    n = 0
    for seconds in (3600, 600, 60, 7, 1, 0.1, 0.02, 0.004):
        for mark, edge in ((MARKS[0], "start"), (MARKS[0], "end"), (MARKS[1], "start")):
            found = page.evaluate(EDGES, [mark[edge] - 0.37 * seconds * RATE, seconds * RATE / 1250])
            wanted = (mark[edge] - found["start"]) / found["perPixel"]
            side = 0 if edge == "start" else 1
            if 0 <= wanted <= found["width"]:
                assert min(abs(box[side] - wanted) for box in found["boxes"]) <= 0.05, seconds
                n += 1
    assert n == 24


def test_four_milliseconds_fill_the_width(hour):
    page, _ = hour
    found = page.evaluate(EDGES, [1000, 0])
    assert found["perPixel"] * found["width"] == pytest.approx(0.004 * RATE)


def test_a_drag_over_the_waveform_names_the_samples_under_it(hour):
    page, asked = hour
    found = page.evaluate(EDGES, [12_345_678.25, 0.9])
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 417, box["y"] + 25, steps=3)
    page.mouse.up()
    until(page, "document.querySelectorAll('#repairs tbody tr').length === 3")
    page.wait_for_timeout(50)
    drawn = asked[-1][-1]
    assert drawn["start"] == round(found["start"] + 300 * found["perPixel"])
    assert drawn["end"] == round(found["start"] + 417 * found["perPixel"])
    assert drawn["channels"] == [0], "in one lane: that channel only"
    assert "low_hz" not in drawn


def test_a_drag_over_both_lanes_marks_all_channels_and_one_over_the_spectrogram_a_band(hour):
    page, asked = hour
    box = page.locator("#stage").bounding_box()
    lanes = page.evaluate("async () => (await import('./stage.js')).stage.lanes")
    for x, (first, last) in ((500, (lanes[0], lanes[1])), (700, (lanes[2], lanes[2]))):
        page.mouse.move(box["x"] + x, box["y"] + first["top"] + 0.25 * first["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + x + 50, box["y"] + last["top"] + 0.75 * last["height"], steps=3)
        page.mouse.up()
    until(page, "document.querySelectorAll('#repairs tbody tr').length === 4")
    page.wait_for_timeout(50)
    gap, band = asked[-1][-2:]
    assert gap.get("channels") is None
    assert gap.get("low_hz") is None
    mel = page.evaluate("import('./pitch.js').then(({ makeScale }) => [0.25, 0.75].map(makeScale('mel', 44100).hertz))")
    assert [band["low_hz"], band["high_hz"]] == [pytest.approx(value, rel=0.02) for value in mel]


def test_a_wheel_keeps_what_is_under_the_pointer(hour):
    page, _ = hour
    box = page.locator("#stage").bounding_box()
    sample = "async () => { const { view } = await import('./stage.js'); return view.at(333) }"
    page.evaluate(EDGES, [50_000_000, 1000])
    before = page.evaluate(sample)
    page.mouse.move(box["x"] + 333, box["y"] + 50)
    page.mouse.wheel(0, -400)
    until(page, "import('./stage.js').then(({ view }) => view.perPixel < 600)")
    assert page.evaluate(sample) == pytest.approx(before, abs=1.0)


def test_the_smallest_mark_lies_on_top(hour):
    page, _ = hour
    page.evaluate(EDGES, [79_370_000, 16])
    box = page.locator("#stage").bounding_box()
    page.mouse.click(box["x"] + 628, box["y"] + 60)
    assert page.evaluate("async () => (await import('./state.js')).app.selected") == "a"
    page.mouse.click(box["x"] + 900, box["y"] + 60)
    assert page.evaluate("async () => (await import('./state.js')).app.selected") == "b"

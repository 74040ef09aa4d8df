"""The whole task, by keyboard alone; what two tabs do at once; and what a visit finds when it comes back."""

import io

import numpy as np
import pytest
import soundfile

from tests.app.browser.conftest import GAPS, until

ROWS = "document.querySelectorAll('#repairs tbody tr').length"
STATES = "[...document.querySelectorAll('#repairs td.state')].map((cell) => cell.textContent)"


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def go_to(page, name: str, way: str = "Tab") -> None:
    """Move the focus by Tab until it is on what has a name."""
    said = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
    for _ in range(120):
        press(page, way)
        if page.evaluate(said).strip() == name:
            return
    pytest.fail(f"Tab never comes to {name!r}")


def test_a_gap_is_found_filled_heard_undone_and_saved_without_a_pointer(page, tape):
    assert page.evaluate(STATES) == ["found", "found"]
    press(page, "n")
    until(page, "document.querySelector('tr.chosen')")
    press(page, "Enter")
    until(page, f"{STATES}[0] === 'done'", 150)
    until(page, "document.querySelector('input[name=side][value=after]').checked")
    press(page, "1", "2", "3", "l", "l")
    press(page, "Control+z")
    until(page, f"{STATES}[0] === 'ready'")
    press(page, "Control+Shift+Z")
    until(page, f"{STATES}[0] === 'done'")
    page.evaluate("document.activeElement.blur()")
    go_to(page, "Save…")
    press(page, "Enter")
    until(page, "document.querySelector('dialog[open]')")
    go_to(page, "Download")
    with page.expect_download() as coming:
        press(page, "Enter")
    saved, rate = soundfile.read(io.BytesIO(coming.value.path().read_bytes()), dtype="int32")
    first, _ = soundfile.read(tape, dtype="int32")
    (start, stop), _ = GAPS
    outside = np.ones(len(first), bool)
    outside[start - 200 : stop + 200] = False
    assert rate == 22_050
    assert np.array_equal(saved[outside], first[outside])
    assert saved[start + 10 : stop - 10].any(axis=1).mean() > 0.9
    press(page, "Escape")
    press(page, "Control+z")
    until(page, f"{STATES}[0] === 'ready'")


def test_a_job_goes_on_without_its_page_and_its_result_is_there_at_the_next_visit(page, visit, server):
    press(page, "n", "n")
    until(page, "document.querySelector('tr.chosen')")
    press(page, "Enter")
    until(page, "import('./state.js').then(({ app }) => [...app.jobs.values()].some((job) => job.state !== 'done'))")
    page.close()
    later = visit(server.address)
    until(later, f"{STATES}[1] === 'ready'", 150)
    later.get_by_role("button", name="Use it").click()
    until(later, f"{STATES}[1] === 'done'")
    later.get_by_role("button", name="Undo").click()
    until(later, f"{STATES}[1] === 'ready'")


def test_a_reload_takes_the_result_that_was_asked_for(page):
    page.evaluate("""async () => {
      const { askJson } = await import('./net.js'), { app } = await import('./state.js');
      await (await import('./regions.js')).keepAll();
      const json = { kind: 'inpaint', regions: [app.regions[0].id], settings: { method: 'janssen' } };
      const { job } = await askJson(`api/recordings/${app.recording.id}/jobs`, { method: 'POST', json });
      sessionStorage.setItem('masktools-jobs', JSON.stringify([job]));
    }""")
    page.reload()
    until(page, f"{ROWS} === 2 && {STATES}[0] === 'done'", 150)


@pytest.mark.slow
def test_a_long_job_is_cancelled_and_the_next_one_starts(page):
    press(page, "Home", "m")
    until(page, f"{ROWS} === 3")
    page.get_by_label("Method").select_option("model")
    page.locator("#candidates").fill("8")
    page.evaluate("document.activeElement.blur()")
    press(page, "Enter")
    page.get_by_role("button", name="Cancel").click()
    until(page, "import('./state.js').then(({ app }) => [...app.jobs.values()].at(-1).state === 'cancelled')", 150)
    assert page.evaluate(STATES)[0] == "marked"
    page.get_by_label("Method").select_option("janssen")
    page.evaluate("document.activeElement.blur()")
    press(page, "n", "Enter")
    until(page, f"{STATES}[1] === 'done'", 150)


@pytest.mark.slow
def test_a_sound_is_made_from_a_text_and_opened(page):
    page.get_by_role("tab", name="Make from text").click()
    page.get_by_label("Prompt").last.fill("rain on a roof")
    page.get_by_label("Seconds").fill("1")
    page.get_by_label("How many").fill("1")
    page.get_by_role("button", name="Make", exact=True).click()
    made = page.get_by_role("button", name="rain on a roof 1.wav")
    made.wait_for(timeout=120_000)
    made.click()
    until(page, "document.querySelector('#name').textContent === 'rain on a roof 1.wav'")


def test_a_mark_is_drawn_typed_moved_and_removed_by_keys(page):
    press(page, "Home", "m")
    until(page, f"{ROWS} === 3")
    field = page.get_by_label("End of mark 1", exact=True)
    field.fill("0:01.2")
    field.press("Enter")
    marks = "import('./state.js').then(({ selected }) => ['start', 'end', 'low_hz'].map((name) => selected()[name]))"
    until(page, f"{marks}.then((found) => found[1] === {round(1.2 * 22_050)})")
    page.get_by_label("From Hz of mark 1").fill("1.5k")
    page.get_by_label("From Hz of mark 1").press("Enter")
    until(page, f"{marks}.then((found) => found[2] === 1500)")
    page.locator("#marks .edge.start").focus()
    press(page, "ArrowRight")
    until(page, f"{marks}.then((found) => found[0] > 0)")
    press(page, "Delete")
    until(page, f"{ROWS} === 2")
    press(page, "Control+z")
    until(page, f"{ROWS} === 3 && {marks}.then((found) => found[0] > 0 && found[2] === 1500)")
    press(page, "Control+z")
    until(page, f"{marks}.then((found) => found[0] === 0)")
    press(page, "Control+z", "Control+z", "Control+z")
    until(page, f"{ROWS} === 2")
    press(page, "Control+Shift+Z", "Control+Shift+Z")
    until(page, f"{ROWS} === 3 && {marks}.then((found) => found[1] === {round(1.2 * 22_050)})")


def test_a_mark_that_is_being_moved_stays_where_it_is_when_the_marks_of_the_server_arrive(page):
    press(page, "Home", "m")
    until(page, f"{ROWS} === 3")
    page.locator("#marks .edge.start").focus()
    page.keyboard.down("ArrowRight")
    starts = """async () => {
      const { letGo, receive } = await import('./regions.js'), { app, selected } = await import('./state.js');
      const regions = JSON.parse(JSON.stringify(app.regions)), found = [selected().start];
      receive(regions.map((region) => (region.id === app.selected ? { ...region, start: 0 } : region)));
      found.push(selected().start);
      letGo();
      return [...found, selected().start];
    }"""
    moved, after, let_go = page.evaluate(starts)
    assert moved == after > let_go == 0
    page.keyboard.up("ArrowRight")


def test_found_damage_that_is_removed_comes_back_when_that_is_undone(page):
    page.get_by_role("button", name="Next mark").click()
    press(page, "Delete")
    until(page, f"{ROWS} === 1")
    page.reload()
    until(page, f"{ROWS} === 1")
    page.get_by_role("button", name="Labels…").click()
    page.get_by_role("button", name="Show removed damage again").click()
    until(page, f"{ROWS} === 2")
    page.get_by_role("button", name="Next mark").click()
    page.evaluate("document.activeElement.blur()")
    press(page, "Delete")
    until(page, f"{ROWS} === 1")
    page.get_by_role("button", name="Undo").click()
    until(page, f"{ROWS} === 2")


def test_what_is_typed_stays_when_another_tab_changes_the_marks(visit, server, page):
    other = visit(server.address)
    until(other, f"{ROWS} >= 2")
    press(page, "Home", "m")
    until(other, f"{ROWS} === 3")
    field = page.get_by_label("End of mark 1", exact=True)
    field.click()
    field.fill("0:02")
    press(other, "End", "Shift+ArrowLeft", "Home", "ArrowRight", "ArrowRight", "m")
    until(page, f"{ROWS} === 4")
    assert field.input_value() == "0:02"
    field.press("Enter")
    until(other, "import('./state.js').then(({ app }) => app.regions.some((one) => one.end === 44100))")
    for _ in range(2):
        page.evaluate(
            "import('./state.js').then(({ app, select }) => select(app.regions.find((one) => one.kind === 'drawn').id))"
        )
        page.evaluate("document.activeElement.blur()")
        n = page.evaluate(ROWS)
        press(page, "Delete")
        until(page, f"{ROWS} === {n - 1}")
    until(other, f"{ROWS} === 2")


def test_a_reload_shows_what_was_there(page):
    press(page, "Home", "m")
    until(page, f"{ROWS} === 3")
    page.wait_for_timeout(200)
    page.reload()
    until(page, f"{ROWS} === 3")
    assert page.locator("h1").first.inner_text() == "tape.wav"
    press(page, "p")
    page.evaluate(
        "import('./state.js').then(({ app, select }) => select(app.regions.find((one) => one.kind === 'drawn').id))"
    )
    press(page, "Delete")
    until(page, f"{ROWS} === 2")


def test_keys_are_text_in_a_field_and_can_be_switched_off(page):
    page.locator("#prompt").click()
    page.keyboard.type("mcl 2")
    assert page.locator("#prompt").input_value() == "mcl 2"
    assert page.evaluate(ROWS) == 2
    page.get_by_role("tab", name="Help").click()
    page.get_by_label("Keys without Ctrl work").uncheck()
    page.get_by_role("tab", name="Restore").click()
    page.evaluate("document.activeElement.blur()")
    press(page, "m")
    page.wait_for_timeout(100)
    assert page.evaluate(ROWS) == 2


def test_a_wrong_number_is_said_and_changes_nothing(page):
    field = page.get_by_label("End of mark 1", exact=True)
    field.fill("0:00.5")
    field.press("Enter")
    until(page, "document.querySelector('#said').textContent.includes('must end after its start')")
    assert field.get_attribute("aria-invalid") == "true"
    page.wait_for_timeout(100)
    assert page.evaluate(
        "import('./state.js').then(({ app }) => app.recording.revision >= 0 && app.regions[0].end > 60000)"
    )


def test_a_made_example_is_sent_surveyed_and_shown(page):
    page.get_by_role("button", name="Open…").click()
    page.get_by_role("button", name="Try a made example").click()
    until(page, "document.querySelector('#name').textContent === 'example.wav'")
    until(page, f"{ROWS} === 2", 60)
    page.get_by_role("button", name="Open…").click()
    page.get_by_role("button", name="Forget example.wav").click()
    until(page, "![...document.querySelectorAll('dialog li')].some((item) => item.textContent.includes('example.wav'))")

"""Everybody reaches everything: axe, a phone, a proxy under another path, and tabs that meet."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files

from tests.app.browser.conftest import until

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PHONE = {"width": 360, "height": 740, "has_touch": True, "is_mobile": True, "device_scale_factor": 3}


def violations(page) -> list[str]:
    """Return what axe-core finds against WCAG 2.2 AA."""
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("(tags) => axe.run(document, { runOnly: tags })", RULES)
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def opened(visit, server, **options):
    """Return a page with a mark chosen."""
    page = visit(server.address, reduced_motion="reduce", **options)
    until(page, "document.querySelectorAll('#repairs tbody tr').length >= 2")
    page.keyboard.press("n")
    return page


def test_axe_finds_nothing_anywhere(visit, server):
    page = opened(visit, server, color_scheme="light")
    assert violations(page) == []
    page.get_by_role("button", name="Save…").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    for name in ("Make from text", "Many files", "Help"):
        page.get_by_role("tab", name=name).click()
        assert violations(page) == [], name


def test_axe_finds_nothing_in_the_dark_or_before_a_recording_is_open(visit, server):
    page = opened(visit, server, color_scheme="dark")
    assert violations(page) == []
    page.evaluate("workbench.hidden = true, welcome.hidden = false")
    assert violations(page) == []


def test_a_phone_shows_everything_without_scrolling_sideways(visit, server):
    page = visit(server.address, **PHONE)
    until(page, "document.querySelectorAll('#repairs tbody tr').length >= 2")
    for name in ("Make from text", "Many files", "Help", "Restore"):
        page.get_by_role("tab", name=name).click()
        assert page.evaluate("document.documentElement.scrollWidth") == 360, name
    assert violations(page) == []


def test_one_finger_moves_the_view_and_marks_where_that_is_switched_on(visit, server):
    page = visit(server.address, **PHONE)
    until(page, "document.querySelectorAll('#repairs tbody tr').length >= 2")
    page.get_by_role("button", name="Closer").click()
    page.get_by_role("button", name="Closer").click()
    start = "async () => (await import('./stage.js')).view.start"
    before, marks = page.evaluate(start), "document.querySelectorAll('#repairs tbody tr').length"
    swipe(page)
    assert page.evaluate(start) != before
    n = page.evaluate(marks)
    page.get_by_text("Mark", exact=True).click()
    moved = page.evaluate(start)
    swipe(page)
    until(page, f"{marks} === {n + 1}")
    assert page.evaluate(start) == moved
    page.keyboard.press("Delete")
    until(page, f"{marks} === {n}")


def swipe(page) -> None:
    box = page.locator("#stage").bounding_box()
    session = page.context.new_cdp_session(page)
    place = {"x": box["x"] + 200, "y": box["y"] + 30}
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [place]})
    for x in (170, 140, 120):
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{**place, "x": box["x"] + x}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


class Proxy(BaseHTTPRequestHandler):
    """A hub that shows the app under a path of its own."""

    port, under, protocol_version = 0, "/user/x/proxy/8123", "HTTP/1.0"

    def handle_any(self) -> None:
        if not self.path.startswith(self.under + "/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        upstream = http.client.HTTPConnection("127.0.0.1", self.port)
        upstream.request(self.command, self.path[len(self.under) :], body or None, dict(self.headers))
        answer = upstream.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() != "transfer-encoding":
                self.send_header(name, value)
        self.end_headers()
        try:
            while part := answer.read1(65_536):
                self.wfile.write(part)
                self.wfile.flush()
        except (OSError, http.client.HTTPException):  # the page has gone
            pass
        finally:
            upstream.close()

    do_GET = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def test_all_works_under_another_path(visit, server):
    handler = type("Here", (Proxy,), {"port": server.port})
    hub = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.daemon_threads = True
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        address = f"http://hub.test:{hub.server_port}{Proxy.under}/"
        page = visit(f"{address}#token={server.token}")
        until(page, "document.querySelectorAll('#repairs tbody tr').length >= 2")
        painted = "(async () => { const { stage } = await import('./stage.js'); return stage.lanes.length === 3 })()"
        until(page, painted)
        page.keyboard.press("m")
        until(page, "document.querySelectorAll('#repairs tbody tr').length >= 3")
        page.keyboard.press("Delete")
        until(page, "document.querySelectorAll('#repairs tbody tr').length < 3")
        page.wait_for_timeout(300)
        assert page.locator("#lost").is_hidden(), "events come through"
        page.context.close()
    finally:
        hub.shutdown()
        hub.server_close()

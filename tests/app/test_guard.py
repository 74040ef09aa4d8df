"""Nobody but the page that was opened by who started the server gets an answer."""

import re
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.app.guard import Guard, Keys
from masktools.app.routes import make_app
from masktools.app.service import Service
from masktools.app.settings import Settings
from masktools.app.store import Store
from tests.app.conftest import run_apart

HOST = {"host": "127.0.0.1:8123"}
KNOWN = {200, 201, 202, 204, 400, 401, 403, 404, 405, 409, 410, 411, 413, 415, 422, 429, 503, 507}


def asked(app, method, path, headers, body=b"", query=b""):
    """Return status and body of one request, as a server of HTTP hands it on."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode("utf-8", "replace")}
    scope |= {"query_string": query, "headers": raw, "server": ("127.0.0.1", 8123), "client": ("127.0.0.1", 1)}
    scope |= {"scheme": "http", "http_version": "1.1", "root_path": "", "app": None, "asgi": {"version": "3.0"}}
    run_apart(app(scope, receive, send))
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """An app that nothing was started for, its keys, and its folder."""
    folder = tmp_path_factory.mktemp("guarded")
    keys = Keys("masktools-8123")
    service = Service(Store(folder / "sessions"), keys, Settings())
    app = Guard(make_app(service, {"index.html": (b"page", "text/html")}), keys, 8123, ["hub.example.org"])
    return app, keys, folder


def cookie(keys):
    return keys.as_header().split(";")[0]


def status(guarded, method="GET", path="/api/about", **headers):
    app, keys, _ = guarded
    sent = {**HOST, "cookie": cookie(keys), "x-masktools": "1"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return asked(app, method, path, [(name, value) for name, value in sent.items() if value is not None])[0]


def test_who_has_the_cookie_is_answered(guarded):
    assert status(guarded) == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8123", "localhost:8123", "[::1]:8123", "LOCALHOST:8123", "hub.example.org"]
)
def test_names_of_this_machine_and_allowed_ones_are_known(guarded, host):
    assert status(guarded, host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8123",
        "127.0.0.1",
        "127.0.0.1:8124",
        "127.0.0.1:8123@evil.example",
        "127.0.0.1:8123.evil.example",
        "localhost:8123 evil",
        "0.0.0.0:8123",
        "",
        "hub.example.org.evil.example",
    ],
)
def test_every_other_name_is_refused(guarded, host):
    assert status(guarded, host=host) == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9000", "file://", "", "https://127.0.0.1:8123"]
)
def test_another_origin_is_refused(guarded, origin):
    assert status(guarded, origin=origin) == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8123", "https://hub.example.org"])
def test_the_own_origin_is_not(guarded, origin):
    assert status(guarded, origin=origin) == 200


@pytest.mark.parametrize(
    ("site", "wanted"), [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)]
)
def test_a_browser_says_which_page_asks(guarded, site, wanted):
    assert status(guarded, sec_fetch_site=site) == wanted


def test_a_link_leads_to_the_page_but_not_to_what_it_asks_for(guarded):
    visit = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert status(guarded, path="/", cookie=None, **visit) == 200
    assert status(guarded, path="/api/about", **visit) == 403


def test_without_the_cookie_or_with_another_nothing_is_told(guarded):
    assert status(guarded, cookie=None) == 401
    assert status(guarded, cookie="masktools-8123=guessed") == 401
    assert status(guarded, path="/", cookie=None) == 200


def test_a_change_needs_the_header_that_no_form_can_send(guarded):
    assert status(guarded, "POST", "/api/jobs", x_masktools=None) == 403
    assert status(guarded, "PUT", "/api/recordings", x_masktools=None) == 403


def test_a_wrong_token_gives_no_cookie(guarded):
    app, keys, _ = guarded
    headers = [*HOST.items(), ("x-masktools", "1")]
    for body in (b'{"token": "guessed"}', b'{"token": 1}', b"{}", b"[]", b'{"token": "x", "more": 1}', b"\xff"):
        assert asked(app, "POST", "/api/enter", headers, body)[0] in (400, 401)
    assert asked(app, "POST", "/api/enter", headers, b'{"token": "%s"}' % keys.token.encode())[0] == 204


def test_every_answer_forbids_the_browser_what_the_page_does_not_need(page):
    for path in ("/", "/api/about", "/api/nothing"):
        headers = page.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in headers if name.startswith("access-control")]


CLIMBING = [
    "../../etc/passwd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "//host/share/x",
    "\\\\host\\share",
    "C:\\x",
]


@pytest.mark.parametrize("name", CLIMBING)
def test_no_path_leads_anywhere(guarded, name):
    for path in (f"/{name}", f"/api/recordings/{name}", f"/api/recordings/{name}/samples/before", f"/api/jobs/{name}"):
        assert status(guarded, path=path) in (401, 403, 404)


text = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40)
part = (
    st.sampled_from(["api", "recordings", "jobs", "..", "%2e%2e", "tiles", "peaks", "events", "enter", "a" * 26]) | text
)
header = st.sampled_from(
    ["host", "origin", "cookie", "x-masktools", "sec-fetch-site", "content-length", "if-match", "range"]
)


@st.composite
def requests(draw):
    method = draw(st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"]))
    path = "/" + "/".join(draw(st.lists(part, max_size=6)))
    extra = draw(st.lists(st.tuples(header, text), max_size=3))
    is_known = draw(st.booleans())
    query = quote(draw(text), safe="=&").encode()
    return method, path, extra, is_known, draw(st.binary(max_size=60)), query


def check_fuzzed(guarded, request):
    app, keys, folder = guarded
    method, path, extra, is_known, body, query = request
    if path == "/api/events":
        return
    before = {one for one in folder.rglob("*") if one.suffix not in (".lock", ".part")}
    own = [*HOST.items(), ("cookie", cookie(keys)), ("x-masktools", "1")] if is_known else []
    code, answer = asked(app, method, path, [*own, *extra], body, query)
    assert code in KNOWN, answer
    assert b"Traceback" not in answer
    assert not re.search(rb"File \"", answer)
    assert {one for one in folder.rglob("*") if one.suffix not in (".lock", ".part")} == before
    assert {one.name for one in folder.iterdir()} == {"sessions"}


@settings(max_examples=150, deadline=None)
@given(request=requests())
def test_no_request_brings_the_server_down_or_writes_a_file(guarded, request):
    check_fuzzed(guarded, request)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(request=requests())
def test_ten_thousand_requests_do_not_either(guarded, request):
    check_fuzzed(guarded, request)

"""The page needs nothing but its folder, and says what was said, whatever characters that holds."""

import re
from html.parser import HTMLParser

from masktools.core.tables import Table
from masktools.demo.stage import Chapter, Scene, make_page
from masktools.review.page import Player

VOID = {"meta", "link", "img", "br"}


class Elements(HTMLParser):
    """Every element with its attributes, and whether all were closed in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, name):
        return [attributes for tag, attributes in self.found if tag == name]


SCENE = Scene("A & B", (Player("Original", "a.wav"), Player("<ours>", "b.wav", ours=True)), b"\x89PNG", 'a "picture"')
TABLE = Table("T", ("what", "by", "dB"), (("a", "x", "+1.0"), ("b", "masktools", "-2.0")), ("Note < this.",), (1,))


def page():
    return make_page("Title", "facts", ["It works <well>."], [Chapter("C", "text", (SCENE,), (TABLE,))])


def test_every_element_is_closed():
    assert Elements(page()).all("h1") == [{}]


def test_nothing_is_fetched_from_anywhere():
    text = page()
    assert not re.search(r"(https?:)?//[a-z]", text)
    addresses = [
        value for _, attributes in Elements(text).found for key, value in attributes.items() if key in ("src", "href")
    ]
    assert addresses == ["data:,", "a.wav", "b.wav", "data:image/png;base64,iVBORw=="]


def test_words_are_escaped():
    text = page()
    assert "It works &lt;well&gt;." in text
    assert "A &amp; B" in text
    assert "&lt;ours&gt;" in text
    assert Elements(text).all("img")[0]["alt"] == 'a "picture"'


def test_what_masktools_made_is_marked():
    elements = Elements(page())
    assert elements.all("figure") == [{}, {"class": "ours"}]
    assert elements.all("tr") == [{}, {}, {"class": "ours"}]


def test_columns_of_words_and_of_numbers_are_told_apart():
    assert [cell.get("class") for cell in Elements(page()).all("th")] == ["word", "word", None]


def test_versions_of_one_recording_share_their_position_and_other_sounds_do_not():
    assert 'class="versions same"' in page()
    apart = Scene("A", SCENE.clips, b"", "text", same=False)
    assert 'class="versions"' in make_page("T", "", [], [Chapter("C", "", (apart,))])


def test_it_is_made_for_phones_and_for_the_dark():
    text = page()
    assert "width=device-width" in text
    assert "prefers-color-scheme: dark" in text

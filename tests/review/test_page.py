"""The page is all there is: it plays at the true level, shows, and asks for nothing from anywhere."""

import base64
import io as streams
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from PIL import Image

from masktools import io
from masktools.core.errors import AudioError, ParameterError
from masktools.metrics import level_db
from masktools.review import Repair, compare, write_page
from masktools.review.page import data_uri, wav_bytes

RATE = 22_050
VOID = {"meta", "link", "img", "br"}


class Elements(HTMLParser):
    """Every element with its attributes, the text inside, and whether all were closed in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} stands twice"
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data if self.open and self.open[-1] in ("b", "i", "span", "kbd", "a") else f" {data} ")

    def all(self, name, **wanted):
        return [
            attributes
            for tag, attributes in self.found
            if tag == name and all(attributes.get(key.rstrip("_")) == value for key, value in wanted.items())
        ]

    @property
    def said(self):
        return " ".join("".join(self.text).split())


def page_of(comparison, tmp_path, **limits):
    write_page(comparison, tmp_path / "page.html", **limits)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    return text, Elements(text)


def held(address):
    kind, content = re.fullmatch(r"data:([a-z/]+);base64,(.*)", address).groups()
    return kind, base64.b64decode(content, validate=True)


def played(elements):
    sounds = []
    for player in elements.all("audio"):
        kind, content = held(player["src"])
        assert kind == "audio/wav"
        samples, rate = soundfile.read(streams.BytesIO(content), dtype="float64", always_2d=True)
        sounds.append((samples.T, rate, soundfile.info(streams.BytesIO(content)).subtype))
    return sounds


@pytest.fixture
def gap(files, music):
    damaged = music.copy()
    damaged[:, RATE : RATE + 2205] = 0
    return compare(
        files("damaged.wav", damaged),
        files("filled.wav"),
        reference=files("clean.wav"),
        repairs=[Repair(1.0, 1.1, None, "model")],
        title="A <gap> & more",
    )


def test_players_are_the_files_sample_by_sample(gap, tmp_path):
    _, elements = page_of(gap, tmp_path)
    sounds = played(elements)
    assert len(sounds) == 3
    for (samples, rate, subtype), version in zip(sounds, gap.versions, strict=True):
        assert (rate, subtype) == (RATE, "PCM_16")
        np.testing.assert_array_equal(samples, io.read(version.path).samples)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "VORBIS"])
@pytest.mark.parametrize("gain", [1.0, 1e-4])
def test_players_are_level_true(files, music, tmp_path, subtype, gain):
    name = "{}.ogg" if subtype == "VORBIS" else "{}.wav"
    paths = [files(name.format(n), gain * n * music, subtype=subtype) for n in (1, 2)]
    comparison = compare(*paths)
    for (samples, rate, _), path in zip(played(page_of(comparison, tmp_path)[1]), paths, strict=True):
        true = io.read(path).samples
        error_db = 10 * np.log10(np.mean(samples**2) / np.mean(true.astype(np.float64) ** 2))
        assert abs(error_db) < 0.01
        assert level_db(samples, rate) == pytest.approx(level_db(true, rate), abs=0.01)


def test_versions_of_other_rates_keep_them(files, music, tmp_path):
    comparison = compare(files("a.wav", io.resample(music, RATE, 16_000), 16_000), files("b.wav"))
    _, elements = page_of(comparison, tmp_path)
    assert [rate for _, rate, _ in played(elements)] == [16_000, RATE]
    assert "compared at 22050 Hz after resampling" in elements.said


def test_nothing_is_fetched_from_anywhere(gap, tmp_path):
    text, elements = page_of(gap, tmp_path)
    without_data = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|(?<!:)//[a-z]|@import|url\(", without_data)
    addresses = [value for _, one in elements.found for key, value in one.items() if key in ("src", "href")]
    assert all(address.startswith("data:") for address in addresses)
    (policy,) = elements.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")
    assert {tag for tag, _ in elements.found}.isdisjoint({"iframe", "object", "embed", "base", "form"})


def test_spectrograms_stand_below_each_other_on_one_grid(gap, tmp_path):
    _, elements = page_of(gap, tmp_path)
    pictures = elements.all("img")
    assert [picture["alt"].split(":")[0] for picture in pictures] == [
        "Spectrogram, Before",
        "Spectrogram, After",
        "Spectrogram, Reference",
        "Spectrogram, After \N{MINUS SIGN} before",
    ]
    read = [Image.open(streams.BytesIO(held(picture["src"])[1])).convert("RGB") for picture in pictures]
    assert len({picture.size for picture in read}) == 1
    before, after, reference, change = (np.asarray(picture, float) for picture in read)
    np.testing.assert_array_equal(after, reference)
    middle = np.s_[60:, 510:540]  # of the gap, which lies between a half and 0.55 of the width
    assert before[middle].mean() < 0.4 * after[middle].mean()
    red, _, blue = change[middle].reshape(-1, 3).mean(axis=0)
    assert red > 2 * blue
    assert change[:, :400].max() < 20


def test_what_a_repair_took_away_is_blue(files, music, tmp_path):
    damaged = music.copy()
    damaged[:, RATE : RATE + 2205] = 0
    _, elements = page_of(compare(files("a.wav"), files("b.wav", damaged)), tmp_path)
    change = np.asarray(Image.open(streams.BytesIO(held(elements.all("img")[-1]["src"])[1])).convert("RGB"), float)
    red, _, blue = change[60:, 510:540].reshape(-1, 3).mean(axis=0)
    assert blue > 2 * red


def test_a_change_in_one_of_many_channels_is_seen(files, music, tmp_path):
    many = np.repeat(music[:1], 6, axis=0)
    damaged = many.copy()
    damaged[4, RATE : RATE + 2205] = 0
    _, elements = page_of(compare(files("a.wav", damaged), files("b.wav", many)), tmp_path)
    change = np.asarray(Image.open(streams.BytesIO(held(elements.all("img")[-1]["src"])[1])).convert("RGB"), float)
    assert change[100:, 515:535, 0].mean() > 100


def test_repairs_can_be_gone_to(gap, tmp_path):
    text, elements = page_of(gap, tmp_path)
    go, loop = elements.all("button", **{"data-scene": "0"})
    assert (go["data-repair"], loop["data-repair"]) == ("go", "loop")
    assert (float(go["data-start"]), float(go["data-end"])) == (1.0, 1.1)
    assert 'class="span" style="left:50.000%;width:5.000%"' in text
    assert "1: 0:01.000" in elements.said
    assert "100.0 ms all model" in elements.said


def test_a_cutoff_and_a_band_are_drawn(files, tmp_path):
    comparison = compare(
        files("a.wav"), files("b.wav"), repairs=[Repair(0.5, 0.6, None, "", 500.0, 2000.0)], cutoff_hz=4000.0
    )
    _, elements = page_of(comparison, tmp_path)
    assert len(elements.all("div", class_="cut")) == len(elements.all("div", class_="span band")) == 3
    assert "500\N{EN DASH}2000 Hz" in elements.said


def test_words_are_escaped(gap, tmp_path):
    text, elements = page_of(gap, tmp_path)
    assert "<h1>A &lt;gap&gt; &amp; more</h1>" in text
    assert "A <gap> & more" in elements.said


def test_names_that_look_like_html_do_no_harm(files, tmp_path):
    names = ('"><script>alert(1)<\u2215script>.wav', "it's & so.wav")
    comparison = compare(*(files(name) for name in names), repairs=[Repair(0.1, 0.2, method="<i>")])
    text, elements = page_of(comparison, tmp_path, max_s=1.0)
    assert len(elements.all("script")) == 1
    assert "&lt;i&gt;" in text
    hrefs = [link["href"] for link in elements.all("a")]
    assert hrefs[1] == "it%27s%20%26%20so.wav"


def test_who_cannot_see_or_point_is_thought_of(gap, tmp_path):
    _, elements = page_of(gap, tmp_path)
    assert all(picture.get("alt") for picture in elements.all("img"))
    assert all(player.get("aria-label") for player in elements.all("audio"))
    (slider,) = elements.all("div", role="slider")
    assert slider["tabindex"] == "0"
    assert slider["aria-label"] == "Position"
    assert elements.all("html", lang="en")
    assert all(button.get("type") == "button" for button in elements.all("button"))


def test_it_is_made_for_phones_and_for_the_dark(gap, tmp_path):
    text, _ = page_of(gap, tmp_path)
    assert "width=device-width" in text
    assert "prefers-color-scheme: dark" in text
    assert "max-width: 40rem" in text


def test_of_what_is_too_long_there_are_excerpts_and_links(files, tmp_path):
    long = np.random.default_rng(0).normal(0, 0.1, (1, 70 * 8000)).astype(np.float32)
    repairs = [Repair(20.0, 20.5), Repair(60.0, 61.0)]
    comparison = compare(files("a b.wav", long, 8000), files("c.wav", long, 8000), repairs=repairs)
    _, elements = page_of(comparison, tmp_path, max_s=12.0)
    scenes = elements.all("section")
    assert [float(scene["data-start"]) for scene in scenes] == [17.5, 57.5]
    assert [samples.shape for samples, _, _ in played(elements)] == [(1, 44_000)] * 2 + [(1, 48_000)] * 2
    whole = io.read(comparison.after.path).samples
    np.testing.assert_array_equal(played(elements)[1][0], whole[:, 140_000:184_000])
    assert [link["href"] for link in elements.all("a")] == ["a%20b.wav", "c.wav"]
    assert "these excerpts can be heard: 0:17.5\N{EN DASH}0:23.0, 0:57.5\N{EN DASH}1:03.5" in elements.said
    assert "2 of 2 repairs are in them" in elements.said
    go = elements.all("button", **{"data-repair": "go"})
    assert [(one["data-scene"], float(one["data-start"])) for one in go] == [("0", 2.5), ("1", 2.5)]
    assert "Spectrograms of the whole recording" in elements.all("img")[0]["alt"]


def test_the_page_keeps_to_a_size(files, tmp_path):
    loud = np.random.default_rng(0).normal(0, 0.1, (2, 20 * RATE)).astype(np.float32)
    comparison = compare(files("a.wav", loud), files("b.wav", loud))
    _, elements = page_of(comparison, tmp_path, max_bytes=1_000_000)
    assert sum(samples.size * 2 for samples, _, _ in played(elements)) <= 1_000_000
    assert sum(samples.shape[1] for samples, _, _ in played(elements)) > 5 * RATE


def test_a_version_that_is_over_earlier_is_silent_from_there(files, music, tmp_path):
    comparison = compare(files("a.wav", music[:, :RATE]), files("b.wav"))
    _, elements = page_of(comparison, tmp_path)
    assert [samples.shape[1] for samples, _, _ in played(elements)] == [RATE, 2 * RATE]


@pytest.mark.parametrize("n", [1, 2, 100])
def test_very_short_recordings_have_a_page(files, tmp_path, n):
    _, elements = page_of(
        compare(files("a.wav", np.zeros((1, n), np.float32)), files("b.wav", np.full((1, n), 0.5, np.float32))),
        tmp_path,
    )
    assert [samples.shape for samples, _, _ in played(elements)] == [(1, n)] * 2


def test_what_is_not_finite_is_silent_and_what_is_beyond_full_scale_is_clipped():
    samples = np.array([[0.5, np.nan, np.inf, 2.0, -2.0, -1.0]], np.float32)
    read, rate = soundfile.read(streams.BytesIO(wav_bytes(samples, 48_000, 24)))
    assert rate == 48_000
    np.testing.assert_allclose(read, [0.5, 0, 0, 1, -1, -1], atol=1e-6)


def test_what_is_beyond_full_scale_is_said(files, music, tmp_path):
    comparison = compare(files("a.wav", subtype="FLOAT"), files("b.wav", 4 * music, subtype="FLOAT"))
    _, elements = page_of(comparison, tmp_path)
    assert re.search(r"b.wav goes beyond full scale \(by [0-9.]+ dB\): the players clip it", elements.said)


def test_what_cannot_be_written_is_refused(gap, tmp_path):
    with pytest.raises(ParameterError, match="max_s and max_bytes must be above 0, got 0"):
        write_page(gap, tmp_path / "page.html", max_s=0.0)
    with pytest.raises(AudioError, match="cannot be written: No such file or directory"):
        write_page(gap, tmp_path / "nowhere" / "page.html")
    with pytest.raises(ParameterError, match="must have 16 or 24 bits, got 8"):
        wav_bytes(np.zeros((1, 4), np.float32), RATE, 8)
    with pytest.raises(ParameterError, match=r"must be of shape \(channels, t\) and not empty, got \(4,\)"):
        wav_bytes(np.zeros(4, np.float32), RATE, 16)
    gap.after.path.unlink()
    with pytest.raises(AudioError, match="filled.wav does not exist"):
        write_page(gap, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_an_address_holds_its_content():
    assert held(data_uri("image/png", b"\x00\xff")) == ("image/png", b"\x00\xff")

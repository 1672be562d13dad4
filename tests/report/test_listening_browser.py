"""The listening panel in a real browser: playing, switching, and the audible signal."""

import json
import time

import numpy as np
import pytest
from conftest import song_stems, write_song
from test_report_browser import CHROMIUM, Browser

from harness.benchmark import Settings, runner
from harness.core import audio
from harness.datasets import load
from harness.registry import Entry
from harness.report.computed import make_report
from harness.report.tracks import listening
from harness.results.runs import read_run

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
RATE = 8000
SECONDS = 20
BURST = 7  # second
WAIT = 60.0  # seconds for anything to happen
HOSTILE = "</script><script>alert(2)</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page of the bass of a song; its estimate is the reference but for second 7."""
    root = tmp_path_factory.mktemp("listening")
    stems = {
        stem: np.round(signal * 2**14) / 2**14
        for stem, signal in song_stems(0, SECONDS, RATE).items()
    }
    write_song(root / "data" / HOSTILE.replace("/", ""), stems)
    for stem, signal in stems.items():
        estimate = signal.copy()
        if stem == "bass":
            estimate[:, BURST * RATE : (BURST + 1) * RATE] *= 0.5
        to = root / "estimates" / HOSTILE.replace("/", "") / f"{stem}.wav"
        audio.write(to, estimate.astype(np.float32), RATE, subtype="FLOAT")
    entry = Entry(name="planted", title="planted", family="files")
    settings = Settings(results=root / "results", listen=1)
    dataset = load("songs", root / "data")
    folder = runner.score_folder(entry, root / "estimates", [dataset], settings).folder
    made = make_report(read_run(folder))
    pages = listening.write_tracks(made, root / "results/work", root, "private")
    (bass,) = (page for page in pages if page.stem == "bass")
    return root / bass.href


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    try:
        found.start()
        yield found
    finally:
        found.close()


@pytest.fixture
def page(browser, path):
    browser.open(path)
    until(browser, "!panel.hidden")
    yield browser
    assert browser.complaints() == []
    assert {url for url in browser.requests() if not url.startswith("data:")} == {path.as_uri()}


def until(page: Browser, condition: str) -> None:
    """Wait until an expression in the page is true."""
    end = time.monotonic() + WAIT
    while not page.run(f"Boolean({condition})"):
        assert time.monotonic() < end, condition
        time.sleep(0.02)


def result(page: Browser, script: str):
    """Return what a promise in the page comes to."""
    found = page.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
    assert "exceptionDetails" not in found, found
    return found["result"].get("value")


def focus(page: Browser) -> None:
    page.run("panel.focus()")


def pressed(page: Browser) -> list[str]:
    return page.run(
        "[...document.querySelectorAll('.pick-source[aria-pressed=true] .name')]"
        ".map(n => n.textContent)"
    )


def test_all_sources_are_decoded_to_one_length(page):
    lengths = result(page, "buffersOf(0).then(all => all.map(b => [b.length, b.sampleRate]))")
    seconds = page.run("VIEW.regions[0][1] - VIEW.regions[0][0]")
    assert lengths == [[seconds * RATE, RATE]] * 3
    assert page.run("VIEW.sources.map(s => s.name)") == ["mixture", "reference", "planted"]


RENDER = """(async () => {{
    await load({excerpt});
    Object.assign(pick, {{ source: {source}, difference: {difference}, matched: false }});
    const length = Math.round((player.to - player.from) * VIEW.rate);
    const context = new OfflineAudioContext(2, length, VIEW.rate);
    player.levels = levels();
    player.at = player.from;
    player.connect(context, 0);
    const heard = await context.startRendering();
    return [0, 1].map(c => Array.from(heard.getChannelData(c)));
}})()"""


def rendered(page: Browser, *, source: int, difference: bool = False, excerpt: int = 0):
    asked = {"source": source, "difference": str(difference).lower(), "excerpt": excerpt}
    return np.array(result(page, RENDER.format(**asked)))


def test_what_is_heard_is_the_source_chosen(page, path):
    start = page.run("VIEW.excerpts[0].start")
    found = rendered(page, source=1)
    wav = path.parents[1] / "data" / HOSTILE.replace("/", "") / "bass.wav"
    true, _ = audio.read(wav, start=start * RATE, frames=found.shape[1])
    assert np.abs(found - true).max() > 0  # compressed
    assert np.vdot(found - true, found - true) < 0.1 * np.vdot(true, true)


def test_the_difference_is_silent_but_in_the_second_that_differs(page):
    worst = page.run("VIEW.excerpts[0]")
    assert (worst["kind"], worst["second"]) == ("worst", BURST)
    reference = rendered(page, source=1)
    found = rendered(page, source=2, difference=True)
    at = (BURST - worst["start"]) * RATE
    inside = found[:, at : at + RATE]
    error = inside + 0.5 * reference[:, at : at + RATE]
    assert np.vdot(error, error) < 0.1 * np.vdot(inside, inside)
    blur = RATE // 5  # two frames of MP3
    outside = np.delete(found, np.s_[at - blur : at + RATE + blur], axis=1)
    assert np.abs(outside).max() < 2**-12  # only what is in step cancels


def test_a_sine_of_full_scale_has_the_loudness_that_the_standard_says(page):
    for rate in (16000, 44100, 48000):
        sine = f"Float32Array.from({{length: {rate}}}, (_, i) => Math.sin(2*Math.PI*997*i/{rate}))"
        assert page.run(f"loudness([{sine}], {rate})") == pytest.approx(-3.01, abs=0.05)
        assert page.run(f"loudness([{sine}, {sine}], {rate})") == pytest.approx(0.0, abs=0.05)


def test_equal_loudness_undoes_a_change_of_level(page):
    assert page.run("correction(heard.samples[1])") == pytest.approx(0.0, abs=1e-9)
    halved = "heard.samples[1].map(c => c.map(x => x / 2))"
    assert page.run(f"correction({halved})") == pytest.approx(6.02, abs=0.01)


def test_a_spectrum_shows_a_sine_where_it_is(page):
    bin_ = 100
    sine = f"Float32Array.from({{length: 4096}}, (_, i) => Math.sin(2*Math.PI*{bin_}*i/FRAME))"
    levels = page.run(f"Array.from(spectrum({sine}, 2048))")
    assert int(np.argmax(levels)) == bin_
    assert levels[bin_] == pytest.approx(0.0, abs=0.1)
    assert max(levels[: bin_ - 5]) < -80


def test_a_click_plays_and_switching_does_not_stop(page):
    page.click("#play")
    until(page, "player.playing && player.position() > player.from + 0.1")
    began = page.run("player.began")
    page.click("[data-source='2'] .pick-source")
    assert pressed(page) == ["planted"]
    assert page.run("player.playing && player.began") == began
    until(page, "player.nodes[2].gain.gain.value > 0.1")
    until(page, "player.nodes[0].gain.gain.value === 0")
    page.click("#play")
    assert not page.run("player.playing")


def test_keys_alone_do_everything(page):
    focus(page)
    page.press(" ", 32)
    until(page, "player.playing")
    page.press("3", 51)
    assert pressed(page) == ["planted"]
    page.press("d", 68)
    assert page.run("document.querySelector('#difference').checked")
    until(page, "player.nodes[1].gain.gain.value < 0")  # the reference is subtracted
    assert page.run("player.levels[1] === -player.levels[2]")
    page.press("ArrowUp", 38)
    assert pressed(page) == ["reference"]
    page.press("e", 69)
    assert not page.run("document.querySelector('#matched').checked")
    page.press(" ", 32)
    until(page, "!player.playing")
    page.run("player.seek(2)")
    page.press("ArrowRight", 39)
    until(page, "player.position() === 3")
    page.press("ArrowLeft", 37)
    until(page, "player.position() === 2")
    page.press("3", 51)
    page.press("w", 87)
    until(page, f"offset() + player.position() === {BURST}")
    assert "planted" in page.run("document.querySelector('#told').textContent")


def test_without_loop_it_ends(page):
    focus(page)
    page.press("l", 76)
    page.run("player.seek(player.to - 0.3)")
    page.press(" ", 32)
    until(page, "player.playing")
    until(page, "!player.playing")
    assert page.run("document.querySelector('#play').textContent") == "Play"


def test_another_excerpt_is_another_place(page):
    best = page.run("VIEW.excerpts[2]")
    page.click("label:has([name=excerpt][value='2']) span")
    until(page, "pick.excerpt === 2")
    assert page.run("offset() + player.from") == best["start"]
    box = page.run("document.querySelector('.zoom').getAttribute('viewBox')").split()
    assert float(box[0]) == best["start"]


def test_everything_is_drawn(page):
    until(page, "panel.dataset.drawn === '0'")
    assert page.run("document.querySelectorAll('.wave path[d^=M]').length") >= 3
    assert page.run("document.querySelectorAll('.zoom .line').length") == 1


def test_a_hostile_name_stays_text(page):
    assert HOSTILE.replace("/", "") == page.run("document.querySelector('h1').textContent")
    assert page.run("document.querySelectorAll('img').length") == 0


def test_it_speaks_to_a_screen_reader(page):
    tree = page.send("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node["name"]["value"])
        for node in tree
        if node.get("name", {}).get("value") and node.get("role")
    }
    assert ("button", "Play") in named
    assert ("checkbox", "Equal loudness") in named
    assert any(role == "button" and "planted" in name for role, name in named)
    assert any("Waveform and spectrogram of planted" in name for _, name in named)
    radios = [name for role, name in named if role == "radio"]
    assert any(name.startswith("worst") for name in radios)


@pytest.mark.parametrize("width", [360, 1400])
def test_the_page_never_scrolls_sideways(browser, path, width):
    browser.open(path, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_paper_has_the_scores_without_the_panel(page):
    page.send("Emulation.setEmulatedMedia", media="print")
    assert page.run("getComputedStyle(panel).display") == "none"
    assert page.run("document.querySelector('.overview').getBoundingClientRect().height") > 100
    page.send("Emulation.setEmulatedMedia", media="")


def test_without_a_script_the_scores_are_there(browser, path):
    browser.open(path, scripts=False)
    assert browser.run("document.querySelector('#panel').hidden")
    assert "planted" in browser.run("document.querySelector('.scores-table').innerText")
    assert json.dumps(browser.complaints()) == "[]"

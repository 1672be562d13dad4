"""The report in a real browser: headless Chromium, driven over its debugging pipe."""

import fcntl
import json
import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from synthetic_run import HOSTILE, HOSTILE_TAIL, demo_run

from harness import report
from harness.core import text
from harness.report.computed import make_report
from harness.report.page import payload

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
TIMEOUT = 60.0  # seconds for any answer
FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root, where Chromium has no sandbox
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
    "--window-size=1400,1000",
)


class Browser:
    """A headless Chromium and one page in it."""

    def __init__(self, profile: Path):
        reading, answers = (_high(fd) for fd in os.pipe())
        questions, self.writing = (_high(fd) for fd in os.pipe())
        self.reading = reading
        launch = f'exec "$@" 3<&{questions} 4>&{answers} 2>/dev/null'
        command = ["bash", "-c", launch, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(command, pass_fds=(questions, answers))
        for fd in (questions, answers):
            os.close(fd)
        self.buffer, self.count, self.events, self.session = b"", 0, [], None

    def start(self):
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self):
        end = time.monotonic() + TIMEOUT
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.reading], [], [], max(end - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            part = os.read(self.reading, 1 << 20)
            assert part, "the browser ended"
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def run(self, script):
        """Return the value of an expression in the page."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, path: Path, *, width=1400, scripts=True, at=""):
        self.send("Emulation.setScriptExecutionDisabled", value=not scripts)
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        if at:  # else an address that differs behind the # alone loads nothing
            self._go("about:blank")
        self._go(path.as_uri() + at)

    def _go(self, url):
        self.events.clear()
        self.send("Page.navigate", url=url)
        while not self._seen("Page.loadEventFired"):
            self.events.append(self._read())

    def _seen(self, method):
        return [e["params"] for e in self.events if e.get("method") == method]

    def complaints(self):
        """Return what the page wrote to the console, threw, or asked with a dialog."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [e for kind in (*kinds, "Page.javascriptDialogOpening") for e in self._seen(kind)]

    def requests(self):
        return [e["request"]["url"] for e in self._seen("Network.requestWillBeSent")]

    def press(self, key, code):
        text_ = "\r" if key == "Enter" else ""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text_, **about)
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def click(self, selector):
        """Click with the mouse in the middle of an element."""
        self.run(
            f"document.querySelector({selector!r})"
            ".scrollIntoView({block: 'center', behavior: 'instant'})"
        )
        x, y = self.run(
            f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        where = {"x": x, "y": y, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, **where)

    def close(self):
        self.process.kill()
        self.process.wait(timeout=TIMEOUT)
        os.close(self.writing)
        os.close(self.reading)


def _high(fd):
    """Move a file descriptor out of the way of those the browser expects, 3 and 4."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(fd)
    return moved


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    try:
        found.start()
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def run():
    return demo_run(12)


@pytest.fixture(scope="module")
def path(run, tmp_path_factory):
    page = tmp_path_factory.mktemp("report") / "index.html"
    page.write_text(report.render(make_report(run)), encoding="utf-8")
    return page


@pytest.fixture
def page(browser, path):
    browser.open(path)
    yield browser
    assert browser.complaints() == []
    assert {url for url in browser.requests() if not url.startswith("data:")} == {path.as_uri()}


BOARD = 'table.board[data-dataset="0"][data-level="main"]'


COMPARED = "td:not(:has(.why))"  # those that are not ranked follow, whatever they have


def column(page, stem, table=BOARD, cells="td"):
    """Return the shown values of one column for the ranked group, top to bottom."""
    cells = page.run(
        f"[...document.querySelectorAll('{table} tbody.role-separator {cells}[data-stem={stem}]')]"
        ".map(td => td.querySelector('b')?.textContent ?? '–')"
    )
    return [float(c.replace("−", "-")) for c in cells if c != "–"]


def names(page, role="separator", table=BOARD):
    return page.run(
        f"[...document.querySelectorAll('{table} tbody.role-{role} th.first > span.name')]"
        ".map(n => n.textContent)"
    )


def test_the_page_loads_without_complaints_or_network_requests(page):
    assert page.run("document.querySelectorAll('.panel svg').length") > 10
    assert page.run("document.querySelectorAll('table.heat tbody tr').length") == 12 + 6


def test_hostile_names_are_text_everywhere(page):
    assert page.run("document.querySelectorAll('img, iframe, object').length") == 0
    assert page.run("document.scripts.length") == 2
    shown = page.run(
        "[...document.querySelectorAll('table.heat th .name')].map(n => n.textContent)"
    )
    assert {HOSTILE, HOSTILE_TAIL} <= set(shown)


def test_no_foreign_script_runs(browser, path):
    browser.open(path)
    browser.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit = 1\">');"
        "const s = document.createElement('script'); s.textContent = 'window.hit = 2';"
        "document.body.append(s)"
    )
    assert browser.run("new Promise(r => setTimeout(r, 50)) && typeof window.hit") == "undefined"
    assert any("Content Security Policy" in json.dumps(e) for e in browser.complaints())


def test_the_script_shows_what_the_page_held_without_it(browser, path):
    asked = "[...document.querySelectorAll('table.board')].map(t => t.innerText)"
    browser.open(path, scripts=False)
    assert browser.run("getComputedStyle(document.querySelector('.controls')).display") == "none"
    plain = browser.run(asked)
    browser.open(path)
    assert browser.run(asked) == plain
    assert len(plain) == 4


def test_a_click_sorts_and_a_second_click_reverses(page):
    head = f"{BOARD} th[data-key=vocals]"
    assert page.run(f"document.querySelector('{BOARD} th.overall').ariaSort") == "descending"
    page.click(f"{head} button")
    assert page.run(f"document.querySelector('{head}').ariaSort") == "descending"
    values = column(page, "vocals", cells=COMPARED)
    assert values == sorted(values, reverse=True)
    page.click(f"{head} button")
    assert page.run(f"document.querySelector('{head}').ariaSort") == "ascending"
    assert column(page, "vocals", cells=COMPARED) == sorted(values)
    assert page.run(f"document.querySelectorAll('{BOARD} th[aria-sort]').length") == 1


def test_sorting_works_with_the_keyboard_alone(page):
    page.run(f"document.querySelector('{BOARD} th[data-key=vocals] button').focus()")
    page.press("Enter", 13)
    values = column(page, "vocals", cells=COMPARED)
    assert values == sorted(values, reverse=True)
    page.press("Tab", 9)
    assert page.run("document.activeElement.closest('th').dataset.key") == "drums"


def test_sorting_never_mixes_the_ranked_with_the_others(page):
    ranked = sorted(names(page))
    for key in ("name", "bass", "rtf", "peak_memory"):
        page.click(f"{BOARD} th[data-key={key}] button")
        assert sorted(names(page)) == ranked
        assert names(page, "anchor") == ["mixture"]
    page.click(f"{BOARD} th[data-key=name] button")
    assert names(page) == ranked


def test_the_rank_is_that_of_the_column_sorted_by(page):
    def ranks():
        return page.run(
            f"[...document.querySelectorAll('{BOARD} tbody.role-separator td.place')]"
            ".map(td => td.textContent)"
        )

    overall = dict(zip(names(page), ranks(), strict=True))
    assert overall["mel_roformer"] == ""  # gives two stems only
    assert overall["htdemucs"] == ""  # was trained on these tracks
    page.click(f"{BOARD} th[data-key=vocals] button")
    vocals = dict(zip(names(page), ranks(), strict=True))
    assert vocals["mel_roformer"] == "1"
    assert vocals["htdemucs"] == ""


@pytest.mark.parametrize(("metric", "stat"), [("snr", "mean"), ("csdr", "median")])
def test_a_switch_shows_the_other_numbers(page, run, metric, stat):
    before = page.run("document.querySelector('main').innerText")
    page.click(f"label:has(input[value={metric}]) span")
    page.click(f"label:has(input[value={stat}]) span")
    demo = payload.build(make_report(run))["datasets"][0]
    for index, cell in demo["summary"][metric]["drums"]["cells"].items():
        shown = page.run(
            f"document.querySelector('{BOARD} tr[data-row=\"{index}\"] td[data-stem=drums] b')"
            ".textContent"
        )
        assert shown == text.decimals(cell[0 if stat == "mean" else 1])
    assert f"what {metric} is & how" in page.run("document.querySelector('#definition').innerText")
    page.click("label:has(input[value=harmonic_mean]) span")
    page.click("label:has(input[value=mean]) span")
    assert page.run("document.querySelector('main').innerText") == before


def test_arrow_keys_move_the_metric_switch(page):
    page.run("document.querySelector('input[name=metric]:checked').focus()")
    page.press("ArrowRight", 39)
    assert page.run("state.metric") == "snr"
    assert page.run("document.querySelector('#definition b').textContent") == "SNR"


def test_the_theme_toggles_and_is_remembered(page, path):
    ground = "getComputedStyle(document.body).backgroundColor"
    before, theme = page.run(ground), page.run("document.documentElement.dataset.theme")
    page.click("#theme")
    assert page.run("document.documentElement.dataset.theme") != theme
    assert page.run(ground) != before
    page.open(path)
    assert page.run("document.documentElement.dataset.theme") != theme
    page.click("#theme")
    assert page.run(ground) == before


COLOURS = """(selector) => {
    let node = document.querySelector(selector);
    const ink = getComputedStyle(node).color;
    let ground;
    do {
        ground = getComputedStyle(node).backgroundColor;
        node = node.parentElement;
    } while (/, 0\\)$|transparent/.test(ground));
    const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    return [ink, ground].map((colour) => {
        paint.fillStyle = colour;
        paint.fillRect(0, 0, 1, 1);
        return [...paint.getImageData(0, 0, 1, 1).data];
    });
}"""  # of the text and of what lies behind it, as red, green, blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_enough_contrast(page, theme):
    page.run(f"setTheme('{theme}')")
    for selector in (".lede", ".kicker", ".note", "td small", ".badge", "tr.group th", "td.strong"):
        ink, ground = page.run(f"({COLOURS})({selector!r})")
        assert contrast(ink, ground) >= 4.5, selector


def contrast(*colours):
    """Return the contrast ratio of two colours as the accessibility guidelines define it."""

    def luminance(rgb):
        parts = [c / 255 for c in rgb[:3]]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)


def test_tracks_are_filtered_sorted_and_shown_for_another_stem(page):
    heat = 'table.heat[data-dataset="0"]'
    page.run(
        "(() => { const f = document.querySelector('.by-stem .filter'); f.value = 'ARTIST 3';"
        " f.dispatchEvent(new Event('input')); })()"
    )
    shown = f"document.querySelectorAll('{heat} tbody tr:not([hidden])').length"
    assert page.run(shown) == 2
    page.run(
        "(() => { const s = document.querySelector('[data-draw=heat] select.stem');"
        " s.value = 'bass'; s.dispatchEvent(new Event('change')); })()"
    )
    assert page.run(shown) == 2
    assert ", bass, track by track" in page.run(
        f"document.querySelector('{heat} caption').innerText"
    )
    cells = page.run(f"document.querySelector('{heat}').textContent")
    assert "silent" in cells
    assert page.run(f"document.querySelector('{heat} td.failed').title").startswith("MemoryError")
    page.click(f"{heat} thead th:nth-child(2) button")
    values = page.run(
        f"[...document.querySelectorAll('{heat} tbody td:nth-child(2)')].map(t => t.textContent)"
    )
    numbers = [float(v.replace("−", "-")) for v in values if re.match(r"[−\d]", v)]
    assert numbers == sorted(numbers, reverse=True)
    assert values[-1] == "silent"  # what has no value comes last


def test_pointing_at_a_dot_names_its_track(page):
    page.run(
        "document.querySelector('.panel svg')"
        ".scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    x, y = page.run(
        "(() => { const svg = document.querySelector('.panel svg');"
        " const path = svg.querySelector('.dots').getAttribute('d');"
        " const [, x, y] = /M([\\d.]+) ([\\d.]+)/.exec(path);"
        " const p = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM()); return [p.x, p.y]; })()"
    )
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert not page.run("document.querySelector('#tip').hidden")
    assert re.match(r"[−\d.]+ dB", page.run("document.querySelector('#tip').innerText"))


def visible(page, selector):
    return page.run(
        f"[...document.querySelectorAll('{selector}')].filter(n => n.checkVisibility()).length"
    )


def test_the_filter_leaves_matching_separators_everywhere(page):
    before = page.run("document.querySelectorAll('.panel .strip').length")
    page.run("document.querySelector('#filter').focus()")
    page.send("Input.insertText", text="SCNET, oracle")
    shown = page.run(
        f"[...document.querySelectorAll('{BOARD} tr[data-row]:not([hidden]) th > span.name')]"
        ".map(n => n.textContent)"
    )
    assert shown == ["scnet", "irm", "best_of_oracle"]
    assert 0 < page.run("document.querySelectorAll('.panel .strip').length") < before
    assert visible(page, 'table.heat[data-dataset="0"] thead th') == 4
    assert "filter=SCNET" in page.run("location.hash")
    page.run("document.querySelector('#filter').value = ''; show({filter: ''})")
    assert page.run("document.querySelectorAll('.panel .strip').length") == before
    assert page.run("location.hash") == ""


def test_an_address_restores_the_state(browser, path):
    browser.open(path, at="#metric=sdr&stat=median&spread=tracks&stem=bass&at=tracks-1")
    assert browser.run("[state.metric, state.stat, state.spread]") == ["sdr", "median", "tracks"]
    assert browser.run("document.querySelector('[name=metric]:checked').value") == "sdr"
    chosen = browser.run("[...document.querySelectorAll('select.stem')].map(s => s.value)")
    assert set(chosen) == {"bass"}
    top = "document.getElementById('tracks-1').getBoundingClientRect().top"
    assert -5 < browser.run(top) < 1000
    browser.open(path, at="#metric=%3Cimg%3E&stem=constructor&stat=__proto__&at=nowhere")
    assert browser.run("[state.metric, state.stat]") == ["harmonic_mean", "mean"]
    assert browser.complaints() == []


def test_the_address_follows_the_switches_and_links_keep_the_state(page):
    page.click("label:has(input[value=sdr]) span")
    assert page.run("location.hash") == "#metric=sdr"
    page.click("nav.inside a[href='#tracks-0']")
    assert page.run("location.hash") == "#metric=sdr&at=tracks-0"
    assert page.run("document.activeElement.id") == "tracks-0"
    assert page.run("state.metric") == "sdr"


def numbers(page, part="pairs"):
    return page.run(
        f"[...document.querySelectorAll('[data-draw={part}] table')][0].innerText"
        ".split('\\n').slice(2).map(line => line.split('\\t'))"
    )


def test_differences_equal_those_of_the_tracks_and_change_sign_with_the_rival(page, run):
    page.run("show({metric: 'snr', stem: 'drums'})")
    page.run("document.querySelector('[data-draw=pairs] details').open = true")
    rows = run.scores[(run.scores["metric"] == "snr") & (run.scores["stem"] == "drums")]
    wide = rows[rows["dataset"] == "demo"].pivot(index="track", columns="separator", values="value")
    wide = wide[["nmf", "repet_sim", "scnet"]].dropna()
    shown = {line[0]: line[1:] for line in numbers(page)}
    for name in ("nmf", "repet_sim"):
        mean = (wide[name] - wide["scnet"]).mean()
        assert shown[name][0] == text.decimals(text.encode(mean))
        # six artists, all on one side: p is 2/64, and three pairs are compared
        assert shown[name][2:] == ["0.094", "no"]
    page.run(
        "(() => { const s = document.querySelector('[data-draw=pairs] select.rival');"
        " s.value = [...s.options].find(o => o.textContent === 'nmf').value;"
        " s.dispatchEvent(new Event('change')); })()"
    )
    turned = {line[0]: line[1:] for line in numbers(page)}
    assert turned["scnet"][0] == shown["nmf"][0].replace("−", "+")


def test_no_separator_on_the_front_is_beaten_in_score_and_cost(page):
    page.run("show({stem: 'drums'})")
    points = page.run(
        "(() => { const found = costPoints(DATA.datasets[0], 'drums', 'rtf');"
        " return found.map(p => [p.row.separator, p.score, p.cost, isOnFront(p, found)]); })()"
    )
    front = {name for name, *_, on in points if on}
    assert {"scnet"} <= front
    for name, score, cost, on in points:
        better = [
            other for other, s, c, _ in points
            if other in front and s >= score and c <= cost and (s, c) != (score, cost)
        ]  # fmt: skip
        assert not (on and better), name
    drawn = page.run("document.querySelectorAll('[data-draw=pareto] .on-front').length")
    assert drawn >= len(front)


def test_intervals_or_spread_are_below_the_scores(page):
    small = f"document.querySelector('{BOARD} tr[data-row] td[data-stem=drums] small').innerText"
    assert re.match(r"[−\d.]+ to [−\d.]+", page.run(small))
    page.click("label:has(input[value=tracks]) span")
    assert re.match(r"SD [\d.]+", page.run(small))
    page.click("label:has(input[value=median]) span")
    assert re.match(r"quartiles [−\d.]+, [−\d.]+", page.run(small))


def test_every_chart_has_a_description(page):
    silent = page.run(
        "[...document.querySelectorAll('svg')].filter(s => s.getAttribute('role') !== 'img' ||"
        " !(s.ariaLabel || (s.querySelector('title') && s.querySelector('desc')))).length"
    )
    assert silent == 0
    assert page.run("document.querySelectorAll('svg').length") > 20


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_the_page_itself_never_scrolls_sideways(browser, path, width):
    browser.open(path, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_print_has_everything_but_the_switches(page):
    page.run("setTheme('dark')")
    page.send("Emulation.setEmulatedMedia", media="print")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("getComputedStyle(document.querySelector('.toolbar')).display") == "none"
    assert page.run("[...document.querySelectorAll('details')].every(d => d.open)")
    page.send("Emulation.setEmulatedMedia", media="")

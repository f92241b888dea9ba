"""The HTML report in a real Chromium: no script gets in, figures and tables answer, dark, paper and phone.

Skipped only where no browser is installed (`make test` installs one where it can).
"""

import os
import re
import shutil
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

import frontier
from frontier.wording import p_value_cell
from tests.test_report import HOSTILE, POTENCY, study, sweep

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NAME = HOSTILE[0]


@pytest.fixture(scope="module")
def chromium():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = next(filter(None, map(shutil.which, BROWSERS)), own if os.path.exists(own) else None)
        if found is None:
            pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)}")
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=found, args=sandbox)
        yield browser
        browser.close()


class Opened:
    """A page in a context of its own, and all that it has said and asked for."""

    def __init__(self, chromium, path, **options):
        self.context = chromium.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        self.page, said, asked = self.context.new_page(), [], []
        page = self.page
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: asked.append(request.url))
        page.on(
            "requestfailed", lambda request: asked.remove(request.url) if request.failure == "csp" else None
        )
        page.set_default_timeout(15_000)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        page.said, self.asked = said, asked

    def check(self):
        """It has asked for nothing but itself, and said nothing on the console."""
        said, self.page.said[:] = list(self.page.said), []  # the next test answers for itself
        assert said == []
        assert [url for url in self.asked if not url.startswith(("file://", "data:", "blob:"))] == []
        assert sum(url.startswith("file://") for url in self.asked) == 1


@contextmanager
def opened(chromium, path, **options):
    """A page of the test's own, checked at its end."""
    here = Opened(chromium, path, **options)
    yield here.page
    here.context.close()
    here.check()


AS_LOADED = """() => {
  document.activeElement.blur();
  scrollTo(0, 0);
  document.querySelectorAll('details').forEach(d => { d.open = first.open.includes(d); });
  for (const control of document.querySelectorAll('select, input')) {
    const at = control.type === 'checkbox' ? 'checked' : 'value', was = first[at].get(control);
    if (control[at] === was) continue;
    control[at] = was;
    for (const kind of ['input', 'change']) control.dispatchEvent(new Event(kind, {bubbles: true}));
  }
  document.querySelectorAll(".family[aria-pressed='false']").forEach(button => button.click());
  const sorted = "th:is([aria-sort='ascending'], [aria-sort='descending']) button";
  for (let header; (header = document.querySelector(sorted)); ) header.click();
  document.querySelectorAll('.plot').forEach(d => d.data && Plotly.Fx.unhover(d));
  redraw();
}"""
FIRST = """() => {
  const of = at => new Map([...document.querySelectorAll('select, input')].map(c => [c, c[at]]));
  const open = [...document.querySelectorAll('details[open]')];
  window.first = {open, checked: of('checked'), value: of('value')};
}"""


RESIZED = """() => new Promise(done =>
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 150))))"""
"""Plotly draws a figure anew 100 ms after the window changed, and takes its label away with that."""


@contextmanager
def again(shared, *, width=1200, height=900, color_scheme="light"):
    """A page that several tests share, as it was when it was loaded: loading takes longest."""
    page = shared.page
    page.mouse.move(0, 0)
    page.emulate_media(media="screen", color_scheme=color_scheme)
    size = {"width": width, "height": height}
    if page.viewport_size != size:
        page.set_viewport_size(size)
        page.evaluate(RESIZED)
    page.evaluate(AS_LOADED)
    yield page
    shared.check()


@pytest.fixture(scope="module")
def shared(chromium):
    """Opens a page for several tests, each of which begins with `again`."""
    pages = []

    def open_one(path):
        one = Opened(chromium, path, permissions=["clipboard-read", "clipboard-write"])
        one.page.evaluate(FIRST)
        pages.append(one)
        return one

    yield open_one
    for one in pages:
        one.context.close()


@pytest.fixture(scope="module")
def gemma_open(shared, gemma_page):
    return shared(gemma_page)


@pytest.fixture(scope="module")
def study_open(shared, study_page):
    return shared(study_page)


@pytest.fixture(scope="module")
def gemma_page(layer20, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    return frontier.report(layer20, folder / "gemma.html", "baseline", errors="additive")


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    table = sweep(HOSTILE[:2], HOSTILE[2:4], HOSTILE[4], HOSTILE[0])
    table["run_id"] = [f"{HOSTILE[i % 5]} {i}" for i in range(len(table))]
    table = table.rename(columns={"fvu": HOSTILE[1]})
    file = folder / "<img src=x onerror=hacked=1>.csv"
    table.to_csv(file, index=False)
    return frontier.report(file, folder / "hostile.html", NAME, title=HOSTILE[1], date=NAME)


def plot(page, kind="frontier", panel=0):
    return page.locator(f'.plot[data-kind="{kind}"]').nth(panel)


def traces(page, kind="frontier", panel=0):
    code = "d => d.data.map(t => ({x: t.x, y: t.y, mode: t.mode, fill: t.fill ?? '', name: t.name ?? ''}))"
    return plot(page, kind, panel).evaluate(code)


def first_point(page, kind, panel, trace):
    """Where on the screen the first point of a trace lies."""
    box = plot(page, kind, panel)
    box.scroll_into_view_if_needed()
    return box.evaluate(
        """(d, curve) => {
          const t = d.data[curve], l = d._fullLayout, r = d.getBoundingClientRect();
          return [r.x + l.xaxis._offset + l.xaxis.d2p(t.x[0]), r.y + l.yaxis._offset + l.yaxis.d2p(t.y[0])];
        }""",
        trace,
    )


def until(page, true):
    """Waits for what the page does in its own time; 15 seconds at most."""
    for _ in range(300):
        if true():
            return
        page.wait_for_timeout(50)
    raise AssertionError("still not true after 15 seconds")


def hover_text(page, name=""):
    """The label on a figure, once it has the name: Plotly draws labels 50 ms apart at the least."""
    page.wait_for_function("n => document.querySelector('g.hovertext')?.textContent.includes(n)", arg=name)
    return page.locator("g.hovertext").first.text_content()


def test_hostile_names_run_nothing_and_are_shown(chromium, hostile_page):
    with opened(chromium, hostile_page) as page:
        assert page.evaluate("window.hacked") is None
        assert page.locator("img, iframe, body script script, .plot b, .plot a[href]").count() == 0
        assert page.locator("a:not([href^='#'])").count() == 0
        assert page.locator("h1").inner_text() == HOSTILE[1]
        assert page.locator(".family").all_inner_texts() == list(HOSTILE[:2])
        page.mouse.move(*first_point(page, "frontier", 0, 0))
        text = hover_text(page)
        assert NAME in text and "window.hacked=1" in text  # the name itself, letter by letter
        page.mouse.move(0, 0)
        plot(page).focus()
        spoken = ""
        for _ in range(7):  # Plotly would make links and bold type of these, and decode &amp;
            page.keyboard.press("ArrowRight")
            assert page.locator(".plot a, .plot svg [href]").count() == 0
            said = page.get_by_role("status").text_content()
            hover_text(page, said.split(", ")[0])  # the whole name, letter by letter, or the wait runs out
            spoken += said
        assert HOSTILE[3] in spoken
        for kind, control in (("frontier", "#x-log"), ("fits", "#fits-log")):
            before = traces(page, kind)
            page.locator(control).click()
            assert before and plot(page, kind).evaluate("d => d._fullLayout.xaxis.type") in ("linear", "log")
        for family in page.locator(".family").all():
            family.click()
        assert traces(page) == []
        page.locator("details").evaluate_all("all => all.forEach(d => { d.open = true; })")
        for header in page.locator("th button").all():
            header.click()
        assert page.evaluate("window.hacked") is None


def test_even_a_script_that_got_in_does_not_run(chromium, hostile_page):
    with opened(chromium, hostile_page) as page:
        page.evaluate(
            """() => {
              const script = document.createElement('script');
              script.textContent = 'window.hacked = 5';
              document.body.append(script);
              document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.hacked = 6">');
              document.body.insertAdjacentHTML('beforeend', '<img src="http://127.0.0.1:9/x.png">');
            }"""
        )
        refused = lambda: [s for s in page.said if "Content Security Policy" in s]  # noqa: E731
        until(page, lambda: len(refused()) >= 3)
        assert page.evaluate("window.hacked") is None
        assert refused() == page.said
        page.said.clear()


def test_hover_names_the_sae(gemma_open):
    with again(gemma_open) as page:
        first = traces(page)[1]  # the baseline's Pareto set, smallest L0 first: 10.4 and 0.9187 in Table 1
        assert (first["x"][0], first["y"][0]) == (10.4, 0.9187) and first["name"] == "baseline"
        page.mouse.move(*first_point(page, "frontier", 0, 1))
        text = hover_text(page)
        for words in ("row 0", "baseline", "10.4", "0.9187", "on the frontier"):
            assert words in text


def test_no_button_sends_the_data_away(gemma_open):
    """Plotly's own bar has 'Share chart', which uploads to plotly.com."""
    with again(gemma_open) as page:
        titles = "d => [...d.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)"
        kept = ["Download plot", "Zoom", "Zoom in", "Zoom out", "Reset axes"]
        for i in range(7):
            assert page.locator(".plot").nth(i).evaluate(titles) == kept
        with page.expect_download() as download:
            plot(page).hover()
            plot(page).locator(".modebar-btn[data-title='Download plot']").click()
        assert download.value.suggested_filename == "frontier.svg"


def test_axes_and_families_switch(gemma_open, layer20):
    resid = layer20[layer20["site"] == "Resid"]
    with again(gemma_open) as page:
        page.get_by_label("y", exact=True).select_option(label="Δ cross-entropy (nats per token)")
        page.get_by_label("x", exact=True).select_option(label="Sparsity, 1 / L0")
        x = np.concatenate([t["x"] for t in traces(page)])
        y = np.concatenate([t["y"] for t in traces(page)])
        np.testing.assert_allclose(np.sort(x), np.sort(1 / resid["l0"]), rtol=1e-5)
        np.testing.assert_allclose(np.sort(y), np.sort(resid["ce_sae"] - resid["ce_clean"]), rtol=1e-5)
        axes = "d => [d._fullLayout.xaxis.type, d._fullLayout.yaxis.type, d._fullLayout.yaxis.title.text]"
        assert plot(page).evaluate(axes) == ["log", "linear", "Δ cross-entropy (nats per token)"]
        page.get_by_label("log y").check()
        page.get_by_label("log x").uncheck()
        assert plot(page).evaluate(axes)[:2] == ["linear", "log"]
        gated = page.locator(".family", has_text="gated")
        gated.click()
        assert gated.get_attribute("aria-pressed") == "false"
        assert {t["name"] for t in traces(page)} == {"baseline"}
        assert traces(page, "ratios") == [] and "gated" not in str(traces(page, "fits"))
        gated.click()
        assert {t["name"] for t in traces(page)} == {"baseline", "gated"}


def test_fits_switch_and_dash_beyond_the_data(gemma_open):
    with again(gemma_open) as page:
        dashes = (
            "d => d.data.filter(t => t.line && t.line.dash).map(t => [Math.min(...t.x), Math.max(...t.x)])"
        )
        points = [t for t in traces(page, "fits") if t["mode"] == "markers"]
        for (_, below), (above, _), p in zip(
            *[iter(plot(page, "fits").evaluate(dashes))] * 2, points, strict=True
        ):
            assert below == pytest.approx(min(p["x"])) and above == pytest.approx(max(p["x"]))
        assert sum(t["fill"] == "toself" for t in traces(page, "fits")) == 2
        page.get_by_label("confidence bands").uncheck()
        assert sum(t["fill"] == "toself" for t in traces(page, "fits")) == 0
        page.get_by_label("logarithmic axes").check()
        assert plot(page, "fits").evaluate("d => d._fullLayout.xaxis.type") == "log"
        page.get_by_label("ratio", exact=True).select_option(label="k")
        assert "6.0 [4.3, 8.5]" in plot(page, "ratios").get_attribute("aria-label")


def test_intervals_end_in_ticks_taller_than_the_marker(gemma_open, comparison20):
    """A marker wider than its interval hid it."""
    with again(gemma_open) as page:
        points = "d => d.data.filter(t => t.mode === 'markers').map(t => ({x: t.x, marker: t.marker}))"
        drawn = plot(page, "ratios").evaluate(points)
        ticks = [t for t in drawn if t["marker"]["symbol"] == "line-ns"]
        expected = sorted([p.ratio_low, p.ratio_high] for p in comparison20.potencies)
        np.testing.assert_allclose(sorted(t["x"] for t in ticks), expected, rtol=1e-5)
        sizes = [t["marker"]["size"] for t in drawn if t not in ticks]
        assert all(t["marker"]["size"] > max(sizes) for t in ticks)


def test_plotly_knows_every_attribute(gemma_open):
    """What is handed to Plotly is valid by its own schema: a misspelt attribute raises."""
    go = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
    with again(gemma_open) as page:
        for kind, count in (("frontier", 3), ("fits", 3), ("ratios", 1)):
            for i in range(count):
                drawn = plot(page, kind, i).evaluate("d => JSON.parse(JSON.stringify([d.data, d.layout]))")
                go.Figure(data=drawn[0], layout=drawn[1])


def test_zoom_and_back_by_mouse_and_keyboard(gemma_open):
    where = "d => d._fullLayout.xaxis.range.map(v => +v.toFixed(6))"
    with again(gemma_open) as page:
        box = plot(page)
        box.scroll_into_view_if_needed()
        whole = box.evaluate(where)
        area = box.locator(".nsewdrag").first.bounding_box()
        page.mouse.move(area["x"] + 60, area["y"] + 40)
        page.mouse.down()
        page.mouse.move(area["x"] + 180, area["y"] + 150, steps=8)
        page.mouse.up()
        until(page, lambda: box.evaluate(where) != whole)
        zoomed = box.evaluate(where)
        assert whole[0] < zoomed[0] < zoomed[1] < whole[1]
        box.focus()
        page.keyboard.press("0")
        assert box.evaluate(where) == whole
        page.keyboard.press("+")
        low, high = box.evaluate(where)
        assert high - low == pytest.approx(0.8 * (whole[1] - whole[0]), rel=1e-4)


def test_keyboard_alone_reaches_names_and_tables(chromium, gemma_page):
    with opened(chromium, gemma_page) as page:
        page.keyboard.press("Tab")
        skip = page.locator(":focus")
        assert skip.inner_text() == "Skip to the answer" and skip.bounding_box()["x"] >= 0
        plot(page).focus()
        assert plot(page).evaluate("d => getComputedStyle(d).outlineStyle") == "solid"
        page.keyboard.press("ArrowRight")
        said = page.get_by_role("status").text_content()
        assert said.startswith("row ") and "baseline" in said and "<" not in said
        page.keyboard.press("ArrowRight")
        assert page.get_by_role("status").text_content() != said
        page.locator("#runs-section summary").first.press("Enter")
        page.locator("#runs th button", has_text="L0").focus()
        page.keyboard.press("Enter")
        assert page.get_by_role("status").text_content() == "Sorted by L0, ascending"


def test_tables_sort_by_number_and_back(gemma_open, layer20, comparison20):
    with again(gemma_open) as page:
        page.get_by_role("link", name="Runs", exact=True).click()
        head = page.locator("#runs th")
        column = [h.strip() for h in head.all_inner_texts()].index("L0")
        cells = f"rows => rows.map(r => r.cells[{column}].textContent.trim())"
        read = lambda: [float(v) for v in page.locator("#runs tbody tr").evaluate_all(cells)]  # noqa: E731
        original = read()
        np.testing.assert_allclose(original, layer20["l0"], atol=0.05)
        for direction, expected in (
            ("ascending", sorted(original)),
            ("descending", sorted(original, reverse=True)),
            ("none", original),
        ):
            head.nth(column).locator("button").click()
            assert head.nth(column).get_attribute("aria-sort") == direction and read() == expected
        ratios = page.locator("#ratios th")
        p = [h.strip() for h in ratios.all_inner_texts()].index("p")
        ratios.nth(p).locator("button").click()
        cells = f"rows => rows.map(r => r.cells[{p}].textContent.trim())"
        found = page.locator("#ratios tbody tr").evaluate_all(cells)
        expected = [p_value_cell(v) for v in sorted(comparison20.ratios.to_frame()["p_value"])]
        assert found == expected and found[:2] != sorted(found)[:2]  # by number, not as text


def test_latex_is_copied(gemma_open, comparison20):
    with again(gemma_open) as page:
        page.locator("#ratios summary").click()
        page.locator("#ratios .copy").click()
        page.locator("#ratios .copy", has_text="Copied").wait_for()
        copied = page.evaluate("navigator.clipboard.readText()")
        table, _, made = comparison20.ratios.to_latex().rpartition("% Made with")
        assert copied.strip() == table.strip() and "sae-frontier" in made  # how it was made: Provenance


def luminance(colour):
    """Relative luminance of 'rgb(r, g, b)' by WCAG 2.2."""
    channels = np.array([int(v) for v in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, two):
    """Contrast ratio by WCAG 2.2; 4.5 is asked of text, 3 of graphics."""
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_have_contrast(gemma_open, scheme):
    colour = "(e, name) => getComputedStyle(e)[name]"
    with again(gemma_open, color_scheme=scheme) as page:
        paper = page.locator("body").evaluate(colour, "backgroundColor")
        assert (luminance(paper) < 0.05) == (scheme == "dark")
        raised = page.locator(".card").first.evaluate(colour, "backgroundColor")
        texts = page.locator("p, li, td, th button, dt, dd, .verdict, summary, a, h1, h2, h3, figcaption")
        for found in set(texts.evaluate_all("all => all.map(e => getComputedStyle(e).color)")):
            assert contrast(found, paper) >= 4.5 and contrast(found, raised) >= 4.5, found
        ticks = page.locator(".plot .xtick text").first.evaluate(colour, "fill")
        assert contrast(ticks, paper) >= 4.5
        for found in page.locator(".family svg *").evaluate_all(
            "all => all.map(e => getComputedStyle(e).fill)"
        ):
            assert contrast(found, paper) >= 3


def test_a_change_of_scheme_redraws(gemma_open):
    ink = "d => d._fullLayout.font.color"
    with again(gemma_open, color_scheme="light") as page:
        light = plot(page).evaluate(ink)
        page.emulate_media(color_scheme="dark")
        until(page, lambda: plot(page).evaluate(ink) != light)


def test_paper_has_no_controls_and_light_figures(gemma_open, tmp_path):
    ink, width = "d => d._fullLayout.font.color", "d => d._fullLayout.width"  # two beside each other on A4
    with again(gemma_open, color_scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        until(page, lambda: plot(page).evaluate(ink) == "#1b1d21" and plot(page).evaluate(width) <= 340)
        for hidden in ("nav", ".controls", ".copy", ".help", ".skips"):
            assert not page.locator(hidden).first.is_visible(), hidden
        assert page.locator("#runs tbody tr").last.is_visible()
        assert len(page.pdf(format="A4")) > 50_000
        page.emulate_media(media="screen", color_scheme="dark")
        until(page, lambda: plot(page).evaluate(ink) == "#e7e9ec")


def overlaps(page, box):
    """Texts of a plot that overlap once it has followed the width of the page, which takes it a moment."""
    for _ in range(30):
        if not (found := box.evaluate(OVERLAPS)):
            break
        page.wait_for_timeout(100)
    return found


OVERLAPS = """d => {
  const boxes = s => [...d.querySelectorAll(s)].map(e => e.getBoundingClientRect()).filter(r => r.width > 0);
  const out = d.getBoundingClientRect(), bad = [];
  for (const s of ['.xtick text', '.ytick text', '.annotation-text']) {
    const all = boxes(s);
    all.forEach((a, i) => all.slice(i + 1).forEach(b => {
      const beside = a.left >= b.right - 1 || b.left >= a.right - 1;
      if (!beside && a.top < b.bottom - 1 && b.top < a.bottom - 1) bad.push(s);
    }));
  }
  for (const s of ['.xtick text', '.ytick text', '.xtitle', '.ytitle', '.annotation-text'])
    for (const r of boxes(s))
      if (r.left < out.left - 1 || r.right > out.right + 1 || r.bottom > out.bottom + 1)
        bad.push(s + ' cut off');
  return bad;
}"""


@pytest.mark.parametrize("width", [360, 800, 1200])
def test_nothing_overlaps_or_is_cut_off(gemma_open, width):
    with again(gemma_open, width=width, height=800) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for log in (False, True):
            page.locator("#fits-log").set_checked(log)
            page.locator("#y-log").set_checked(log)
            for i, box in enumerate(page.locator(".plot").all()):
                assert overlaps(page, box) == [], (i, log)


def test_many_groups_are_drawn_as_they_come_into_view(chromium, tmp_path):
    sites = [f"site {i}" for i in range(20)]
    path = frontier.report(sweep(sites=sites), tmp_path / "many.html", "relu")
    with opened(chromium, path) as page:
        drawn = "all => all.filter(d => d.data).length"
        assert not page.locator(".card").first.is_visible()  # twenty cells: folded, opened on paper
        assert page.locator(".plot").evaluate_all(drawn) == 6  # frontiers above the words
        page.locator("#curves summary").first.click()
        plot(page, "fits", 19).scroll_into_view_if_needed()
        plot(page, "fits", 19).locator(".main-svg").first.wait_for()
        page.emulate_media(media="print")
        until(page, lambda: page.locator(".plot").evaluate_all(drawn) == 20 + 20 + 1 + 20)
        assert page.locator(".card").first.is_visible()
        page.emulate_media(media="screen")
        until(page, lambda: not page.locator(".card").first.is_visible())


@pytest.fixture(scope="module")
def study_page(tmp_path_factory):
    return frontier.report(study(), tmp_path_factory.mktemp("study") / "study.html", "relu")


def test_a_study_fits_three_screens_and_begins_with_its_figure(chromium, study_page):
    with opened(chromium, study_page, viewport={"width": 1280, "height": 900}) as page:
        size = page.evaluate("[document.documentElement.scrollHeight, document.documentElement.scrollWidth]")
        assert size[0] < 3000 and size[1] == 1280
        figure, answer = (
            page.locator(s).bounding_box()["y"] for s in ("#frontiers .plot >> nth=0", "#answer")
        )
        assert figure < 350 and answer > figure
        painted = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        assert page.evaluate(painted) < 2000


def test_cells_fold_open_by_the_matrix(study_open):
    with again(study_open) as page:
        fold = page.locator("#cell-2")
        assert not fold.locator(".card").first.is_visible()
        page.locator("#matrix tbody a").nth(2).click()
        assert fold.locator(".card").count() == 6 and fold.locator(".card").first.is_visible()
        fold.locator(".main-svg").first.wait_for()
        drawn = traces(page, "collapse", 2)
        assert {t["name"] for t in drawn[1:]} == set(POTENCY) and len(drawn) == 1 + 2 * 7


def test_the_matrix_sorts_by_potency(study_open):
    with again(study_open) as page:
        read = "rows => rows.map(r => Number(r.cells[2].dataset.value))"
        rows = page.locator("#matrix tbody tr")
        before = rows.evaluate_all(read)
        page.locator("#matrix th button", has_text="batchtopk").first.click()
        assert rows.evaluate_all(read) == sorted(before) != before
        assert page.get_by_role("status").text_content() == "Sorted by batchtopk, ascending"


def test_the_filter_keeps_families_and_cells(study_open):
    seen = "all => all.filter(e => e.offsetParent !== null).length"
    with again(study_open) as page:
        count = lambda selector: page.locator(selector).evaluate_all(seen)  # noqa: E731
        box = page.locator("#filter")
        box.fill("gated")
        assert count("#matrix td") == 6 and count("#cells > details") == 6
        assert {t["name"] for t in traces(page)} == {"relu", "gated"}  # the reference stays
        box.fill("Deduped-1 gated")
        assert count("#matrix td") == 3 and count("#cells > details") == count("#frontiers .plot") == 3
        box.fill("nowhere")
        assert count("#matrix td") == 0
        assert page.get_by_role("status").text_content() == "Nothing matches nowhere"
        box.fill("")
        assert count("#matrix td") == 36 and len(traces(page)) == 7


def test_hostile_names_in_matrix_filter_and_folds(chromium, tmp_path):
    sites = [f"{name}{i}" for i in range(2) for name in HOSTILE[:4]]
    path = frontier.report(sweep(HOSTILE[:2], sites), tmp_path / "hostile.html", NAME)
    with opened(chromium, path) as page:
        for header in page.locator("#matrix th button").all():
            header.click()
        for text in (HOSTILE[1], HOSTILE[3], NAME + "1", ""):
            page.locator("#filter").fill(text)
        page.locator("details").evaluate_all("all => all.forEach(d => { d.open = true; })")
        plot(page, "collapse").scroll_into_view_if_needed()
        plot(page, "collapse").locator(".main-svg").first.wait_for()
        assert page.locator("img, iframe, .plot b, .plot a[href]").count() == 0
        assert page.evaluate("window.hacked") is None


def test_a_zoom_leaves_no_label_of_what_stood_there(gemma_open):
    with again(gemma_open) as page:
        labels = page.locator("g.hovertext")
        plot(page).focus()
        for key in ("+", "0", "-"):
            page.keyboard.press("ArrowRight")
            hover_text(page)
            page.keyboard.press(key)
            until(page, lambda: labels.count() == 0)
        plot(page).evaluate("d => Plotly.relayout(d, {'xaxis.range': [5, 6]})")  # nothing stands there
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(200)
        assert labels.count() == 0


def test_figures_drawn_twice_at_once_have_plain_ticks(gemma_open):
    """The second drawing found the ticks of the first still being set, and left Plotly's own, which touch."""
    with again(gemma_open, width=800, height=800) as page:
        page.evaluate("() => { redraw(); redraw(); }")
        for box in page.locator('.plot[data-kind="frontier"]').all():
            assert overlaps(page, box) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_a_study_overflows_nowhere(study_open, width):
    with again(study_open, width=width, height=800) as page:
        page.locator("details").evaluate_all("all => all.forEach(d => { d.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("#cell-0 .plot").scroll_into_view_if_needed()
        page.locator("#cell-0 .main-svg").first.wait_for()
        assert overlaps(page, plot(page, "collapse", 0)) == []


def test_a_study_leaves_no_half_empty_page(study_open, tmp_path):
    """Ink reaches the lower half of every page but the last."""
    to_ppm = shutil.which("pdftoppm")
    if to_ppm is None:
        pytest.skip("pdftoppm (poppler-utils) is not installed")
    with again(study_open) as page:
        page.emulate_media(media="print")
        until(page, lambda: page.locator(".plot").evaluate_all("all => all.every(d => d.data)"))
        page.pdf(path=tmp_path / "study.pdf", format="A4")
    subprocess.run([to_ppm, "-r", "20", "-gray", tmp_path / "study.pdf", tmp_path / "page"], check=True)
    pages = [np.array(Image.open(f)) for f in sorted(tmp_path.glob("page*.pgm"))]
    assert len(pages) < 30
    for number, ink in enumerate(pages[:-1], 1):
        lowest = np.flatnonzero((ink < 200).any(axis=1)).max() / len(ink)
        assert lowest > 0.6, f"page {number} ends at {lowest:.0%}"


def test_one_family_has_figures_and_no_error(chromium, tmp_path):
    with opened(chromium, frontier.report(sweep(("gated",)), tmp_path / "one.html")) as page:
        assert len(traces(page)) == 1 and len(traces(page, "fits")) == 5
        assert page.locator('.plot[data-kind="ratios"]').count() == 0

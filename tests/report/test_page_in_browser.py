"""The report in a real browser without a network: drawings, reactions to the mouse, and requests."""

from __future__ import annotations

import time

import pytest
from browser import CHROMIUM, browser, complaints, requested, show, until
from command_line import called

from memtrain import timeline_figure
from memtrain.cells.cell import BOTH, cell_of
from memtrain.cells.row import predicted_row
from memtrain.report.html import report_html
from memtrain.sweeps.store import rows_csv

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium")

EVIL = '</script><b>"bold", & $x$.npz'
"""A data file may have any name."""


def some_rows():
    """Rows of two groups: the first has a failed row, and the second has a name full of markup."""
    cells = [cell_of(depth=depth, batch=batch) for depth in (1, 3) for batch in (16, 64)]
    cells += [cell_of(depth=depth, batch=8, data=EVIL) for depth in (0, 2)]
    rows = [predicted_row(cell, mode) for cell in cells for mode in BOTH]
    for row in rows:
        row["ledger_peak_bytes"] = row["predicted_peak_bytes"]
        row["heap_peak_bytes"] = row["predicted_peak_bytes"] + 32
    failed = rows[6]
    failed["status"], failed["reason"] = "memory_limit", 'not "enough"\n<i>memory</i>'
    failed["ledger_peak_bytes"] = failed["heap_peak_bytes"] = None
    return rows


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report_html(some_rows(), commands=[f"memtrain {EVIL}"], budget_bytes=2**20))
    return path


@pytest.fixture
def untouched(driver, page):
    """The browser with the page as it opens, for tests that change nothing. Several in turn open it once."""
    if driver.opened_for_reading != page:
        show(driver, page)
        driver.opened_for_reading = page
    return driver


def caption(driver, figure):
    return driver.run(f"return document.querySelector('#{figure} figcaption').textContent")


def choose(driver, select, text):
    script = """
        const [id, text] = arguments, select = document.getElementById(id);
        select.value = [...select.options].find(option => option.text === text).value;
        select.dispatchEvent(new Event("change"));
    """
    driver.run(script, select, text)


def point_at(driver, figure, x, y):
    """Move the mouse to data coordinates of the first axes of a figure, and read the label there."""
    place = f"#{figure} .plot"
    script = """
        const [place, x, y] = arguments, plot = document.querySelector(place);
        const {xaxis, yaxis} = plot._fullLayout;
        plot.scrollIntoView({block: "center"});
        const now = plot.getBoundingClientRect();
        return [now.x + xaxis._offset + xaxis.d2p(x), now.y + yaxis._offset + yaxis.d2p(y)];
    """
    left, top = driver.run(script, place, x, y)
    driver.point(left, top)
    said = """
        const lines = text => [...text.childNodes].map(part => part.textContent).join(" ");
        return [...document.querySelectorAll(`${arguments[0]} .hoverlayer text`)].map(lines).join("\\n");
    """
    return until(driver, said, place)


def test_each_figure_has_a_title_and_says_to_all_what_it_shows(untouched):
    script = """
        return [...document.querySelectorAll('figure')].filter(f => !f.hidden).map(f => [
            document.getElementById(f.getAttribute('aria-labelledby')).textContent,
            f.querySelector('[role=img]').getAttribute('aria-label'),
            f.querySelector('figcaption').textContent])
    """
    found = untouched.run(script)
    assert [title for title, _, _ in found] == [
        "Live bytes, step by step",
        "What forward keeps for backward",
        "Peak against depth",
        "Peak against batch",
        "Peak of training ÷ peak of inference",
        "What fits into 1 MiB",
    ]
    assert all(label == text and len(text) > 30 for _, label, text in found)


def test_how_many_rows_failed_is_said_first_and_why_in_the_account(untouched):
    failed = untouched.run("return [...document.querySelectorAll('.failed')].map(f => f.textContent)")
    assert "1 of 12 rows failed; the last table of this page says why." in failed
    assert any('memory_limit: not "enough"' in text and "<i>memory</i>" in text for text in failed)


def test_names_are_text_and_never_markup(untouched):
    assert untouched.run("return document.querySelectorAll('b, i').length") == 0
    command = untouched.run("return document.querySelector('pre').textContent")
    assert command == f"memtrain {EVIL}"


def test_the_page_begins_with_its_networks_and_findings_and_ends_with_the_account(untouched):
    networks = untouched.run("return document.querySelector('h1 ~ p').textContent")
    assert networks == (
        f"Multilayer perceptrons, width 256, relu, no bias, sgd, float32, digits and {EVIL}; "
        "depth 0–3, batch 8–64"
    )
    titles = """
        return [...document.querySelectorAll('main > section')].map(section =>
            section.getAttribute('aria-label') ?? section.querySelector('h2').textContent);
    """
    assert untouched.run(titles) == [
        "Findings",
        "Inside a cell",
        "Peaks against depth and batch",
        "Rows",
        "Do the meters agree?",
    ]
    figures = untouched.run("return [...document.querySelectorAll('figure')].map(figure => figure.id)")
    assert figures == ["timeline", "lives", "depth", "batch", "ratio", "fits"]


def test_every_figure_is_drawn_and_nothing_is_asked_of_a_network(driver, page):
    complaints(driver)
    requested(driver)
    show(driver, page)
    counted = {
        "#depth .scatterlayer .trace": 4,
        "#batch .scatterlayer .trace": 4,
        "#ratio .heatmaplayer image": 1,
        "#fits .heatmaplayer image": 1,
        "#lives .barlayer .trace": 2,
    }
    for selector, count in counted.items():
        found = driver.run(f"return document.querySelectorAll('{selector}').length")
        assert found == count, selector
    areas = driver.run("return document.querySelectorAll('#timeline .scatterlayer .trace').length")
    assert areas >= 10
    failed = driver.run("return document.querySelector('#depth .plot').data")
    assert ["x" in trace["marker"]["symbol"] for trace in failed] == [False, False, True, False]
    assert driver.run("return performance.getEntriesByType('resource').length") == 0
    assert requested(driver) == {page.as_uri()}
    assert complaints(driver) == []


def test_pointing_at_a_step_tells_what_it_makes_and_why_that_is_kept(driver, page):
    show(driver, page)
    choose(driver, "cell", "depth 1, batch 64")
    said = point_at(driver, "timeline", 1, 100_000)
    assert "step 1" in said.splitlines()[0]
    assert "forward: h" in said
    assert "h is kept until step 16, because backward reads it" in said
    assert "65,536 B" in said


def test_pointing_at_a_life_tells_its_reason(driver, page):
    show(driver, page)
    choose(driver, "cell", "depth 1, batch 64")
    said = point_at(driver, "lives", 14, 0)
    assert "h, 65,536 B, steps 1–16" in said


def test_the_selectors_change_cell_and_group(driver, page):
    show(driver, page)
    assert caption(driver, "timeline").startswith("At depth 1, batch 16")  # the largest ratio
    choose(driver, "cell", "depth 3, batch 64")
    assert caption(driver, "timeline").startswith("At depth 3, batch 64")
    choose(driver, "cell", "depth 1, batch 64")
    assert caption(driver, "timeline").startswith("At depth 1, batch 64")
    assert caption(driver, "lives").startswith("Forward keeps 2 intermediates")
    before = caption(driver, "depth")
    choose(driver, "group", f"data {EVIL}")
    cells = driver.run("return [...document.getElementById('cell').options].map(o => o.text)")
    assert cells == ["depth 0, batch 8", "depth 2, batch 8"]
    assert caption(driver, "depth") != before
    values = "return [...document.querySelectorAll('[data-group]')].map(select => select.value)"
    assert driver.run(values) == ["1", "1"]
    choose(driver, "cell", "depth 0, batch 8")
    assert caption(driver, "timeline").startswith("At depth 0, batch 8")
    assert driver.run("return document.querySelectorAll('#timeline .trace path.js-fill').length") > 5


def test_axes_become_logarithmic_and_linear_again(driver, page):
    show(driver, page)
    axes = """
        const {xaxis, yaxis} = document.querySelector('#depth .plot')._fullLayout;
        return [xaxis.type, yaxis.type, yaxis.ticktext.length > 1]
    """
    assert driver.run(axes) == ["linear", "linear", True]
    driver.click("[data-scale=log]")
    assert driver.run(axes) == ["log", "log", True]
    pressed = "return document.querySelector('[data-scale=log]').getAttribute('aria-pressed')"
    assert driver.run(pressed) == "true"
    choose(driver, "group", f"data {EVIL}")  # a depth of 0 has no logarithm
    assert driver.run(axes) == ["linear", "log", True]
    driver.click("[data-scale=linear]")
    assert driver.run(axes) == ["linear", "linear", True]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_button(driver, page, scheme):
    show(driver, page, scheme=scheme)
    look = """
        const rgb = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
        const text = document.querySelector('#depth .xtick text');
        const ink = getComputedStyle(text).fill.match(/\\d+/g).map(Number);
        return [rgb[0] < 128, ink[0] < 128]
    """
    dark = scheme == "dark"
    assert driver.run(look) == [dark, not dark]
    driver.click("#theme")
    assert driver.run(look) == [not dark, dark]
    driver.click("#theme")
    assert driver.run(look) == [dark, not dark]


def test_the_rows_are_shown_and_saved_as_they_are(driver, page, tmp_path):
    show(driver, page)
    rows = some_rows()
    shown = driver.run("return [...document.querySelectorAll('#rows tbody tr')].map(r => r.className)")
    assert shown == ["failed" if not row.ok else "" for row in rows]
    driver.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    driver.click("#download")
    end = time.monotonic() + 10
    while not (tmp_path / "memtrain.csv").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (tmp_path / "memtrain.csv").read_bytes() == rows_csv(rows).encode()


def test_the_page_says_what_each_role_is_and_why_forward_keeps_each_value(driver, page):
    show(driver, page, width=390)
    choose(driver, "cell", "depth 3, batch 64")
    key = """
        const entries = [...document.querySelectorAll('.key div')];
        return Object.fromEntries(entries.map(entry => [...entry.children].map(part => part.textContent)));
    """
    found = driver.run(key)
    assert found["transient"] == "arrays of one phase only, such as gradients of intermediates"
    assert list(found) == ["parameter", "gradient", "input", "retained", "transient", "workspace"]
    swatches = """
        const names = [...document.querySelectorAll('.key dt')];
        const colour = getComputedStyle(names[0], '::before').backgroundColor;
        return [colour, Math.max(...names.map(name => name.offsetHeight))];
    """
    colour, height = driver.run(swatches)
    assert colour == "rgb(72, 120, 176)"
    assert height < 30  # a swatch and its name stand in one line
    assert "legend" not in driver.run("return document.querySelector('#timeline .plot').innerHTML")
    kept = driver.run("return [...document.querySelectorAll('#kept tbody tr')].map(row => row.textContent)")
    assert [row.split("65,536")[0] for row in kept[:3]] == ["h1", "h2", "h3"]
    assert all("∂J/∂W" in row for row in kept[:3])


def test_a_page_can_open_with_a_given_cell(driver, tmp_path):
    rows = some_rows()
    path = tmp_path / "report.html"
    path.write_text(report_html(rows, opening_cell=rows[-1].cell))
    show(driver, path)
    assert caption(driver, "timeline").startswith("At depth 2, batch 8")
    assert driver.run("return document.getElementById('group').value") == "1"
    assert driver.run("return document.getElementById('cell').selectedOptions[0].text") == "depth 2, batch 8"


CONTRAST = """
    const rgba = text => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
    const light = colour => {
        const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = colour.map(c => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        for (; element; element = element.parentElement) {
            const colour = rgba(getComputedStyle(element).backgroundColor);
            if (colour[3] > 0) return colour;
        }
        return [255, 255, 255, 1];
    };
    const texts = "h1, h2, h3, p, td, th, dt, dd, code, select, button, figcaption, " +
        ".xtick text, .ytick text, .xtitle, .ytitle, .legendtext";
    const found = [...document.querySelectorAll(texts)].filter(one => one.textContent.trim()).map(one => {
        const style = getComputedStyle(one), svg = one instanceof SVGElement;
        const ink = light(rgba(svg ? style.fill : style.color)), paper = light(behind(one));
        return [(Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05), one.textContent];
    });
    return found.reduce((one, other) => one[0] < other[0] ? one : other);
"""
"""A script that gives the least contrast of any text with its background (WCAG 2), and this text."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_its_ground(driver, page, scheme):
    show(driver, page, scheme=scheme)
    contrast, text = driver.run(CONTRAST)
    assert contrast >= 4.5, text


def test_on_paper_the_page_is_light_and_nothing_is_cut_off(driver, page):
    show(driver, page, width=718, scheme="dark")
    driver.run("dispatchEvent(new Event('beforeprint'))")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    driver.command("Emulation.setEmulatedMedia", media="print", features=features)
    try:
        until(driver, "return document.querySelector('#depth .main-svg').clientWidth === 660")
        look = """
            const ink = getComputedStyle(document.querySelector('#depth .xtick text')).fill;
            const boxes = [...document.querySelectorAll('.scroll')].filter(box => box.clientWidth);
            const cut = boxes.filter(box => box.scrollHeight > box.clientHeight + 1 || box.scrollWidth > 718);
            const edges = [...document.querySelectorAll('figure')].map(f => f.getBoundingClientRect().left);
            return [ink, cut.length, Math.min(...edges), document.documentElement.scrollWidth];
        """
        ink, cut, left, width = driver.run(look)
        assert (ink, cut) == ("rgb(31, 41, 51)", 0)
        assert left >= 0
        assert width <= 718
    finally:
        driver.command("Emulation.setEmulatedMedia", media="", features=features)
    driver.run("dispatchEvent(new Event('afterprint'))")
    until(driver, "return document.querySelector('#depth .main-svg').clientWidth !== 660")
    assert driver.run("return document.documentElement.dataset.theme ?? null") is None


ANSWERS = {
    "explain": (
        ("--depth", "4", "--no-measure"),
        ["#plot-0 .scatterlayer .trace", "#plot-0 .key dt", "#plot-1 .barlayer .trace"],
    ),
    "frontier": (
        ("--memory", "1MiB", "--depth", "1,2", "--no-confirm"),
        ["#plot-0 .scatterlayer .trace"],
    ),
    "train": (("--epochs", "2"), ["#plot-0 .scatterlayer .trace"]),
    "compare": (("a.csv", "a.csv"), []),
}
"""Commands, their options, and what their pages draw beside sentences and tables."""


@pytest.mark.parametrize("command", ANSWERS)
def test_the_page_of_an_answer_begins_with_its_networks_and_fits_on_a_phone(driver, tmp_path, command):
    options, drawn = ANSWERS[command]
    (tmp_path / "a.csv").write_text(rows_csv(some_rows()[:4]))
    said = called(command, *options, "--html", "x.html", cwd=tmp_path)
    assert said.code == 0, said.err
    complaints(driver)
    show(driver, tmp_path / "x.html", width=390, scheme="dark", ready="#networks")
    assert driver.run("return document.getElementById('networks').textContent").startswith(
        "Multilayer perceptron"
    )
    for selector in drawn:
        until(driver, f"return document.querySelectorAll('{selector}').length")
    assert complaints(driver) == []
    first = driver.run("return document.querySelector('main > section').firstElementChild.tagName")
    assert first == ("H2" if command == "train" else "P")
    assert driver.run("return document.documentElement.scrollWidth") <= 390
    assert driver.run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
    contrast, text = driver.run(CONTRAST)
    assert contrast >= 4.5, text
    heights = """
        const words = [...document.querySelectorAll('td.text > div, .whole')];
        return words.filter(one => /^[a-z-]+$/.test(one.textContent)).map(one => one.offsetHeight);
    """
    assert max(driver.run(heights)) < 40  # no word is broken


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_screen_needs_no_scrolling_to_the_side(driver, page, width):
    show(driver, page, width=width)
    time.sleep(0.3)
    assert driver.run("return document.documentElement.scrollWidth") <= width
    widest = "return Math.max(...[...document.querySelectorAll('.main-svg')].map(s => s.clientWidth))"
    assert driver.run(widest) <= width


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_one_cell_in_one_mode_makes_a_whole_page(driver, tmp_path, mode):
    path = tmp_path / "report.html"
    path.write_text(report_html([predicted_row(cell_of(depth=0, batch=1), mode)]))
    complaints(driver)
    show(driver, path)
    assert complaints(driver) == []
    assert driver.run("return document.getElementById('ratio').hidden")
    assert "fits" not in driver.run("return [...document.querySelectorAll('figure')].map(f => f.id)")


@pytest.mark.parametrize(("width", "policy"), [(420, "budget:30KiB"), (1000, "none")])
def test_the_title_of_the_figure_in_python_and_its_legend_stand_apart(driver, tmp_path, width, policy):
    path = tmp_path / "figure.html"
    cell = cell_of(depth=3, width=16, batch=64, optimizer="adam", policy=policy, cost="flops")
    path.write_text(timeline_figure(cell).update_layout(width=width).to_html(include_plotlyjs=True))
    driver.open(path)
    until(driver, "return document.querySelectorAll('.legend .traces').length > 0")
    boxes = """
        return ['.gtitle', '.legend', '.annotation, .xtitle, .x2title'].map(name =>
            [...document.querySelectorAll(name)].map(found => {
                const {left, top, right, bottom} = found.getBoundingClientRect();
                return [left, top, right, bottom];
            }));
    """
    (title,), (legend,), others = driver.run(boxes)
    for one, group in ((title, [legend, *others]), (legend, others)):
        for other in group:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]

"""The page in a real browser: it asks for nothing, runs nothing but its own, and counts right."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ablab.report.table.paired import paired_difference
from ablab.report.write import write_reports
from tests.ablab.report import browser
from tests.ablab.report.browser import Browser
from tests.ablab.report.plan_folders import Metrics, table_of, write_job, write_plan

pytestmark = [
    pytest.mark.slow,  # they start a browser
    pytest.mark.skipif(
        browser.missing() is not None,
        reason=f"there is no {browser.missing()}; on Debian: apt install chromium chromium-driver",
    ),
]
EVIL = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
VARIANTS = ["none", "l2", EVIL, "lone"]


def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
    if variant == "lone" and seed:
        return "failed"
    own = VARIANTS.index(str(variant))
    noise = math.sin(37.0 * (seed + 1) * (own + 2)) / 40
    return {"rmse": 0.9 + own / 100 + noise + 1e6 * (settings["optim.lr"] == 9), "mae": noise}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser.started(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_plan(
        tmp_path_factory.mktemp("plans") / "p",
        result,
        variants=VARIANTS,
        grid=[{"optim.lr": lr} for lr in (0.1, 0.03, 9)],
        seeds=range(5),
        metrics=["test/rmse", "test/mae"],
        name=EVIL,
        claim=EVIL,
        baseline={"variant": "none"},
    )
    write_reports(folder)
    return folder


def cells(chromium: Browser, kind: str) -> list[list[dict[str, Any]]]:
    """Return the cells of a kind, row by row as they stand, each with its text and data."""
    return chromium.run(
        "return [...document.querySelectorAll('table.rows tbody tr')].filter(r => !r.hidden).map("
        "r => [...r.querySelectorAll('td.' + arguments[0])].map("
        "c => ({row: +r.dataset.row, text: c.textContent, ...c.dataset})))",
        kind,
    )


def click(chromium: Browser, selector: str) -> None:
    chromium.run("document.querySelector(arguments[0]).click()", selector)


def test_a_click_makes_any_row_the_baseline_as_python_would(
    chromium: Browser, folder: Path
) -> None:
    chromium.open(folder / "report.html")
    before = cells(chromium, "difference")
    rows = table_of(folder).rows
    for chosen in (9, 4):
        click(chromium, f"tr[data-row='{chosen}']")
        found = cells(chromium, "difference")
        for index, row in enumerate(rows):
            for metric, cell in zip(("test/rmse", "test/mae"), found[index], strict=True):
                if index == chosen:
                    assert cell["text"] == "baseline"
                    continue
                expected = paired_difference(row.per_seed[metric], rows[chosen].per_seed[metric])
                assert expected is not None
                for item in ("mean", "low", "high"):
                    wanted = getattr(expected, item)
                    same = pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True)
                    assert float(cell[item]) == same
    runs = chromium.run("return [...document.querySelectorAll('#runs a')].map(a => a.href)")
    assert [link.startswith(folder.as_uri()) for link in runs] == [True] * 5
    of_seeds = "return [...document.querySelectorAll('.seed title')].map(t => t.textContent)"
    tips = chromium.run(of_seeds)
    assert any("seed 3" in tip and "optim.lr 0.03" in tip and "_seed3" in tip for tip in tips)
    click(chromium, "tr[data-row='4']")  # again: as the plan has it
    assert cells(chromium, "difference") == before


def test_intervals_are_right_for_any_number_of_seeds(chromium: Browser, tmp_path: Path) -> None:
    def many(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        return {"rmse": math.sin(seed * seed + len(str(variant))) * 10.0 ** len(str(variant))}

    for n in (2, 3, 40):
        made = write_plan(tmp_path / str(n), many, variants=["a", "bcd", "none12"], seeds=range(n))
        write_reports(made)
        chromium.open(made / "report.html")
        hidden = "return getComputedStyle(document.querySelector('td.difference')).display"
        assert chromium.run(hidden) == "none"
        click(chromium, "tr[data-row='0']")
        rows = table_of(made).rows
        for index in (1, 2):
            expected = paired_difference(
                rows[index].per_seed["test/rmse"], rows[0].per_seed["test/rmse"]
            )
            assert expected is not None
            ((cell,),) = (row for row in cells(chromium, "difference") if row[0]["row"] == index)
            for item in ("mean", "low", "high"):
                assert float(cell[item]) == pytest.approx(getattr(expected, item), rel=1e-9)


def test_it_sorts_and_filters(chromium: Browser, folder: Path) -> None:
    chromium.open(folder / "report.html")
    means = [row.metrics["test/rmse"].mean for row in table_of(folder).rows]
    for sign in (1, -1):
        click(chromium, "th[data-metric='test/rmse'] button")
        order = [row[0]["row"] for row in cells(chromium, "metric")]
        assert order == sorted(range(12), key=lambda index: sign * means[index])
    filtering = (
        "const f = document.getElementById('filter'); f.value = arguments[0];"
        "f.dispatchEvent(new Event('input'))"
    )
    chromium.run(filtering, "l2 0.03")
    assert [row[0]["row"] for row in cells(chromium, "metric")] == [4]


def test_a_brush_on_an_axis_keeps_its_rows_in_table_and_pictures(
    chromium: Browser, folder: Path
) -> None:
    chromium.open(folder / "report.html")
    chromium.log("browser")
    find = (
        "const r = document.querySelector(`.area[data-axis='${arguments[0]}']`);"
        "r.scrollIntoView({block: 'center'}); const b = r.getBoundingClientRect();"
        "return [b.x + b.width / 2, b.y, b.height]"
    )
    drawn = (
        "return [...document.querySelectorAll('figure img')].map(i => decodeURIComponent(i.src))"
    )
    plain = chromium.run(drawn)
    x, top, height = chromium.run(find, "optim.lr")  # its values, from above: 9, 0.1, 0.03
    chromium.drag(x, top + 0.4 * height, top + 0.99 * height)
    rows = table_of(folder).rows
    of_rate = [i for i, row in enumerate(rows) if dict(row.variant)["optim.lr"] != "9"]
    assert [row[0]["row"] for row in cells(chromium, "metric")] == of_rate
    assert chromium.run("return document.getElementById('left').textContent") == "8 of 12 rows"
    seeds = sum(len(rows[index].per_seed["test/rmse"]) for index in of_rate)
    assert chromium.run("return document.querySelectorAll('#explore .seed').length") == seeds
    faded = [text for text in chromium.run(drawn) if 'opacity="0.08"' in text]
    assert faded
    assert all('id="rows-2.dots" opacity="0.08"' in t for t in faded if "rows-2.dots" in t)
    assert not any('id="rows-1.dots" opacity="0.08"' in text for text in faded)
    assert chromium.run("return document.querySelectorAll('#parallel .row.off').length") == 4
    chromium.drag(x, top + 0.4 * height, top + 0.4 * height)  # a click keeps all again
    assert len(cells(chromium, "metric")) == 12
    assert chromium.run(drawn) == plain
    chromium.run("document.querySelector(`.area[data-axis='optim.lr']`).focus()")
    for name in ("ArrowDown", "ArrowDown"):  # without a mouse: from the first value to the next
        chromium.command("Input.dispatchKeyEvent", type="keyDown", key=name)
    assert len(cells(chromium, "metric")) == 4
    assert chromium.log("browser") == []


def test_a_watched_page_shows_its_newest_version(chromium: Browser, tmp_path: Path) -> None:
    made = write_plan(tmp_path / "p", lambda *_: "missing", variants=["a", "b"])
    write_reports(made)
    chromium.open(made / "report.html", "#watch")
    for name in ("a", "b"):
        for seed in range(3):
            write_job(made / f"{name}_seed{seed}", name, {}, seed, {"rmse": 0.5 + seed})
    write_reports(made)
    deadline = time.monotonic() + 20
    done = "return document.querySelector('td.metric').textContent.startsWith('1.5')"
    while not chromium.run(done):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_it_asks_for_nothing_and_runs_no_name(chromium: Browser, folder: Path) -> None:
    chromium.log("performance")
    chromium.log("browser")
    chromium.open(folder / "report.html")
    click(chromium, "tr[data-row='7']")
    asked = [url for url in chromium.requests() if not url.startswith("data:image/svg+xml")]
    assert asked == [(folder / "report.html").as_uri()]
    assert chromium.log("browser") == []
    assert chromium.run("return document.title") == EVIL
    assert chromium.run("return document.querySelectorAll('script').length") == 2
    # What the policy forbids: another script, an inline handler, a request.
    chromium.run(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1';"
        "document.body.append(s); const i = new Image(); i.src = 'https://example.com/pixel.png';"
        "fetch('https://example.com/').catch(() => 0)"
    )
    assert chromium.run("return document.title") == EVIL
    blocked = json.dumps(chromium.log("browser"))
    assert blocked.count("violates the following Content Security Policy") >= 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(chromium: Browser, folder: Path, scheme: str) -> None:
    chromium.open(folder / "report.html")
    chromium.shape(390, 800, scheme)
    wide = "return document.documentElement.scrollWidth"
    assert chromium.run(wide) <= 390
    chromium.run("document.querySelector('table.rows').parentElement.scrollLeft = 300")
    left = "return document.querySelector('table.rows td').getBoundingClientRect().left"
    assert 0 <= chromium.run(left) <= 20
    ink = chromium.run("return getComputedStyle(document.body).color")
    assert (ink == "rgb(238, 238, 238)") == (scheme == "dark")
    corner = chromium.run(
        "const c = document.createElement('canvas').getContext('2d');"
        "c.drawImage(document.querySelector('figure img'), 0, 0);"
        "return [...c.getImageData(1, 1, 1, 1).data]"
    )
    assert (corner[0] < 50) == (scheme == "dark")  # the paper of a picture
    chromium.shape(1400, 900)

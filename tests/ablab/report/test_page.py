"""The HTML page: whole in itself, harmless whatever names hold, and there for any plan."""

import base64
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablab.report import write_reports
from ablab.report.__main__ import main
from ablab.report.pictures import scatter
from ablab.report.pictures.choice import candidates
from ablab.report.pictures.heat_map import heat_maps
from ablab.report.pictures.learning_curves import mean_curve
from ablab.report.pictures.picture import PAGE, shortened
from ablab.report.pictures.style import is_geometric
from ablab.runs.history import FILE_NAME
from tests.ablab.report.plan_folders import Metrics, table_of, write_plan

GRID = [{"optim.lr": lr, "optim.decay": decay} for lr in (0.01, 0.1, 1.0) for decay in (0, 1, 2)]


class Page(HTMLParser):
    """What a browser would make of a page: tags, the words of cells and headings, pictures."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.sources: list[str] = []
        self.html = (folder / "report.html").read_text()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    @property
    def pictures(self) -> list[str]:
        """The SVG of those that matplotlib has drawn, in which words are text."""
        found = re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", self.html)
        return [base64.b64decode(text).decode() for text in found]


def page_of(folder: Path) -> Page:
    write_reports(folder)
    page = Page(folder)
    for picture in page.pictures:
        ET.fromstring(picture)  # it is well-formed
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert not {"link", "iframe", "object"} & set(page.tags)
    assert page.tags.count("script") == 2  # the data and ours
    return page


def rmse(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
    return {"rmse": 0.9 + 0.01 * seed + sum(settings.values()) / 100 + len(variant or "") / 1000}


def add_histories(folder: Path, column: str) -> None:
    for number, record in enumerate(folder.rglob("run.json")):
        lines = [f"{step},{1 / step + number / 1000}" for step in (10, 20, 30)]
        (record.parent / FILE_NAME).write_text("\n".join([f"step,{column}", *lines, ""]))


def test_a_page_holds_table_notes_failures_and_pictures(tmp_path: Path) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        return "failed" if (variant, seed) == ("l2", 2) else rmse(variant, settings, seed)

    folder = write_plan(
        tmp_path / "p",
        result,
        variants=["none", "l2", "long"],
        baseline={"variant": "none"},
        claim="Decay helps.",
    )
    add_histories(folder, "val/rmse")
    page = page_of(folder)
    assert {"weight_decay", "Decay helps.", "l2", "baseline"} <= set(page.words)
    assert "0.9140 ± 0.0100 (3)" in page.words
    assert "2 of 3: 1 failed" in page.words
    assert "TrainingError: the loss is nan" in page.words
    assert str(folder / "l2_seed2" / "run.log") in page.words
    assert "each dot is a seed" in page.html.lower()
    strip, curves = page.pictures
    assert all(">none</text>" in picture for picture in (strip, curves))
    assert ">optimiser steps</text>" in curves
    assert ">val/rmse</text>" in curves
    first = page.html
    assert page_of(folder).html == first  # the same records, the same file


def test_the_pictures_of_a_page_can_be_had_for_a_paper(tmp_path: Path) -> None:
    baseline = {"variant": "none"}
    folder = write_plan(tmp_path / "p", rmse, variants=["none", "l2"], baseline=baseline)
    add_histories(folder, "val/rmse")
    target = tmp_path / "new" / "folder"
    assert main([str(folder), "--figures", str(target), "--width", "4"]) == 0
    names = ["Differences_in_test_rmse", "Learning_curves", "test_rmse_of_each_seed"]
    assert sorted(path.name for path in target.iterdir()) == sorted(
        f"{name}.{ending}" for name in names for ending in ("pdf", "svg")
    )
    for name in names:
        svg = (target / f"{name}.svg").read_text()
        assert 'width="288pt"' in svg  # four inches
        assert ">l2</text>" in svg
        assert b"/Type0" in (target / f"{name}.pdf").read_bytes()  # letters, not shapes
    with pytest.raises(SystemExit) as ended:
        main([str(folder), "--figures", str(target), "--width", "0.1"])
    assert ended.value.code == 2


def test_what_names_hold_is_never_run(tmp_path: Path) -> None:
    evil = ["<script>alert(1)</script>", "$x_1^{", '"><img src=x onerror=alert(1)>', "日本", "a\nb"]
    folder = write_plan(
        tmp_path / "p", rmse, variants=evil, baseline={"variant": evil[0]}, name="<b>evil</b>"
    )
    page = page_of(folder)
    assert "img" not in page.tags[: page.tags.index("figure")]
    assert set(evil) <= set(page.words)
    assert page.html.count("<script") == page.html.count("</script") == 2
    assert all("<script" not in picture for picture in page.pictures)


@pytest.mark.parametrize(
    ("plan", "pictures"),
    [
        ({"variants": []}, 0),
        ({"seeds": [0]}, 1),  # one run: how it learned
        ({"grid": [{"optim.lr": lr} for lr in (0.1, 0.2)], "seeds": [0]}, 2),
        ({"grid": GRID}, 3),
        ({"grid": GRID, "variants": ["none", "l2"], "baseline": {"variant": "none"}}, 3),
        ({"variants": [f"v{i}" for i in range(40)], "seeds": [0, 1]}, 2),
        (
            {
                "grid": [{"optim.lr": 0.1, "data.split": s} for s in (1, 2)],
                "average": ["data.split"],
            },
            3,
        ),
    ],
    ids=["empty", "one run", "plain sweep", "grid", "variants on a grid", "many", "averaged"],
)
def test_any_plan_has_a_page(plan: dict[str, Any], pictures: int, tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", rmse, **plan)
    add_histories(folder, "train/loss")
    assert len(page_of(folder).pictures) == pictures


@pytest.mark.parametrize("end", ["failed", "missing", "planned", {"rmse": float("nan")}])
def test_a_plan_without_results_has_a_page(end: Metrics, tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", lambda *_: end, grid=GRID, variants=["none", "l2"])
    assert page_of(folder).pictures == []


def test_many_variants_leave_the_best_in_a_picture(tmp_path: Path) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        return {"rmse": float(str(variant)[1:]) + seed / 10}

    names = [f"v{i}" for i in range(100)]
    folder = write_plan(
        tmp_path / "p", result, variants=names, seeds=[0, 1], baseline={"variant": "v99"}
    )
    add_histories(folder, "val/rmse")
    strip, curves = page_of(folder).pictures

    def shown(picture: str) -> set[str]:
        return set(re.findall(r">(v\d+)</text>", picture))

    assert shown(strip) == {*names[:11], "v99"}
    assert shown(curves) == {*names[:6], *names[-6:]}


def test_a_grid_leaves_each_variant_at_its_best(tmp_path: Path) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        best = 0.1 if variant == "none" else 1.0
        if (variant, settings["optim.lr"], seed) == ("l2", 0.01, 1):
            return "failed"  # so that its better mean does not count
        distance = abs(settings["optim.lr"] - best) + settings["optim.decay"]
        return {"rmse": 0.0 if settings["optim.lr"] == 0.01 and variant == "l2" else distance}

    folder = write_plan(tmp_path / "p", result, grid=GRID, variants=["none", "l2"])
    table = table_of(folder)
    # at lr 0.01 l2's rows lack a seed
    chosen, told = candidates(table, "test/rmse", range(len(table.rows)))
    assert [table.rows[index].variant for index in chosen] == [
        (("variant", "none"), ("optim.lr", "0.1"), ("optim.decay", "0")),
        (("variant", "l2"), ("optim.lr", "1.0"), ("optim.decay", "0")),
    ]
    assert "2 variants" in told
    assert candidates(table, "test/rmse", [4, 5]) == ([4, 5], "")


def test_a_heat_map_marks_the_best_of_each_column(tmp_path: Path) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        best = {0.01: 0, 0.1: 1, 1.0: 2}[settings["optim.lr"]]
        return {"rmse": abs(settings["optim.decay"] - best) + settings["optim.lr"]}

    table = table_of(write_plan(tmp_path / "p", result, grid=GRID))
    picture = heat_maps(table, "test/rmse", PAGE)
    assert picture is not None
    dots = re.findall(r'<use [^>]*y="([\d.]+)" style="fill: #ffffff; stroke', picture.svg.decode())
    heights = [float(height) for height in dots]
    assert heights == sorted(heights, reverse=True)  # the best decay grows with the rate
    assert len(set(heights)) == 3


def test_a_curve_ends_where_most_runs_have() -> None:
    steps, mean, std = mean_curve([{1: 1.0, 2: 3.0, 3: 9.0}, {1: 3.0, 2: 5.0}, {1: 5.0}, {}])
    assert steps.tolist() == [1, 2]
    assert mean.tolist() == [3.0, 4.0]
    assert std.tolist() == pytest.approx([2.0, np.sqrt(2)])
    assert mean_curve([{}])[0].tolist() == []
    assert mean_curve([{1: float("nan"), 2: 1.0}])[0].tolist() == [2]


@pytest.mark.parametrize(
    ("values", "geometric"),
    [
        ([1e-4, 1e-3, 1e-2], True),
        ([1e-4, 3e-4, 1e-3, 3e-3], True),
        ([0.1, 0.2, 0.3, 0.4], False),
        ([0.0, 1e-3, 1e-2], False),
        ([1.0, 2.0], False),
    ],
)
def test_an_axis_is_logarithmic_where_its_values_are(values: list[float], geometric: bool) -> None:
    assert is_geometric(values) == geometric


def test_a_long_name_loses_its_middle() -> None:
    assert shortened("short") == "short"
    assert shortened("") == "all"
    name = shortened("begin" + "x" * 100 + "end")
    assert (len(name), name[:5], name[-3:]) == (44, "begin", "end")


def test_a_page_needs_no_window_system(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=["none", "l2"])
    warnings = ["-W", "error", "-W", "ignore::DeprecationWarning"]  # matplotlib's of pyparsing
    done = subprocess.run(
        [sys.executable, *warnings, "-m", "ablab.report", str(folder), "--output", "page.html"],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_points_on_no_grid_are_dots_over_each_axis(tmp_path: Path) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        return {"rmse": settings["optim.lr"] ** 2} if settings["optim.lr"] < 0.05 else "failed"

    drawn = [{"optim.lr": 0.001 * 1.7**i, "optim.decay": (i * 5) % 8} for i in range(8)]
    scattered = page_of(write_plan(tmp_path / "scattered", result, grid=drawn, seeds=(0,)))
    assert "test/rmse over optim.lr, optim.decay" in scattered.words
    assert "test/rmse over optim.lr and optim.decay" not in scattered.words
    (picture,) = [p for p in scattered.pictures if "row of the table" in p]
    assert ">0.01</text>" in picture  # a logarithmic axis, with plain numbers
    grid = page_of(write_plan(tmp_path / "grid", lambda *_: {"rmse": 1.0}, grid=GRID))
    assert not [p for p in grid.pictures if "row of the table" in p]


@pytest.mark.parametrize(("direction", "ringed"), [("min", [[1.0, 1.0]]), (None, [])])
def test_a_ring_is_around_the_best_of_the_rows_that_have_all_seeds(
    direction: str | None, ringed: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = [{"optim.lr": i, "optim.decay": (i * 5) % 8} for i in range(8)]

    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        failed = settings["optim.lr"] == 0 and seed == 1
        return "failed" if failed else {"rmse": float(settings["optim.lr"])}

    table = table_of(write_plan(tmp_path / "p", result, grid=drawn, seeds=(0, 1)))
    table = replace(table, directions={"test/rmse": direction} if direction else {})
    monkeypatch.setattr(scatter, "drawn", lambda title, caption, figure: (caption, figure))
    caption, figure = scatter.scatters(table, "test/rmse", PAGE)  # pyright: ignore
    rings = [c for c in figure.axes[0].collections if c.get_sizes().tolist() == [90.0]]
    assert [ring.get_offsets().tolist() for ring in rings] == [ringed]
    assert ("the best has a ring" in caption) == bool(ringed)


def test_a_page_of_a_hundred_runs_is_small(tmp_path: Path) -> None:
    variants = [f"variant_{number}" for number in range(20)]
    folder = write_plan(
        tmp_path / "p", rmse, variants=variants, seeds=range(5), baseline={"variant": "variant_0"}
    )
    add_histories(folder, "val/rmse")
    assert len(page_of(folder).html) <= 250_000

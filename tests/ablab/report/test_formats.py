"""The forms of a report: numbers that are the same each time, names escaped, files and widths."""

import csv
import io
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from ablab.errors import RunFolderError
from ablab.report import plan_numbers, write_tables
from ablab.report.__main__ import main
from ablab.report.forms.cells import short_keys
from ablab.report.forms.terminal import terminal
from tests.ablab.report.plan_folders import (
    LEVEL,
    Metrics,
    cells,
    change,
    rmse,
    table_of,
    write_plan,
)


def test_the_numbers_are_tidy_and_the_same_each_time(tmp_path: Path) -> None:
    first, second = (
        write_plan(tmp_path / name, rmse, variants=list(LEVEL), baseline={"variant": "none"})
        for name in ("first", "second")
    )
    change(second / "l2_seed0", seconds={"total": 99.0})
    for folder in (first, second):
        write_tables(folder)

    def rows(folder: Path) -> list[dict[str, str]]:
        text = (folder / "report.csv").read_text()
        return [
            {k: v for k, v in row.items() if not k.startswith(("seconds", "hours"))}
            for row in csv.DictReader(io.StringIO(text))
        ]

    assert rows(first) == rows(second)
    assert len(rows(first)) == 3
    row = rows(first)[1]
    assert (row["variant"], row["metric"], row["n"], row["best"]) == ("l2", "test/rmse", "3", "0")
    assert float(row["mean"]) == pytest.approx(0.93)
    assert float(row["difference"]) == pytest.approx(-0.03)
    columns, lines = plan_numbers(first)
    assert list(rows(first)[0]) == columns[:-3]
    assert all(len(line) == len(columns) for line in lines)
    assert not any(isinstance(x, float) and math.isnan(x) for line in lines for x in line)


def test_names_are_escaped(tmp_path: Path) -> None:
    name = r"a_b & 50% $x$ #1 {c} ~d ^e \f |g| *h* <b>"
    folder = write_plan(
        tmp_path / "p", lambda *_: {"rmse": 1.0}, variants=[name, "[red]b[/red]"], seeds=[0]
    )
    write_tables(folder)
    tex = (folder / "report.tex").read_text()
    assert (
        r"a\_b \& 50\% \$x\$ \#1 \{c\} \textasciitilde{}d \textasciicircum{}e \textbackslash{}f "
        r"|g| *h* \textless{}b\textgreater{} & \textbf{1.0000} \\"
    ) in tex
    lines = (folder / "report.md").read_text().splitlines()
    assert any(
        line.startswith(r"| a_b & 50% $x$ #1 {c} ~d ^e \\f \|g\| \*h\* &lt;b> | **1.0000 (1)** |")
        for line in lines
    )
    assert "[red]b[/red]" in shown(folder)


def shown(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ablab.report", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("end", ["missing", "failed", "planned", {"rmse": math.nan}, {}])
@pytest.mark.parametrize("metrics", [[], ["test/rmse"]])
def test_a_plan_without_results_has_a_report(
    end: Metrics, metrics: list[str], tmp_path: Path
) -> None:
    folder = write_plan(
        tmp_path / "p",
        lambda *_: end,
        variants=["none", "l2"],
        baseline={"variant": "none"},
        metrics=metrics,
    )
    write_tables(folder)
    named = {line.split(",")[0] for line in (folder / "report.csv").read_text().splitlines()[1:]}
    assert named == {"none", "l2"}


def test_an_empty_plan_and_a_damaged_record_have_a_report(tmp_path: Path) -> None:
    empty = write_plan(tmp_path / "empty", rmse, variants=[], baseline={"variant": "none"})
    write_tables(empty)
    folder = write_plan(tmp_path / "p", rmse, variants=["none"])
    (folder / "none_seed1" / "run.json").write_text("{")
    assert cells(table_of(folder), "runs") == ("2 of 3: 1 unreadable",)
    (folder / "plan.json").write_text('{"name": "x"}')
    with pytest.raises(RunFolderError, match=r"plan\.json: is not a plan \(baseline: Field"):
        write_tables(folder)


def lines_of(folder: Path, width: int | None) -> list[str]:
    console = Console(width=width or 300)
    with console.capture() as captured:
        console.print(terminal(table_of(folder), width=width))
    return [line.rstrip() for line in captured.get().splitlines() if line.strip()]


def test_what_does_not_fit_is_left_out_and_named(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=list(LEVEL), baseline={"variant": "none"})
    whole = lines_of(folder, None)
    (rule,) = (line for line in whole if "─" in line)
    needed = len(rule) + 1
    assert lines_of(folder, needed) == whole
    narrower = lines_of(folder, needed - 1)
    assert re.fullmatch(r" +test/rmse ↓ +Δ test/rmse", narrower[1])
    assert re.fullmatch(r"  variant +n = 3 +\[95 %\] +runs +s / run +hours", narrower[2])
    assert "(3)" not in "".join(narrower)
    assert lines_of(folder, 80)[-1] == "too narrow for: hours"
    told = " ".join(lines_of(folder, 55))
    assert told.endswith("too narrow for: Δ test/rmse [95 %], runs, s / run, hours")
    assert len(lines_of(folder, 55)) == len(narrower) + 2  # the last line is folded, and no cell


def test_lines_of_a_pipe_end_with_their_last_letter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=list(LEVEL), baseline={"variant": "none"})
    assert main([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 8
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize(("width", "metrics"), [(80, ["rmse"]), (100, ["rmse", "mae"])])
def test_the_difference_of_the_first_metric_stays(
    width: int, metrics: list[str], tmp_path: Path
) -> None:
    folder = write_plan(
        tmp_path / "p",
        lambda variant, _, seed: {"rmse": LEVEL[variant or ""] + 0.01 * seed, "mae": 0.5},
        variants=list(LEVEL),
        grid=[{"optim.lr": 0.001, "optim.weight_decay.value": 0.1}],
        metrics=["test/rmse", "test/mae"],
        baseline={"variant": "none"},
    )
    shown = lines_of(folder, width)
    assert max(map(len, shown)) <= width
    assert re.search(r"Δ test/rmse", shown[1])
    assert re.search(r"variant +lr +weight_decay +.*\[95 %\]", shown[2])
    assert any(re.search(r"-0\.0300 \[-0\.\d{4}, -0\.\d{4}\]", line) for line in shown)
    named = {"rmse", "mae"} & set(re.findall(r"(?<!Δ )test/(\w+)", shown[1]))
    assert named == set(metrics)
    assert "Δ test/mae [95 %]" in " ".join(shown)


def test_a_key_is_as_short_as_it_can_be() -> None:
    keys = ["variant", "optim.lr", "phases.head.lr", "optim.weight_decay.value", "model.layers"]
    short = ["variant", "optim.lr", "head.lr", "weight_decay", "layers"]
    assert list(short_keys(keys).values()) == short
    both = short_keys(["optim.weight_decay.value", "optim.weight_decay.mode"])
    assert list(both.values()) == ["weight_decay", "weight_decay.mode"]


@pytest.mark.parametrize("ending", ["md", "csv", "tex", "txt"])
def test_the_ending_of_a_file_says_its_format(ending: str, tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=list(LEVEL))
    output = tmp_path / f"report.{ending}"
    assert main([str(folder), "--output", str(output)]) == 0
    write_tables(folder)
    if ending == "txt":
        assert "decoupled" in output.read_text()
    else:
        assert output.read_text() == (folder / f"report.{ending}").read_text()


def test_no_text_becomes_a_link_in_markdown(tmp_path: Path) -> None:
    link = "[see](https://elsewhere) ![x](https://pixel) [y]: https://elsewhere"
    names = ["none", link]
    result = {"rmse": 1.0}
    baseline = {"variant": "none"}
    folder = write_plan(
        tmp_path / "p", lambda *_: result, variants=names, baseline=baseline, claim=link
    )
    write_tables(folder)
    text = (folder / "report.md").read_text().replace("](report.svg)", "")  # its own picture
    assert r"[see\](https://elsewhere) ![x\](https://pixel) [y\]: https://elsewhere" in text
    assert re.search(r"(?<!\\)\][(:]", text) is None
    assert "[95 %]" in text


@pytest.mark.parametrize(
    "baseline", ["optim.betas=[0.9, 0.999],seed_of=1", "seed_of=1.0, optim.betas=[9e-1,0.999]"]
)
def test_a_baseline_may_hold_a_list(
    baseline: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = [{"optim.betas": betas, "seed_of": 1} for betas in ([0.9, 0.99], [0.9, 0.999])]
    folder = write_plan(tmp_path / "p", lambda *_: {"rmse": 1.0}, grid=grid)
    assert main([str(folder), "--format", "csv", "--baseline", baseline]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["baseline"] for row in rows] == ["optim.betas=[0.9, 0.999] seed_of=1"] * 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--baseline", "variant=l3"],
            "--baseline: 'variant=l3' is none of the rows:\nvari",
        ),
        (["--baseline", "optm.lr=1"], "--baseline: 'optm.lr=1' is none of the rows"),
        (["--baseline", "l2"], "--baseline should be KEY=VALUE,…, not 'l2'"),
        (["--average", "variant"], "cannot average over 'variant', which is no axis of the plan"),
        (["--metric", "test/rmsee"], "no run has measured 'test/rmsee'; did you mean 'test/rmse'"),
        (["--output", "/none/x.md"], "/none/x.md: cannot be written"),
        (["--output", "x.htm"], "--output: no format has the ending '.htm' of x.htm; take one of"),
    ],
)
def test_what_cannot_be_had_is_told_in_a_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=list(LEVEL))
    assert main([str(folder), *arguments]) == 2
    assert f"error: {told}" in capsys.readouterr().err


def test_importing_it_imports_nothing_slow() -> None:
    script = (
        "import sys, ablab.report, ablab.report.table.collect, ablab.report.table.tables\n"
        "print([m for m in ('numpy', 'scipy', 'matplotlib', 'jinja2', 'rich', 'torch', 'lightning')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"

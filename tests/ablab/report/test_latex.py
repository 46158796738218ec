"""Tables for a paper: what stands in them, and that LaTeX sets them within an article's width."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ablab.report.__main__ import main
from tests.ablab.report.plan_folders import Metrics, write_plan

EVIL = r"a_b & 50% $x$ #1 {c} ~d ^e \f [g] <h>"


def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
    level = 0.9 - 0.01 * len(str(variant)) + 0.003 * ((seed * 7) % 5) + sum(settings.values()) / 10
    return {"rmse": level, "mae": level / 2, "accuracy": 1 - level}


def plan(folder: Path, variants: list[str], **more: Any) -> Path:
    metrics = ["test/rmse", "test/mae", "test/accuracy"]
    baseline = {"variant": variants[0]}
    return write_plan(folder, result, variants=variants, metrics=metrics, baseline=baseline, **more)


def latex(folder: Path, *words: str) -> str:
    assert main([str(folder), "--output", str(folder / "table.tex"), *words]) == 0
    return (folder / "table.tex").read_text()


def test_what_is_asked_for_stands_in_it(tmp_path: Path) -> None:
    folder = plan(tmp_path / "p", ["none", "decoupled"])
    columns = ["--columns", "variant,test/accuracy,Δ test/accuracy"]
    text = latex(folder, *columns, "--digits", "1", "--percent", "--label", "tab:a")
    assert "variant & test/accuracy $\\uparrow$ & $\\Delta$ test/accuracy" in text
    assert "none & 13.4 $\\pm$ 0.6 & baseline" in text
    assert "\\label{tab:a}" in text
    assert "over 3 seeds; in percent;" in text
    reverse = latex(folder, "--baseline", "variant=decoupled", "--columns", "Δ test/accuracy")
    assert "$-$0.0500 {[}$-$0.0500, $-$0.0500]" in reverse
    assert "s / run" not in latex(folder)


def test_a_row_that_lacks_a_seed_keeps_its_count(tmp_path: Path) -> None:
    def one_failed(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        return "failed" if (variant, seed) == ("l2", 1) else result(variant, settings, seed)

    folder = write_plan(tmp_path / "p", one_failed, variants=["none", "l2"])
    text = latex(folder, "--label", "tab:a")
    assert "(2 of 3)" in text
    assert "over 3 seeds" not in text
    assert "2 of 3: 1 failed" in text


def test_settings_have_headings_that_tell_them_apart(tmp_path: Path) -> None:
    grid = [{"optim.decay.value": x, "data.noise.value": y} for x in (0, 1) for y in (0, 1)]
    text = latex(plan(tmp_path / "p", ["none"], grid=grid), "--columns", ",".join(grid[0]))
    assert "\ndecay & noise \\\\\n" in text


def test_the_caption_explains_what_the_table_has(tmp_path: Path) -> None:
    folder = plan(tmp_path / "p", ["none", "l2"])
    assert "is the paired difference" in latex(folder, "--label", "tab:a")
    text = latex(folder, "--label", "tab:a", "--columns", "variant")
    assert r"\caption{weight\_decay: mean $\pm$ standard deviation over 3 seeds.}" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--format", "latex", "--columns", "test/rmsee"], "did you mean 'test/rmse'?"),
        (["--format", "markdown", "--percent"], "--percent and --label need --format latex"),
    ],
)
def test_what_cannot_be_had_is_told(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(plan(tmp_path / "p", ["none", "l2"])), *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow  # it starts LaTeX
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_latex_sets_tables_and_figures_within_the_width_of_an_article(tmp_path: Path) -> None:
    grid = [
        {"optim.lr": lr, "optim.weight_decay.value": wd} for lr in (1e-3, 1e-2) for wd in (0, 1)
    ]
    plans = {
        "wide": (plan(tmp_path / "wide", ["none", "decoupled", "adam_longer"], grid=grid), ()),
        "evil": (plan(tmp_path / "evil", ["none", EVIL]), ()),
        "float": (plan(tmp_path / "float", ["none", "l2"]), ("--label", "tab:f", "--percent")),
        "long": (plan(tmp_path / "long", [f"v{i}" for i in range(60)]), ("--label", "tab:l")),
        "seeds": (plan(tmp_path / "seeds", ["none", "l2"], seeds=[0]), ()),
    }
    tables = [latex(folder, *words) for folder, words in plans.values()]
    assert main([str(plans["wide"][0]), "--figures", str(tmp_path / "figures")]) == 0
    figures = sorted((tmp_path / "figures").glob("*.pdf"))
    assert len(figures) > 3
    text = "\n\n".join(f"Text.\n\n\\noindent\n{table}" for table in tables)
    for figure in figures:  # in a column as wide as the figures are asked to be
        text += f"\n\n\\noindent\\parbox{{3.25in}}{{\\includegraphics{{figures/{figure.name}}}}}"
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs,longtable,graphicx}\n"
        f"\\begin{{document}}\n{text}\n\\end{{document}}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert re.findall(r"Overfull.*", done.stdout) == []
    # A table of several pages defines its label on the first.
    assert (tmp_path / "paper.aux").read_text().count(r"\newlabel{tab:l}") == 1

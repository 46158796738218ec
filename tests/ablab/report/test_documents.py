"""Reports for programs: JSON that its published schema describes, whatever became of the runs."""

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ablab import __main__ as ablab
from tests.ablab.report.plan_folders import LEVEL, Metrics, rmse, write_job, write_plan

SCHEMAS = Path(__file__).resolve().parents[3] / "docs" / "schemas"
EXPECT = [{"better": {"variant": "l2"}, "than": {"variant": "none"}, "metric": "test/rmse"}]


def answer(capsys: pytest.CaptureFixture[str], name: str, *words: str) -> dict[str, Any]:
    """Return the JSON that ``ablab WORDS`` prints, checked against its schema."""
    assert ablab.main([*words, "--format", "json"]) == 0
    text = capsys.readouterr().out
    document = json.loads(text, parse_constant=lambda constant: pytest.fail(constant))
    jsonschema.validate(document, json.loads((SCHEMAS / f"{name}.json").read_text()))
    return document


def test_a_report_has_the_conclusion_and_every_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_plan(
        tmp_path / "p",
        rmse,
        variants=list(LEVEL),
        baseline={"variant": "none"},
        claim="It helps.",
        expect=EXPECT,
    )
    report = answer(capsys, "report", "report", str(folder))
    assert (report["claim"], report["outcome"]) == ("It helps.", "holds")
    (by_rmse,) = report["by_metric"]
    assert (by_rmse["best"], by_rmse["baseline"], by_rmse["as_good"]) == (2, 0, [])
    assert by_rmse["to_baseline"][0]["mean"] == pytest.approx(-0.05)
    assert report["rows"][1]["settings"] == {"variant": "l2"}
    assert report["rows"][1]["per_seed"]["test/rmse"] == pytest.approx(
        {"0": 0.92, "1": 0.93, "2": 0.94}
    )
    assert len(report["jobs"]) == 9


@pytest.mark.parametrize("end", ["missing", "failed", {"rmse": math.inf}, {"rmse": 1.0}, {}])
@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_any_plan_has_documents(
    end: Metrics, seeds: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more: dict[str, Any] = {"baseline": {"variant": "none"}, "expect": EXPECT}
    folder = write_plan(
        tmp_path / "p", lambda *_: end, variants=["none", "l2"], seeds=seeds, **more
    )
    answer(capsys, "report", "report", str(folder))
    status = answer(capsys, "status", "status", str(folder))
    state = end if isinstance(end, str) else "done"
    assert status["counts"] == {state: 2 * len(seeds)}
    assert {job["status"] for job in status["jobs"]} == {state}


def test_two_runs_have_a_document_of_their_differences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_job(tmp_path / "a", None, {"optim.lr": 0.01}, 0, {"rmse": 0.9})
    write_job(tmp_path / "b", None, {"optim.lr": 0.1}, 0, {"rmse": 0.8, "mae": 0.5})
    folders = [str(tmp_path / name) for name in "ab"]
    diff = answer(capsys, "diff", "report", "diff", *folders)
    assert diff["settings"] == {"optim.lr": ["0.01", "0.1"]}
    assert diff["metrics"]["test/rmse"] == [0.9, 0.8]
    assert diff["metrics"]["test/mae"] == [None, 0.5]


def test_the_state_of_a_plan_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        return {0: {"rmse": 1.0}, 1: "failed", 2: "missing"}[seed]  # type: ignore[return-value]

    folder = write_plan(tmp_path / "p", result, variants=["none"])
    assert ablab.main(["status", str(folder)]) == 0
    log = folder / "none_seed1" / "run.log"
    assert capsys.readouterr().out == (
        "weight_decay: 1 done, 1 failed, 1 missing\n"
        f"  1 job failed: TrainingError: the loss is nan; see {log}\n"
    )
    assert ablab.main(["status", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err

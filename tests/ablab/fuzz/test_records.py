"""What is read back of runs: records, plans, manifests, histories, whatever has become of them."""

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablab.ablation.plan.listing import describe, outcome
from ablab.errors import UserError
from ablab.report.table.comparison import compare
from ablab.report.table.plan_file import PLAN_FILE
from ablab.report.table.tables import build_table
from ablab.report.write import rendered
from ablab.runs.checkpoints import Entry, Manifest
from ablab.runs.find import newest_run, saved_config
from ablab.runs.history import read_history
from ablab.runs.record import RunRecord
from ablab.trackers import CSVTracker, RunInfo
from tests.ablab.fuzz.cases import change, changed, damaged, examples, paths_of
from tests.ablab.report.plan_folders import write_plan

_JOB = "none_0.1_seed0"


def _result(variant: str | None, settings: dict[str, Any], seed: int) -> dict[str, float] | str:
    return "failed" if variant == "l2" else {"rmse": 0.9 + seed}


@functools.cache
def plan_files() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as place:
        folder = write_plan(
            Path(place) / "p",
            _result,
            variants=["none", "l2"],
            grid=[{"optim.lr": 0.1}],
            seeds=(0, 1),
            baseline={"variant": "none"},
        )
        return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*.json")}


@st.composite
def damaged_json(draw: st.DrawFn, content: str) -> bytes:
    """Another value somewhere in it, or damaged as any file may be."""
    if draw(st.booleans()):
        return draw(damaged(content.encode()))
    values = json.loads(content)
    new = changed(values, draw(st.sampled_from(paths_of(values))), draw(change))
    return json.dumps(new).encode()


@given(st.data(), st.sampled_from([PLAN_FILE, f"{_JOB}/run.json"]))
@examples(120)
def test_a_report_of_damaged_files(data: st.DataObject, name: str) -> None:
    files = plan_files()
    with tempfile.TemporaryDirectory() as place:
        for path, content in files.items():
            target = Path(place) / path
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(
                data.draw(damaged_json(content)) if path == name else content.encode()
            )
        try:
            record = RunRecord.read(Path(place) / _JOB)
            describe(record), outcome(record)
        except UserError:
            pass
        try:
            newest_run(Path(place))
            saved_config(Path(place) / _JOB)
        except UserError:
            pass
        for folder in (Path(place), Path(place) / _JOB):
            try:
                table = build_table(compare([folder]))
                for form in ("markdown", "csv", "latex", "terminal"):
                    rendered(table, form)
            except UserError:
                continue


_ENTRY = {"file": "step=1.ckpt", "sha256": "0" * 64, "step": 1, "epoch": 0}
_ENTRY |= {"metrics": {"val/rmse": 0.9}, "before": {"phase": 0, "steps": 0, "epochs": 0}}


@given(damaged_json(json.dumps({"checkpoints": [_ENTRY, {**_ENTRY, "file": "step=2.ckpt"}]})))
@examples(150)
def test_a_manifest(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        manifest = Manifest(Path(place) / "checkpoints")
        manifest.folder.mkdir()
        manifest.path.write_bytes(content)
        try:
            entries = manifest.entries()
            manifest.best("val/rmse", "min")
            assert manifest.newest_that_verifies() is None
        except UserError:
            return
        for entry in entries:
            assert (manifest.folder / entry.file).parent == manifest.folder
            assert isinstance(entry, Entry)


_HISTORY = b"step,train/loss\n0,1.5\n10,0.5\n20,0.25\n"


@given(damaged(_HISTORY), st.integers(0, 30))
@examples(100)
@pytest.mark.filterwarnings("default")
def test_a_history(content: bytes, step: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "metrics.csv"
        path.write_bytes(content)
        tracker = CSVTracker()
        try:
            tracker.attach(RunInfo(Path(place), "n", None, (), {}, from_step=step))
            tracker.log_metrics({"train/loss": 1.0}, 40)
        except UserError:
            return
        assert read_history(path)[1][-1]["step"] == "40"

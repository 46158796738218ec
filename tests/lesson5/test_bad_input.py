"""Whatever is wrong with configs and inputs: one short message, exit status 2, nothing lost."""

from pathlib import Path

import pytest

from tests.lesson5.bad_input import CASES, Case, meet, row_of, row_start, rows_of_page


def test_the_page_has_a_row_for_each_case_in_order() -> None:
    starts = [row_start(case) for case in CASES]
    rows = rows_of_page()
    assert [row[: len(start)] for row, start in zip(rows, starts, strict=True)] == starts


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_told_in_short_and_nothing_lost(case: Case, tmp_path: Path) -> None:
    outcome = meet(case, tmp_path)
    assert outcome.returncode == 2, outcome.error
    lines = outcome.error.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) <= 5
    assert "Traceback" not in outcome.error
    assert {name: outcome.after.get(name) for name in outcome.before} == outcome.before
    new = sorted(Path(name).name for name in outcome.after.keys() - outcome.before.keys())
    assert not any(name.endswith((".part", ".ckpt")) for name in new), new
    assert row_of(case, outcome, tmp_path) in rows_of_page(), (
        "python -m tests.lesson5.bad_input writes it"
    )
    if new:  # a run that began: its record tells what the terminal told
        assert {"run.json", "config.yaml"} <= set(new)

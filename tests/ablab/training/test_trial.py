"""What is tried on two rows before training: ranges and targets that cannot be right."""

import re

import pytest
import torch

from ablab.errors import DataError
from ablab.training.build import build_data, build_model
from ablab.training.trial import check_on_two_rows
from tests.checks import checked
from tests.launch import TINY


@pytest.mark.parametrize(
    ("y_range", "printed"),
    [
        ("null", None),
        ("[1,5]", None),
        ("[0,4.5]", "from 0 to 4.5, but .* go from 1 to 5;"),
        ("[2,5.5]", "from 2 to 5.5, but .* go from 1 to 5;"),
        ("[0,100]", "from 0 to 100, but .* go from 1 to 5;"),
    ],
)
def test_an_output_range_that_is_not_that_of_the_targets_is_printed(
    y_range: str, printed: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    config = checked([*TINY, f"model.y_range={y_range}"])
    data = build_data(config)
    check_on_two_rows(config, build_model(config, data), data)
    shown = capsys.readouterr().out
    assert re.search(printed, shown) if printed else shown == ""


def test_training_targets_that_are_all_equal_are_refused() -> None:
    config = checked(TINY)
    data = build_data(config)
    data.parts["train"] = (*data.parts["train"][:2], torch.full_like(data.parts["train"][2], 3.0))
    with pytest.raises(DataError, match="training targets are 3; there is nothing to learn"):
        check_on_two_rows(config, build_model(config, data), data)

"""Configs of the lesson: what only its classes and files can get wrong."""

import pytest

from ablab.command.overrides import name_experiment
from ablab.errors import ConfigError, UserError
from tests.checks import checked


def test_what_an_experiment_sets_and_other_data_lack_is_told_so() -> None:
    overrides = ["experiment=collab", "data=synthetic_ratings", "data.n_itms=3"]
    with pytest.raises(ConfigError) as caught:
        checked(overrides)
    assert name_experiment(str(caught.value), "collab").splitlines() == [
        "data.split: unknown key, which experiment=collab sets; leave it out: ~data.split",
        "data.n_itms: unknown key; did you mean 'data.n_items'?",
    ]
    checked(["experiment=collab", "data=synthetic_ratings", "~data.split"])


def test_a_choice_of_a_class_of_the_lesson_is_suggested() -> None:
    with pytest.raises(UserError, match=r"data\.split: .*'u1'"):
        checked(["experiment=collab", "data.split=u6"])

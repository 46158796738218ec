"""The trials of a search: an Optuna study in SQLite that survives a kill at any moment.

Optuna's own ``ask`` writes a trial first and its parameters one by one, and its samplers draw from
a generator that ends with the process. Here a trial is drawn from a copy of the study in memory, by
a sampler with a seed of its own (the search's seed and the trial's number), and is then written at
once. So a draw depends on the study alone, and a killed search continues as if it had not been.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from ablab.ablation.search.space import Parameter
from ablab.config.schema import Objective
from ablab.errors import RunFolderError, first_line

optuna.logging.set_verbosity(optuna.logging.WARNING)
FILE_NAME = "study.db"
_FOR_IMPORTANCES = 20  # finished trials, so that five are in the best quarter
_SAMPLERS: dict[str, type[TPESampler | RandomSampler]] = {
    "tpe": TPESampler,
    "random": RandomSampler,
}


class SearchStudy:
    """The trials of a search, in the folder where it is kept."""

    def __init__(self, folder: Path, objective: Objective, space: list[Parameter]) -> None:
        """Open the study in ``folder``, or create it.

        Raises:
            RunFolderError: its file cannot be read or written.
        """
        self.folder = folder
        self.space = space
        self._read: list[FrozenTrial] | None = None  # None after a write
        self.direction = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}[
            objective.mode
        ]
        try:
            # Without a pool, so that a connection is closed when it has been used.
            unpooled = {"poolclass": NullPool}
            self._storage = RDBStorage(f"sqlite:///{folder / FILE_NAME}", unpooled)
            self._study = optuna.create_study(
                storage=self._storage,
                study_name="search",
                direction=self.direction,
                load_if_exists=True,
            )
        except (SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
            raise RunFolderError(
                f"{folder / FILE_NAME}: cannot be used ({first_line(error)}); "
                f"name another study with hydra.sweeper.study=NAME"
            ) from error

    def agree(self, about: dict[str, str]) -> None:
        """Write the description of the search into a new study, or compare it with the old one.

        Raises:
            RunFolderError: the study is of another search, so trials cannot be compared.
        """
        kept = self._study.user_attrs.get("about")
        if kept is None:
            self._study.set_user_attr("about", about)
            return
        changed = list(_differences(kept, about))
        if changed:
            more = f", and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise RunFolderError(
                f"{self.folder}: another search is kept there: {', '.join(changed[:3])}{more}; "
                f"name this one with hydra.sweeper.study=NAME"
            )

    @property
    def trials(self) -> list[FrozenTrial]:
        if self._read is None:
            self._read = self._study.get_trials(deepcopy=False)
        return self._read

    def running(self) -> list[FrozenTrial]:
        """Return the trials that began, in this process or before, and have no result."""
        return [trial for trial in self.trials if trial.state is TrialState.RUNNING]

    def best(self) -> list[FrozenTrial]:
        """Return the trials that have a value, the best first."""
        done = [trial for trial in self.trials if trial.state is TrialState.COMPLETE]
        sign = 1 if self.direction is StudyDirection.MINIMIZE else -1
        return sorted(done, key=lambda trial: sign * (trial.value or 0.0))

    def draw(self, sampler: str, seed: int) -> dict[str, Any]:
        """Return the parameters of the next trial, without adding it to the study."""
        copy = optuna.create_study(
            direction=self.direction, sampler=_sampler(sampler, seed, len(self.trials))
        )
        copy.add_trials(self.trials)
        drawn = copy.ask({p.key: p.distribution for p in self.space}).params
        return {p.key: p.typed(drawn[p.key]) for p in self.space}

    def add(self, drawn: dict[str, Any], folder: str) -> None:
        """Add a trial that runs in the folder of that name."""
        self._add(drawn, TrialState.RUNNING, {"folder": folder})

    def add_failed(self, drawn: dict[str, Any], error: str) -> None:
        """Add a trial that cannot be run."""
        self._add(drawn, TrialState.FAIL, {"error": error})

    def _add(self, drawn: dict[str, Any], state: TrialState, about: dict[str, str]) -> None:
        self._read = None
        distributions = {p.key: p.distribution for p in self.space}
        self._study.add_trial(
            create_trial(state=state, params=drawn, distributions=distributions, user_attrs=about)
        )

    def tell(self, number: int, value: float) -> None:
        self._read = None
        self._study.tell(number, value)

    def tell_failed(self, number: int, error: str) -> None:
        self._read = None
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        self._storage.set_trial_user_attr(trial_id, "error", error)
        self._study.tell(number, state=TrialState.FAIL)

    def importances(self) -> dict[str, float]:
        """Return how much each parameter decides whether a trial is in the best quarter.

        They sum to 1 (PED-ANOVA, Watanabe et al. 2023). Empty with fewer than 20 finished trials.
        """
        if len(self.best()) < _FOR_IMPORTANCES:
            return {}
        from optuna import importance  # It imports scikit-learn.

        evaluator = importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
        return importance.get_param_importances(self._study, evaluator=evaluator)


def _sampler(name: str, seed: int, number: int) -> BaseSampler:
    (own_seed,) = np.random.SeedSequence([seed, number]).generate_state(1)
    return _SAMPLERS[name](seed=int(own_seed))


def _differences(kept: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    for key in dict.fromkeys([*kept, *now]):
        before, after = kept.get(key, "not there"), now.get(key, "not there")
        if before != after:
            yield f"{key} was {before}, now {after}"

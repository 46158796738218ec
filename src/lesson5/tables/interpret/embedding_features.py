"""Measure whether learned embeddings help other models than the network that learned them.

As in Guo & Berkhahn (2016), table 3: k nearest neighbours, random forest and boosted trees on the
same columns as numbers, as one-hot vectors, and as the embeddings of a trained network.
``python -m lesson5.tables.embedding_features_report FOLDER…`` compares the runs of a sweep.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from ablab.config.schema import Count, Flag, Seed
from ablab.data.batches import Tensors
from ablab.data.tables.module import TableDataModule, regression_errors
from ablab.errors import DataError, UserError
from ablab.findings import Findings
from lesson5.tables.entity_embedding import EntityEmbedding

NAME = "embedding_features"
NEIGHBOURS = (5, 10, 20)
FeatureSet = Literal["ordinal", "one-hot", "embeddings"]
FEATURE_SETS: tuple[FeatureSet, ...] = ("ordinal", "one-hot", "embeddings")
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureScore:
    """Errors of a model on a set of features, in the target's units; None where not measured.

    ``settings`` are those with the least ``val_mae``; the other errors are those of the test rows.
    """

    model: str
    features: str
    settings: str
    val_mae: float
    mae: float | None
    rmsle: float | None
    rmse: float | None


def embedding_features(
    model: EntityEmbedding,
    data: TableDataModule,
    *,
    trees: Count = 200,
    seed: Seed = 0,
    test: Flag = True,
) -> Findings:
    """The scores of scikit-learn's models on each set of features, and of the network itself.

    All are fitted to log(1 + target) of the same training rows. The number of neighbours and the
    scale of the columns are chosen for each set on the validation rows, since no scale is right for
    the distances of all sets.

    Args:
        trees: number of trees of the forest, and of boosting steps.
        seed: of the forest and the boosting.
        test: false while settings are chosen, so that the test rows stay unread.

    Raises:
        UserError: scikit-learn is not installed, or there are no validation rows.
    """
    if "val" not in data.parts:
        raise DataError(
            "embedding_features chooses settings on the validation rows, but there are none; set "
            "data.validation_fraction=0.1, for example"
        )
    model.eval().cpu()
    parts = ("train", "val", "test") if test else ("train", "val")
    targets = {part: data.parts[part][-1].numpy() for part in parts}
    scores = [_network_score(model, data.parts, targets)]
    for name in FEATURE_SETS:
        inputs = {part: features(model, name, *data.parts[part][:2]) for part in parts}
        best: dict[str, FeatureScore] = {}
        for label, settings, regressor in _regressors(trees, seed):
            regressor.fit(inputs["train"], np.log1p(targets["train"]))
            predicted = {p: np.expm1(regressor.predict(inputs[p])) for p in parts[1:]}
            score = _score(label, name, settings, predicted, targets)
            if label not in best or score.val_mae < best[label].val_mae:
                best[label] = score
        scores += best.values()
    scores.sort(key=lambda score: score.model)  # stable: the order of the sets stays
    table = pl.DataFrame([asdict(score) for score in scores])
    return Findings(tables={NAME: table}, extracts={"Other models on the same columns": table})


def features(
    model: EntityEmbedding, name: FeatureSet, categories: torch.Tensor, continuous: torch.Tensor
) -> Matrix:
    """Return the columns as other models take them, float32, (rows, n_features).

    ``ordinal`` is the index of each category, which is 0 for the unknown one. ``one-hot`` has a
    column for each category; all are 0 for the unknown one. ``embeddings`` are the learned vectors.
    Continuous columns are standardised in all sets.
    """
    columns = categories.unbind(dim=1)
    with torch.no_grad():
        match name:
            case "ordinal":
                parts = [categories.float()]
            case "one-hot":
                parts = [
                    torch.nn.functional.one_hot(column, n)[:, 1:].float()
                    for column, n in zip(columns, model.n_categories, strict=True)
                ]
            case "embeddings":
                parts = [model.embed(categories)]
        return torch.cat([*parts, continuous], dim=1).numpy()


def _regressors(trees: int, seed: int) -> Iterator[tuple[str, str, Any]]:
    """Yield (model, settings, unfitted regressor) of each candidate."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
        from sklearn.neighbors import KNeighborsRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits  # installed with scikit-learn
    except ImportError as error:
        raise UserError(
            "embedding_features needs scikit-learn; install it with: pip install -e .[trees]"
        ) from error
    boosted = HistGradientBoostingRegressor(max_iter=trees, random_state=seed)
    # While the caller fits a model, too: its steps are so small that threads would slow them down.
    with threadpool_limits(1):
        for k in NEIGHBOURS:
            yield "KNN", f"k={k}", KNeighborsRegressor(k)
            standardised = make_pipeline(StandardScaler(), KNeighborsRegressor(k))
            yield "KNN", f"k={k} standardised", standardised
        yield "random forest", "", RandomForestRegressor(trees, random_state=seed, n_jobs=1)
        yield "boosted trees", "", boosted


def _network_score(
    model: EntityEmbedding, parts: dict[str, Tensors], targets: dict[str, Matrix]
) -> FeatureScore:
    predicted = {}
    with torch.no_grad():
        for part in targets:
            predicted[part] = model.activation(model(*parts[part][:2])).numpy()
    return _score("network", "embeddings", "", predicted, targets)


def _score(
    label: str, name: str, settings: str, predicted: dict[str, Matrix], targets: dict[str, Matrix]
) -> FeatureScore:
    errors = {part: regression_errors(predicted[part], targets[part]) for part in predicted}
    test = errors.get("test", {})
    return FeatureScore(
        label,
        name,
        settings,
        errors["val"]["mae"],
        *(test.get(metric) for metric in ("mae", "rmsle", "rmse")),
    )

"""Slope and interaction of constructed valleys, whose answers are known."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesson5.ratings.valley import Array, interaction_share, main, mean_over_seeds, valley_slope
from tests.ablab.report.plan_folders import Metrics, write_plan

X = np.array([10.0**k for k in range(-4, 1)])
Y = np.array([10.0**k for k in range(-5, 2)])
U, V = np.meshgrid(np.log10(X) + 2, np.log10(Y) + 2, indexing="ij")  # both 0 in the middle


def surface(slope: float, steep: float = 0.001) -> Array:
    """Metric whose best y for an x lies on log y = slope · log x, [X, Y]."""
    return 0.9 * np.exp(steep * ((V - slope * U) ** 2 + U**2))


@pytest.mark.parametrize("slope", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_slope_of_a_valley_is_found(slope: float, mode: str) -> None:
    values = np.stack([surface(slope) + 0.1 * seed for seed in range(3)])  # seeds shift all cells
    found = valley_slope(X, Y, values if mode == "min" else -values, mode)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((slope, slope, slope))
    assert (found.points, found.on_edge) == (5, 0)


def test_missing_cells_do_not_bend_a_valley() -> None:
    values = np.stack([surface(-1.0)] * 2)
    values[:, 0, 0] = values[0, 2, 2] = values[1, 2, 4] = values[:, 4, 6] = np.nan
    values[:, 1, :] = np.nan  # no run at all with this x
    values[:, 3, :-1] = np.nan  # and one y is no choice
    found = valley_slope(X, Y, values, "min")
    assert found is not None
    assert (found.value, found.points) == (pytest.approx(-1.0), 3)
    values[:, 4, :] = np.nan
    assert valley_slope(X, Y, values, "min") is None


def test_a_best_at_the_edge_is_told() -> None:
    found = valley_slope(X, Y[:4], np.stack([surface(-1.0)[:, :4]] * 2), "min")
    assert found is not None
    assert found.on_edge == 3  # the valley leaves the grid in the middle
    assert -1 < found.value < 0
    backwards = valley_slope(X, Y[:4][::-1], np.stack([surface(-1.0)[:, :4][:, ::-1]] * 2), "min")
    assert backwards == found


def test_the_interval_grows_with_what_seeds_disagree_on() -> None:
    random = np.random.default_rng(0)

    def width(noise: float) -> float:
        values = surface(0.0) + noise * random.normal(size=(5, *U.shape))
        found = valley_slope(X, Y, values, "min")
        assert found is not None
        assert found.low <= found.value <= found.high
        return found.high - found.low

    assert width(1e-5) == 0
    assert width(3e-3) > 0.05
    alone = valley_slope(X, Y, surface(0.0)[None], "min")
    assert alone is not None
    assert math.isnan(alone.low)


def test_a_separable_valley_has_no_interaction() -> None:
    share, cells = interaction_share(surface(0.0), "min")
    assert share == pytest.approx(0.0, abs=1e-20)
    assert cells == 35
    holed = surface(0.0)
    holed[1, 2] = holed[3, 3] = np.nan
    share, cells = interaction_share(holed, "min")
    assert (share, cells) == (pytest.approx(0.0, abs=1e-20), 33)


def test_a_diagonal_valley_interacts() -> None:
    """log m = u² + v² + 2uv, of which 2uv is the interaction; u and v are balanced about 0."""
    metric = np.exp(0.0005 * (U + V) ** 2)
    share, cells = interaction_share(metric, "min")
    parts = [((part - part.mean()) ** 2).sum() for part in (U**2 + V**2, 2 * U * V)]
    assert cells == 35
    assert share == pytest.approx(parts[1] / sum(parts))
    assert interaction_share(1 / metric, "max")[0] == pytest.approx(share)


def test_only_the_basin_counts() -> None:
    metric = surface(0.0, steep=0.02)
    inside = metric <= 1.05 * metric.min()
    wild = np.where(inside, metric, 5 * metric * (1 + U * V) ** 2 + 1)
    share, cells = interaction_share(wild, "min")
    assert cells == inside.sum() < 35
    assert share == pytest.approx(0.0, abs=1e-20)


@pytest.mark.parametrize(
    "means", [np.full((3, 3), np.nan), np.zeros((3, 3)), np.ones((3, 3)), np.eye(3) + 0.5]
)
def test_a_share_that_cells_do_not_determine_is_none(means: Array) -> None:
    assert interaction_share(means, "max")[0] is None


def test_a_mean_is_that_of_the_seeds_there_are() -> None:
    values = np.array([[[1.0, np.nan, np.nan]], [[3.0, 5.0, np.nan]]])
    assert mean_over_seeds(values).tolist()[0][:2] == [2.0, 5.0]
    assert math.isnan(mean_over_seeds(values)[0, 2])


def test_a_cell_that_lacks_a_seed_has_no_part_in_the_valley(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mean of the seeds that did not fail would be too good."""
    grid = [{"optim.lr": x, "optim.decay": y} for x in (1, 2, 4) for y in (1, 2, 4)]

    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        lr, decay = settings["optim.lr"], settings["optim.decay"]
        if decay == 4 and lr != 4:
            return {"rmse": 0.1} if seed == 0 else "failed"
        return {"rmse": 1.0 + 0.01 * abs(np.log2(lr / decay)) + 0.001 * seed}

    assert main([str(write_plan(tmp_path / "p", result, grid=grid))]) == 0
    assert capsys.readouterr().out.startswith(
        "weight_decay, test/rmse: best optim.decay ∝ optim.lr^1.00 [1.00, 1.00] "
        "(2 of 3 optima lie on the grid's edge, so extend the grid); "
    )
    assert main([str(write_plan(tmp_path / "q", result, grid=grid[:3]))]) == 2
    assert "q: no grid of three" in capsys.readouterr().err

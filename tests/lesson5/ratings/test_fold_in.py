"""Folding-in of a new user, against scipy's minimiser and the closed form."""

import numpy as np
import pytest
import torch
from scipy import optimize, special

from lesson5.ratings.collab_filter import CollabFilter
from lesson5.ratings.interpret.fold_in import fold_in
from lesson5.ratings.interpret.parameters import CollabParameters, training_error

Y_RANGE = (0.0, 5.5)
ITEMS, RATINGS = torch.tensor([1, 4, 5]), torch.tensor([5.0, 2.0, 4.0])
NOISE = 0.5


def trained(n_users: int = 30, y_range: tuple[float, float] | None = Y_RANGE) -> CollabFilter:
    torch.manual_seed(0)
    model = CollabFilter(n_users, 9, n_factors=2, y_range=y_range)
    with torch.no_grad():
        for layer in (model.u_weight, model.i_weight, model.u_bias, model.i_bias):
            layer.weight[1:] = 0.3 + 0.5 * torch.randn_like(layer.weight[1:])
    return model.eval()


def prior(model: CollabFilter) -> tuple[np.ndarray, np.ndarray]:
    theta = (
        torch.cat([model.u_weight.weight, model.u_bias.weight], dim=1)[1:].detach().double().numpy()
    )
    return theta.mean(axis=0), np.cov(theta.T)


def test_it_is_the_minimum_that_scipy_finds() -> None:
    model = trained()
    mean, covariance = prior(model)
    factors = model.i_weight.weight[ITEMS].detach().double().numpy()
    bias = model.i_bias.weight[ITEMS, 0].detach().numpy()

    def objective(theta: np.ndarray) -> float:
        predicted = 5.5 * special.expit(factors @ theta[:2] + theta[2] + bias)
        away = theta - mean
        penalty = NOISE * away @ np.linalg.solve(covariance, away)
        return float(np.square(predicted - RATINGS.numpy()).sum() + penalty)

    theirs = optimize.minimize(objective, mean, options={"gtol": 1e-9})
    user = fold_in(CollabParameters.of(model), ITEMS, RATINGS, noise_variance=NOISE)
    ours = user.numpy()
    assert ours == pytest.approx(theirs.x, abs=1e-4)
    assert np.abs(ours - mean).max() > 0.05  # the ratings have moved it


def test_without_a_sigmoid_it_is_the_closed_form() -> None:
    model = trained(y_range=None)
    mean, covariance = prior(model)
    inputs = np.c_[model.i_weight.weight[ITEMS].detach().numpy(), np.ones(3)].astype(float)
    rest = RATINGS.numpy() - model.i_bias.weight[ITEMS, 0].detach().numpy() - inputs @ mean
    theirs = mean + np.linalg.solve(
        inputs.T @ inputs + NOISE * np.linalg.inv(covariance), inputs.T @ rest
    )
    user = fold_in(CollabParameters.of(model), ITEMS, RATINGS, noise_variance=NOISE)
    assert user.numpy() == pytest.approx(theirs, abs=1e-5)


def test_two_known_users_span_a_line_and_the_new_one_is_on_it() -> None:
    model = trained(n_users=3)
    user = fold_in(CollabParameters.of(model), ITEMS, RATINGS, noise_variance=NOISE)
    first, second = torch.cat([model.u_weight.weight, model.u_bias.weight], dim=1)[1:].detach()
    along = second - first
    moved = user.float() - first
    assert moved.numpy() == pytest.approx(
        (along * (moved @ along) / (along @ along)).numpy(), abs=1e-5
    )


def test_no_biases_stay_none_and_no_ratings_leave_the_mean() -> None:
    model = CollabFilter(20, 9, n_factors=2, biases=False)
    parameters = CollabParameters.of(model)
    user = fold_in(parameters, ITEMS, RATINGS, noise_variance=NOISE)
    assert user[-1] == 0
    nobody = fold_in(parameters, ITEMS[:0], RATINGS[:0], noise_variance=NOISE)
    assert nobody.numpy() == pytest.approx(parameters.average_user.numpy())


def test_predictions_and_errors_are_those_of_the_model() -> None:
    model = trained()
    parameters = CollabParameters.of(model)
    everything = torch.arange(9)
    with torch.no_grad():
        predicted = model(torch.full((9,), 7), everything)
    assert parameters.predict(parameters.users[7]).numpy() == pytest.approx(predicted.numpy())
    ratings = predicted + torch.tensor([1.0, -2, 0, 0, 0, 0, 0, 0, 0])
    part = (torch.full((9,), 7), everything, ratings)
    assert training_error(model, part) == pytest.approx(5 / 9, abs=1e-6)

"""Estimate a user that training has not seen from a few ratings, while all items stay as they are.

Folding-in is of Sarwar et al. (2002), "Incremental Singular Value Decomposition Algorithms for
Highly Scalable Recommender Systems"; here it is the maximum a posteriori (MAP) estimate.
"""

import torch
from torch import Tensor

from lesson5.layers import in_range
from lesson5.ratings.collab_filter import CollabFilter
from lesson5.ratings.interpret.parameters import CollabParameters, training_error
from lesson5.ratings.module import RatingsDataModule

ITERATIONS = 200


def new_user(model: CollabFilter, data: RatingsDataModule, known: dict[int, float]) -> Tensor:
    """Return (p_u, b_u), (n_factors + 1,), of somebody who has rated the items in ``known``.

    Its keys are item indices and its values ratings. The noise of a rating has the variance of the
    training errors (``fold_in``).
    """
    return fold_in(
        CollabParameters.of(model),
        torch.tensor(list(known), dtype=torch.int64),
        torch.tensor(list(known.values())),
        noise_variance=training_error(model, data.parts["train"]),
    )


def fold_in(
    parameters: CollabParameters, items: Tensor, ratings: Tensor, *, noise_variance: float
) -> Tensor:
    """Return the MAP estimate of a new user: θ = (p_u, b_u), (n_factors + 1,).

    With μ and Σ the mean and covariance of the known users' θ, it minimises

        Σ_i (rating(θ, i) - r_i)² + noise_variance · (θ - μ)ᵀ Σ⁻¹ (θ - μ)

    by L-BFGS: the estimate when users are normally distributed and ratings have normal noise.
    θ = μ + A z with A Aᵀ = Σ, so that Σ need not be invertible: a new user is the mean of the known
    ones, moved along the directions in which these differ.

    Args:
        parameters: of the trained model.
        items: indices of the rated items, (n_ratings,).
        ratings: in the units of the data, (n_ratings,).
        noise_variance: of a rating about its prediction.
    """
    mean = parameters.average_user
    known = (parameters.users[1:] - mean) / max(len(parameters.users) - 2, 1) ** 0.5
    _, sizes, directions = torch.linalg.svd(known, full_matrices=False)
    spread = sizes[:, None] * directions  # Aᵀ: (rank, n_factors + 1)
    inputs, offset = parameters.item_inputs[items], parameters.item_bias[items]

    def loss(z: Tensor) -> Tensor:
        score = inputs @ (mean + z @ spread) + offset
        errors = in_range(score, parameters.y_range) - ratings.double()
        return errors.square().sum() + noise_variance * z.square().sum()

    z = torch.zeros_like(sizes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [z],
        max_iter=ITERATIONS,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(z)
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[arg-type]
    return mean + z.detach() @ spread

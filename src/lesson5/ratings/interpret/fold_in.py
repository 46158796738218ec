"""A user that training has not met, from a few of their ratings, with all items left as they are.

Folding-in is of Sarwar et al. (2002), "Incremental Singular Value Decomposition Algorithms for
Highly Scalable Recommender Systems"; here it is the maximum a posteriori (MAP) estimate.
"""

import torch
from torch import Tensor

from lesson5.layers import in_range
from lesson5.ratings.interpret.parameters import CollabParameters, Side

ITERATIONS = 200


def fold_in(
    parameters: CollabParameters, items: Tensor, ratings: Tensor, *, noise_variance: float
) -> Side:
    """p_u and b_u of a new user, for each member by itself.

    With θ = (p_u, b_u), μ and Σ the mean and covariance of the known users' θ, it minimises

        Σ_i (rating(θ, i) - r_i)² + noise_variance · (θ - μ)ᵀ Σ⁻¹ (θ - μ)

    by L-BFGS: the MAP estimate when users are normally distributed and ratings have normal noise.
    θ = μ + A z, where A Aᵀ = Σ, so that Σ need not be invertible: a new user is the mean of the
    known ones, moved along the directions in which these differ.

    Args:
        items: indices, (n_ratings,).
        ratings: in the data's units, (n_ratings,).
        noise_variance: of a rating about its prediction, such as the training error.

    Returns:
        factors (n_members, n_factors) and bias (n_members,).
    """
    known = torch.cat([parameters.users.factors, parameters.users.bias[..., None]], dim=2)[1:]
    mean = known.mean(dim=0)  # (n_members, n_factors + 1)
    rows = (known - mean).transpose(0, 1) / max(len(known) - 1, 1) ** 0.5
    _, sizes, directions = torch.linalg.svd(rows, full_matrices=False)
    spread = sizes[..., None] * directions  # Aᵀ: (n_members, rank, n_factors + 1)
    of = parameters.items[items]
    inputs = torch.cat([of.factors, torch.ones_like(of.bias)[..., None]], dim=2)
    ratings = ratings.double()[:, None]

    def user_of(z: Tensor) -> Tensor:
        return mean + (z[..., None] * spread).sum(dim=1)

    def loss(z: Tensor) -> Tensor:
        score = (inputs * user_of(z)).sum(dim=2) + of.bias
        errors = in_range(score, parameters.y_range) - ratings
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
    theta = user_of(z.detach())
    return Side(theta[:, :-1], theta[:, -1])

"""Principal component analysis (Pearson 1901) by the singular value decomposition."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ablab.config.schema import Count


@dataclass(frozen=True)
class PCA:
    """The directions along which rows differ most.

    Attributes:
        mean: of the rows, (n_features,).
        components: orthonormal, by falling variance, (n_components, n_features). The entry of
            largest size is positive, since signs are arbitrary.
        explained_variance_ratio: share of the variance along each component, (n_components,).
    """

    mean: Tensor
    components: Tensor
    explained_variance_ratio: Tensor

    @classmethod
    def fit(cls, rows: Tensor, n_components: Count) -> Self:
        """Fit ``rows`` (n, n_features); fewer components remain if n or n_features is smaller."""
        rows = rows.detach()
        mean = rows.mean(dim=0)
        _, sizes, components = torch.linalg.svd(rows - mean, full_matrices=False)
        largest = components.abs().argmax(dim=1, keepdim=True)
        components = components * components.gather(1, largest).sign()
        variance = sizes.square()
        ratio = variance / variance.sum().clamp(min=torch.finfo(variance.dtype).tiny)
        return cls(mean, components[:n_components], ratio[:n_components])

    def transform(self, rows: Tensor) -> Tensor:
        """rows (n, n_features) -> coordinates along the components (n, n_components)."""
        return (rows - self.mean) @ self.components.T

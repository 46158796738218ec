"""Principal components against scikit-learn's, and where there are few rows."""

import numpy as np
import pytest
import torch

from ablab.interpret.layers.pca import PCA

ROWS = torch.randn((50, 6), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ROWS = ROWS @ torch.diag(torch.tensor([5.0, 1, 3, 0.1, 2, 1], dtype=torch.float64)) + 7


def test_components_are_those_of_scikit_learn() -> None:
    from sklearn import decomposition  # Not at the top: each worker of pytest would wait for it.

    theirs = decomposition.PCA(3).fit(ROWS.numpy())
    ours = PCA.fit(ROWS, 3)
    signs = np.sign((ours.components.numpy() * theirs.components_).sum(axis=1))
    assert ours.components.numpy() == pytest.approx(signs[:, None] * theirs.components_, abs=1e-9)
    assert ours.mean.numpy() == pytest.approx(theirs.mean_)
    assert ours.explained_variance_ratio.numpy() == pytest.approx(theirs.explained_variance_ratio_)
    assert ours.transform(ROWS).numpy() == pytest.approx(
        signs * theirs.transform(ROWS.numpy()), abs=1e-9
    )


def test_the_largest_entry_of_a_component_is_positive_whatever_the_signs_of_the_rows() -> None:
    for rows in (ROWS, -ROWS):
        components = PCA.fit(rows, 6).components
        largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
        assert (largest > 0).all()
    assert PCA.fit(-ROWS, 6).components.numpy() == pytest.approx(
        PCA.fit(ROWS, 6).components.numpy()
    )


def test_there_are_no_more_components_than_rows_or_columns() -> None:
    assert PCA.fit(ROWS, 10).components.shape == (6, 6)
    assert PCA.fit(ROWS[:2], 10).components.shape == (2, 6)
    assert PCA.fit(ROWS, 10).explained_variance_ratio.sum() == pytest.approx(1)


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS[:1].expand(4, 6)], ids=["one row", "equal rows"])
def test_rows_that_do_not_differ_have_no_variance(rows: torch.Tensor) -> None:
    pca = PCA.fit(rows, 2)
    assert pca.explained_variance_ratio.tolist() == [0.0] * len(pca.components)
    assert pca.transform(rows).abs().max() == 0

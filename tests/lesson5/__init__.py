"""Tests of the lesson, with a short run of its collaborative filter."""

from tests import launch

TINY = ["data=synthetic_ratings", "model.n_factors=4", *launch.TINY]

"""The data sets of the lesson, for ``ablab data list`` and ``ablab data fetch``."""

from lesson5.digits.mnist_source import MNIST_5K, MNIST_70K
from lesson5.ratings.movielens_source import MOVIELENS
from lesson5.tables.bikeshare_source import BIKESHARE

DATASETS = {
    "movielens": MOVIELENS,
    "mnist": MNIST_70K,
    "mnist_5k": MNIST_5K,
    "bikeshare": BIKESHARE,
}

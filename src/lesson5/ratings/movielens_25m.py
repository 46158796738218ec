"""MovieLens-25M, split at random."""

from pathlib import Path

from ablab.data.files.column_folder import Columns
from lesson5.ratings.large import LargeRatings
from lesson5.ratings.movielens_25m_source import cache_folder, fetch, titles


class MovieLens25M(LargeRatings):
    """25,000,095 ratings of 59,047 movies by 162,541 users; arguments as in ``LargeRatings``."""

    def folder(self) -> Path:
        return cache_folder(self.root)

    def fetch_columns(self) -> tuple[Columns, str]:
        return fetch(self.root)

    def titles(self) -> dict[int, str]:
        columns, _ = self.fetched()
        return titles(columns)

    def title(self) -> str:
        return "MovieLens-25M"

"""Recommend items that a user has not rated yet, by predicted rating."""

import polars as pl
from torch import Tensor

from ablab.config.schema import Count, Integer, Text
from ablab.errors import UserError
from ablab.findings import Findings
from lesson5.ratings.collab_filter import CollabFilter
from lesson5.ratings.interpret.fold_in import new_user
from lesson5.ratings.interpret.parameters import CollabParameters
from lesson5.ratings.interpret.titles import find_item
from lesson5.ratings.module import UNKNOWN, RatingsDataModule

COLUMNS = ("predicted", "average_user", "mean_rating", "ratings")
Extracts = dict[str, pl.DataFrame]


def recommend(
    model: CollabFilter,
    data: RatingsDataModule,
    *,
    user: Text | Integer | None = None,
    likes: list[Text] | None = None,
    top: Count = 10,
    min_ratings: Count = 15,
) -> Findings:
    """Recommend items to a user, to somebody who likes a few items, or to anybody.

    A user of the training part gets the items that they have not rated in it. Somebody who likes a
    few items is a new user who gives each of them the highest rating there is; their factors and
    bias are then the MAP estimate with all items left as they are (folding-in). Without either, the
    items come by their bias: what the model predicts for a user of whom it knows nothing.

    Beside each prediction stand that for the average user, who has the mean of all users' factors
    and biases, and the item's mean rating and number of ratings in training.

    Args:
        user: id of a user, as the data has it.
        likes: titles of items, or parts of them that no other title has.
        top: how many items are shown.
        min_ratings: items of fewer training ratings are not recommended.

    Raises:
        UserError: both user and likes are given; the user has no training rating; a title is not
            there or may mean several; nothing is given, and the model has no biases.
    """
    if user is not None and likes is not None:
        raise UserError("recommend: give user or likes, not both")
    if user is not None:
        whom = f"user {user}"
        table, extracts = _for_user(model, data, user, top)
    elif likes is not None:
        whom, table, extracts = _for_likes(model, data, likes)
    else:
        if not model.biases:
            raise UserError(
                "recommend: this model has no biases, so all items are alike to it for a user of "
                "whom it knows nothing; give --user or --likes"
            )
        whom = "a user of whom nothing is known"
        unknown = CollabParameters.of(model).users[UNKNOWN]
        table, extracts = recommendations(model, data, unknown, {}), {}
    table = table.drop("index").insert_column(0, pl.lit(whom).alias("recommended_to"))
    shown = table.filter(pl.col("ratings") >= min_ratings).select("title", *COLUMNS)
    of = f"of {len(shown):,} with {min_ratings} ratings or more"
    extracts[f"For {whom if likes is None else 'somebody who likes them'}, {of}"] = shown.head(top)
    if likes is not None:
        above = pl.col("predicted") - pl.col("average_user")
        extracts["Furthest above the average user"] = shown.sort(above, descending=True).head(top)
    return Findings(tables={"recommend": table}, extracts=extracts)


def _for_user(
    model: CollabFilter, data: RatingsDataModule, user: str | int, top: int
) -> tuple[pl.DataFrame, Extracts]:
    index = find_user(data, user)
    known, held_out = (rated_items(data, part, index) for part in ("train", "test"))
    table = recommendations(model, data, CollabParameters.of(model).users[index], known)
    rated = pl.Series("rated_in_test", map(held_out.get, table["index"]), pl.Float64)
    table = table.with_columns(rated)
    extracts = {
        f"What user {user} has rated highest in training, of {len(known)}": _rated_table(
            data, known
        ).head(top)
    }
    test = table.filter(pl.col("rated_in_test").is_not_null())
    if len(test):
        title = f"What the model predicts highest of the test part, of {len(test)}"
        extracts[title] = test.select("title", "rated_in_test", *COLUMNS).head(top)
    return table, extracts


def _for_likes(
    model: CollabFilter, data: RatingsDataModule, likes: list[str]
) -> tuple[str, pl.DataFrame, Extracts]:
    highest = float(data.parts["train"][-1].max())
    known = dict.fromkeys((find_item(data, text) for text in likes), highest)
    whom = f"somebody who likes {', '.join(data.item_names[index] for index in known)}"
    table = recommendations(model, data, new_user(model, data, known), known)
    return whom, table, {"Liked, and given the highest rating": _rated_table(data, known)}


def find_user(data: RatingsDataModule, user: str | int) -> int:
    """Return the index of the user with an id. Raises UserError if they have no training rating."""
    names = data.user_names[1:]  # row 0 is the unknown user
    try:
        return 1 + names.index(str(user))
    except ValueError:
        raise UserError(
            f"user '{user}': has no training rating; the {len(names):,} users who have some are "
            f"{', '.join([*names[:3], '…', names[-1]] if len(names) > 4 else names)}"
        ) from None


def rated_items(data: RatingsDataModule, part: str, user: int) -> dict[int, float]:
    """Return the user's ratings in ``part`` by item index, without unknown items."""
    users, items, ratings = data.parts[part]
    rows = (users == user) & (items != UNKNOWN)
    return dict(zip(items[rows].tolist(), ratings[rows].tolist(), strict=True))


def recommendations(
    model: CollabFilter, data: RatingsDataModule, user: Tensor, known: dict[int, float]
) -> pl.DataFrame:
    """Return the items that are not in ``known``, by falling predicted rating.

    Args:
        user: factors and bias, (n_factors + 1,), as in ``CollabParameters``.
        known: ratings of the user by item index.

    Returns:
        A table with the columns index, title, predicted (rating), average_user (the same for the
        user whose factors and bias are the means of all users'), and the mean_rating and number of
        ratings in training.
    """
    parameters = CollabParameters.of(model)
    return (
        pl.DataFrame(
            {
                "index": range(len(data.item_names)),
                "title": data.item_names,
                "predicted": parameters.predict(user).numpy(),
                "average_user": parameters.predict(parameters.average_user).numpy(),
                "mean_rating": data.item_mean_rating,
                "ratings": data.item_rating_count,
            }
        )
        .filter(~pl.col("index").is_in([UNKNOWN, *known]))
        .sort("predicted", descending=True, maintain_order=True)
    )


def _rated_table(data: RatingsDataModule, rated: dict[int, float]) -> pl.DataFrame:
    """Return the items by falling rating; of equal ratings, the item with most ratings first."""
    rows = list(rated)
    return pl.DataFrame(
        {
            "title": [data.item_names[index] for index in rows],
            "rating": list(rated.values()),
            "mean_rating": data.item_mean_rating[rows],
            "ratings": data.item_rating_count[rows],
        }
    ).sort("rating", "ratings", descending=True, maintain_order=True)

"""Items that a user has not rated yet, by predicted rating."""

import polars as pl
import torch
from torch import Tensor

from ablab.config.schema import Count, Integer, Text
from ablab.errors import UserError
from ablab.findings import Findings
from lesson5.ratings.collab_filter import CollabFilter
from lesson5.ratings.interpret.fold_in import fold_in
from lesson5.ratings.interpret.parameters import CollabParameters, Side, training_error
from lesson5.ratings.interpret.titles import find_item
from lesson5.ratings.module import UNKNOWN, RatingsDataModule

Model = CollabFilter
COLUMNS = ("predicted", "average_user", "mean_rating", "ratings")


def recommend(
    model: CollabFilter,
    data: RatingsDataModule,
    *,
    user: Text | Integer | None = None,
    likes: list[Text] | None = None,
    top: Count = 10,
    min_ratings: Count = 15,
) -> Findings:
    """Recommendations for a user, for somebody who likes a few items, or for anybody.

    Of a user of the training part, the items that they have not rated in it. For likes, a new user
    who gives each of them the highest rating there is, and whose factors and bias are then the MAP
    estimate with all items left as they are (folding-in). Without either, the items by their bias:
    what the model predicts for a user of whom it knows nothing.

    Beside each prediction stands that for the average user, who has the mean of all users' factors
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
    extracts = {}
    if user is not None:
        index = find_user(data, user)
        known = rated_items(data, "train", index)
        table = recommendations(model, data, CollabParameters.of(model).users[index], known)
        held_out = rated_items(data, "test", index)
        rated = pl.Series(
            "rated_in_test", [held_out.get(row) for row in table["index"]], pl.Float64
        )
        table = table.with_columns(rated)
        extracts[f"What user {user} has rated highest in training, of {len(known)}"] = _rated_table(
            data, known
        ).head(top)
        test = table.filter(pl.col("rated_in_test").is_not_null())
        if len(test):
            title = f"What the model predicts highest of the test part, of {len(test)}"
            extracts[title] = test.select("title", "rated_in_test", *COLUMNS).head(top)
        whom = f"user {user}"
    elif likes is not None:
        known = dict.fromkeys((find_item(data, text) for text in likes), _highest(data))
        table = recommendations(model, data, new_user(model, data, known), known)
        extracts["Liked, and given the highest rating"] = _rated_table(data, known)
        whom = f"somebody who likes {', '.join(data.item_names[index] for index in known)}"
    else:
        if isinstance(model, CollabFilter) and not model.biases:
            raise UserError(
                "recommend: this model has no biases, so all items are alike to it for a user of "
                "whom it knows nothing; give --user or --likes"
            )
        table = recommendations(model, data, CollabParameters.of(model).users[UNKNOWN], {})
        whom = "a user of whom nothing is known"
    table = table.drop("index").insert_column(0, pl.lit(whom).alias("recommended_to"))
    shown = table.filter(pl.col("ratings") >= min_ratings).select("title", *COLUMNS)
    of = f"of {len(shown):,} with {min_ratings} ratings or more"
    extracts[f"For {whom if likes is None else 'somebody who likes them'}, {of}"] = shown.head(top)
    if likes is not None:
        above = pl.col("predicted") - pl.col("average_user")
        extracts["Furthest above the average user"] = shown.sort(above, descending=True).head(top)
    return Findings(tables={"recommend": table}, extracts=extracts)


def find_user(data: RatingsDataModule, user: str | int) -> int:
    """Index of a user by their id. Raises UserError if they have no training rating."""
    names = data.user_names[1:]  # row 0 is the unknown user
    try:
        return 1 + names.index(str(user))
    except ValueError:
        raise UserError(
            f"user '{user}': has no training rating; the {len(names):,} users who have some are "
            f"{', '.join([*names[:3], '…', names[-1]] if len(names) > 4 else names)}"
        ) from None


def rated_items(data: RatingsDataModule, part: str, user: int) -> dict[int, float]:
    """Known items that the user of this index has rated in ``part``, and the ratings."""
    users, items, ratings = data.parts[part]
    of_user = (users == user) & (items != UNKNOWN)
    return dict(zip(items[of_user].tolist(), ratings[of_user].tolist(), strict=True))


def new_user(model: Model, data: RatingsDataModule, known: dict[int, float]) -> Side:
    """Factors and bias of somebody who gave the ratings ``known``, by item index (``fold_in``)."""
    return fold_in(
        CollabParameters.of(model),
        torch.tensor(list(known), dtype=torch.int64),
        torch.tensor(list(known.values())),
        noise_variance=training_error(model, data.parts["train"]),
    )


def recommendations(
    model: Model, data: RatingsDataModule, user: Side, known: dict[int, float]
) -> pl.DataFrame:
    """Items that are not in ``known``, by falling predicted rating.

    Columns: index, title, predicted (rating), average_user (the same of the user whose factors and
    bias are the means of all users'), mean_rating and ratings (their number) in training.
    """
    parameters = CollabParameters.of(model)
    return (
        pl.DataFrame(
            {
                "index": range(len(data.item_names)),
                "title": data.item_names,
                "predicted": parameters.predict(user).numpy(),
                "average_user": parameters.predict(parameters.users.mean()).numpy(),
                "mean_rating": data.item_mean_rating,
                "ratings": data.item_rating_count,
            }
        )
        .filter(~pl.col("index").is_in([UNKNOWN, *known]))
        .sort("predicted", descending=True, maintain_order=True)
    )


def _rated_table(data: RatingsDataModule, rated: dict[int, float]) -> pl.DataFrame:
    """From the highest rating to the lowest; among equal ones the item with most ratings first."""
    rows = list(rated)
    return pl.DataFrame(
        {
            "title": [data.item_names[index] for index in rows],
            "rating": list(rated.values()),
            "mean_rating": data.item_mean_rating[rows],
            "ratings": data.item_rating_count[rows],
        }
    ).sort("rating", "ratings", descending=True, maintain_order=True)


def _highest(data: RatingsDataModule) -> float:
    ratings: Tensor = data.parts["train"][-1]
    return float(ratings.max())

"""Recommendations from tables that fit on a page, and on MovieLens."""

from pathlib import Path

import numpy as np
import pytest
import torch

import ablab
from ablab.errors import UserError
from lesson5.ratings.collab_filter import CollabFilter
from lesson5.ratings.interpret.fold_in import new_user
from lesson5.ratings.interpret.item_factors import cosine_similarities
from lesson5.ratings.interpret.items_by_bias import item_biases
from lesson5.ratings.interpret.parameters import CollabParameters
from lesson5.ratings.interpret.recommend import rated_items, recommend, recommendations
from lesson5.ratings.interpret.titles import find_item
from lesson5.ratings.lesson_movies import overlaps
from lesson5.ratings.module import RatingsDataModule
from tests.launch import ROOT, launch
from tests.lesson5.ratings.small_ratings import TITLES, five_items, model_of

DATA = five_items()
TASTES = [[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 3  # of users 10 to 60
ITEMS = [[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 1.0]]
BIASES = [0.1, 0.2, 0.3, 0.4, 0.5]
MODEL = model_of(DATA, users=TASTES, items=ITEMS, user_bias=[0.0] * 6, item_bias=BIASES)


def test_a_user_gets_what_they_have_not_rated_by_predicted_rating() -> None:
    findings = recommend(MODEL, DATA, user=50, min_ratings=1)
    table = findings.tables["recommend"]  # user 50 has rated items 0 and 1 in training
    assert table["title"].to_list() == [TITLES[3], TITLES[4], TITLES[2]]
    assert table["predicted"].to_list() == pytest.approx([3.4, 1.5, 1.3])
    assert table["average_user"].to_list() == pytest.approx([1.9, 1.5, 0.8])
    assert table["rated_in_test"].to_list() == [2.0, 4.0, None]
    best, held_out, shown = findings.extracts.values()
    assert best["title"].to_list() == [TITLES[0], TITLES[1]]
    assert held_out["title"].to_list() == [TITLES[3], TITLES[4]]
    assert shown["title"].to_list() == table["title"].to_list()


def test_a_user_is_given_by_id_as_text_or_number_and_rare_items_are_not_shown() -> None:
    for user in (50, "50"):
        *_, shown = recommend(MODEL, DATA, user=user, top=1, min_ratings=3).extracts.values()
        assert shown["title"].to_list() == [TITLES[3]]
    *_, shown = recommend(MODEL, DATA, user=50, min_ratings=7).extracts.values()
    assert len(shown) == 0


def test_without_a_user_the_items_come_by_their_bias() -> None:
    (shown,) = recommend(MODEL, DATA, min_ratings=1).extracts.values()
    assert shown["title"].to_list() == list(TITLES[::-1])
    assert shown["predicted"].to_list() == pytest.approx(BIASES[::-1])


def test_who_likes_an_item_gets_similar_ones() -> None:
    findings = recommend(MODEL, DATA, likes=["cost of $5_000", "Amélie"], min_ratings=1)
    liked, _, raised = findings.extracts.values()
    assert liked["rating"].to_list() == [3.0, 3.0]  # the highest there is in training
    assert set(liked["title"]) == {TITLES[2], TITLES[3]}
    assert raised["title"].to_list()[-1] == TITLES[1]  # the furthest from both
    assert not set(liked["title"]) & set(findings.tables["recommend"]["title"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"user": 1, "likes": ["Ran"]}, "give user or likes, not both"),
        ({"user": 70}, "user '70': has no training rating; the 6 users .* 10, 20, 30, …, 60"),
        ({"user": "unknown"}, "has no training rating"),
        ({"likes": ["Alien (1979)", "Brazil"]}, "item 'Brazil': no title"),
    ],
)
def test_what_cannot_be_recommended_is_an_error(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        recommend(MODEL, DATA, **settings)  # type: ignore[arg-type]


def test_without_biases_a_user_or_likes_must_be_given() -> None:
    model = CollabFilter(**DATA.sizes, n_factors=2, biases=False)
    with pytest.raises(UserError, match="give --user or --likes"):
        recommend(model, DATA)
    assert len(recommend(model, DATA, likes=["Ran"]).tables["recommend"]) == 4


# -- the real data ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> tuple[CollabFilter, RatingsDataModule]:
    folder: Path = tmp_path_factory.mktemp("movies")
    settings = ["logger=csv", "interpret=none", f"paths.data={ROOT / 'data'}"]
    larger = "loading.batch_size=256"  # takes a quarter of the time, and learns the same tastes
    launch(["experiment=collab", "trainer.accelerator=cpu", larger, *settings], folder)
    model, data = ablab.load(folder)
    assert isinstance(model, CollabFilter)
    assert isinstance(data, RatingsDataModule)
    return model, data


@pytest.mark.slow
def test_the_lessons_best_and_worst_movies_are_found_again(
    movies: tuple[CollabFilter, RatingsDataModule],
) -> None:
    found = overlaps(item_biases(*movies))  # over three seeds 13 and 10 to 11
    assert found["best"].by_bias >= 12
    assert found["worst"].by_bias >= 9


@pytest.mark.slow
def test_ratings_folded_in_give_nearly_the_predictions_of_their_user(
    movies: tuple[CollabFilter, RatingsDataModule],
) -> None:
    model, data = movies
    parameters = CollabParameters.of(model)
    often = torch.from_numpy(data.item_rating_count >= 15)
    agreement = []
    for user in range(1, 101, 2):
        folded = new_user(model, data, rated_items(data, "train", user))
        predicted = [parameters.predict(u)[often] for u in (folded, parameters.users[user])]
        agreement.append(np.corrcoef(*predicted)[0, 1])
    assert np.mean(agreement) > 0.96


@pytest.mark.slow
def test_a_favourite_raises_what_is_like_it(
    movies: tuple[CollabFilter, RatingsDataModule],
) -> None:
    model, data = movies
    star_wars = find_item(data, "Star Wars (1977)")
    near = cosine_similarities(model, data, star_wars, min_ratings=15)
    assert near["title"][:2].sort().to_list() == [
        "Empire Strikes Back, The (1980)",
        "Return of the Jedi (1983)",
    ]
    known = {star_wars: 5.0}
    table = recommendations(model, data, new_user(model, data, known), known)
    gain = dict(zip(table["title"], table["predicted"] - table["average_user"], strict=True))
    nearest, furthest = (
        [gain[t] for t in part["title"]] for part in (near.head(20), near.tail(20))
    )
    assert np.mean(nearest) > 0.1 > 0.05 > np.mean(furthest)

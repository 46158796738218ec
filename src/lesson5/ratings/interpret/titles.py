"""Find an item by what people write of its title."""

import difflib

from ablab.errors import UserError
from lesson5.ratings.module import RatingsDataModule

SHOWN = 5  # of the items that a text may mean


def find_item(data: RatingsDataModule, text: str) -> int:
    """Return the index of the item that ``text`` means; capitals do not matter.

    It is the only item with this id, else with this title, else with this title apart from the year
    in brackets, else with this text in its title.

    Raises:
        UserError: there is no such item, or there are several; the message names those that may be
            meant.
    """
    wanted = text.strip().casefold()
    if not wanted:
        raise UserError("item: is empty; give a title, a part of one, or an id")
    titles = [title.casefold() for title in data.item_names[1:]]  # row 0 is the unknown item
    undated = [title.partition(" (")[0] for title in titles]
    ids = [str(key).casefold() for key in data.item_ids]
    for found in (
        [index for index, key in enumerate(ids, 1) if key == wanted],
        [index for index, title in enumerate(titles, 1) if title == wanted],
        [index for index, title in enumerate(undated, 1) if title == wanted],
        [index for index, title in enumerate(titles, 1) if wanted in title],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            found.sort(key=lambda index: -data.item_rating_count[index])
            rest = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            named = ", ".join(_named(data, index) for index in found[:SHOWN])
            raise UserError(f"item '{text}': may be {named}{rest}; give more of the title")
    close = difflib.get_close_matches(wanted, undated, n=3, cutoff=0.6)
    meant = [_named(data, undated.index(title) + 1) for title in dict.fromkeys(close)]
    hint = f"; did you mean {' or '.join(meant)}?" if meant else ""
    raise UserError(f"item '{text}': no title of the {len(titles):,} in training contains it{hint}")


def _named(data: RatingsDataModule, index: int) -> str:
    """Return the title, followed by the id where items have ids of their own."""
    key, title = str(data.item_ids[index - 1]), data.item_names[index]
    return f"'{title}'" if key == title else f"'{title}' (id {key})"

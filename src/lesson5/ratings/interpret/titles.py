"""Items by their titles, as people write them."""

import difflib

from ablab.errors import UserError
from lesson5.ratings.module import RatingsDataModule

SHOWN = 5  # of the items that a text may mean


def find_item(data: RatingsDataModule, text: str) -> int:
    """Index of the only item whose id is ``text``, else title, title without the year in brackets,
    or a part of the title. Capitals do not matter.

    Raises:
        UserError: none has it, or several do; the message names those that may be meant.
    """
    wanted = text.strip().casefold()
    if not wanted:
        raise UserError("item: is empty; say a title, a part of one, or an id")
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
            raise UserError(f"item '{text}': may be {named}{rest}; write more of the title")
    close = difflib.get_close_matches(wanted, undated, n=3, cutoff=0.6)
    meant = [_named(data, undated.index(title) + 1) for title in dict.fromkeys(close)]
    told = f"; did you mean {' or '.join(meant)}?" if meant else ""
    raise UserError(f"item '{text}': no title of the {len(titles):,} in training contains it{told}")


def _named(data: RatingsDataModule, index: int) -> str:
    """The title, with its id where items are told apart by ids."""
    key, title = str(data.item_ids[index - 1]), data.item_names[index]
    return f"'{title}'" if key == title else f"'{title}' (id {key})"

"""Capital Bikeshare, 2011 (Fanaee-T & Gama 2014): riders of each hour, and where to have them.

The file is that of the ISLP package (James et al. 2023): 8,645 hours in time order; its sha256
stands below. Temperatures are divided by 41 and 50 °C, humidity by 100, wind by 67 km/h.
"""

import hashlib
from pathlib import Path

import polars as pl

from ablab.data.files.download import Source, fetch_first, wheel_members
from ablab.errors import DataError
from ablab.safety.atomic_files import atomic_write

SHA256 = "ac6950ae6f11efcc69c29d6bb13e8881c001e27d36434660d59444a1414f712c"
FILE = "Bikeshare.csv"


def cache_folder(root: Path) -> Path:
    return root / "bikeshare"


def fetch(root: Path) -> tuple[pl.DataFrame, str]:
    """The verified table, from the cache in ``root`` or else from the first source.

    Raises:
        DataError: no source gives the table, or ``root`` cannot be written.
    """
    cached = cache_folder(root) / FILE
    try:
        return _table(_verified(cached.read_bytes())), "the verified copy"
    except (OSError, DataError):
        pass  # there is none, or it is damaged
    content, source = fetch_first(
        "Bikeshare",
        [
            Source(f"a local copy in {root}", lambda: _local(root)),
            Source("the copy inside the ISLP 0.6.0 wheel", _islp),
        ],
        f"remedy: put {FILE} of the ISLP package into {root}",
    )
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(cached) as file:
            file.write(content)
    except OSError as error:
        raise DataError(
            f"{cached.parent}: cannot be written ({error.strerror}); make room or choose another "
            f"folder with paths.data=…"
        ) from error
    return _table(content), source


def _local(root: Path) -> bytes:
    try:
        return _verified((root / FILE).read_bytes())
    except FileNotFoundError as error:
        raise DataError("there is none") from error
    except OSError as error:
        raise DataError(f"cannot be read ({error})") from error


def _islp() -> bytes:
    (content,) = wheel_members("ISLP", "0.6.0", [f"ISLP/data/{FILE}"])
    return _verified(content)


def _verified(content: bytes) -> bytes:
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(f"the {len(content):,} bytes are not those of {FILE} (the sha256 differs)")
    return content


def _table(content: bytes) -> pl.DataFrame:
    return pl.read_csv(content)

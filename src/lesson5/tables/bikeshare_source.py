"""Capital Bikeshare, 2011 (Fanaee-T & Gama 2014): riders of each hour, and where to download them.

The file is that of the ISLP package (James et al. 2023): 8,645 hours in the order of time.
Temperatures are divided by 41 and 50 °C, humidity by 100, wind by 67 km/h.
"""

from pathlib import Path

import polars as pl

from ablab.data.files.dataset import Dataset, Files, Source, read_file
from ablab.data.files.download import wheel_members

FILE = "Bikeshare.csv"
ISLP = "0.6.0"


def load_bikeshare(root: Path) -> tuple[pl.DataFrame, str]:
    """Return the table and where it came from.

    Raises:
        DataError: no source has it, or ``root`` cannot be written.
    """
    files, source = BIKESHARE.fetch(root)
    return pl.read_csv(files[FILE]), source


def _sources(root: Path) -> list[Source]:
    return [
        Source(f"a local copy in {root}", lambda: {FILE: read_file(root / FILE)}),
        Source(f"the copy inside the ISLP {ISLP} wheel", _islp),
    ]


def _islp() -> Files:
    (content,) = wheel_members("ISLP", ISLP, [f"ISLP/data/{FILE}"])
    return {FILE: content}


BIKESHARE = Dataset(
    title="Bikeshare",
    description="Bikeshare: riders of 8,645 hours of 2011 in Washington, D.C., with the weather",
    terms="CC BY 4.0 (Fanaee-T & Gama, UCI)",
    folder="bikeshare",
    sha256={FILE: "ac6950ae6f11efcc69c29d6bb13e8881c001e27d36434660d59444a1414f712c"},
    sources=_sources,
    remedy=f"put {FILE} of the ISLP package into {{root}}",
)

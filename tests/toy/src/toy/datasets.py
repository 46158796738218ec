"""The data set that ``ablab data`` offers in this project: three bytes that need no download."""

import hashlib

from ablab.data.files.dataset import Dataset, Source

NUMBERS = b"\x01\x02\x03"
DATASETS = {
    "numbers": Dataset(
        title="Numbers",
        description="three numbers",
        terms="none",
        folder="numbers",
        sha256={"numbers": hashlib.sha256(NUMBERS).hexdigest()},
        sources=lambda root: [Source("this module", lambda: {"numbers": NUMBERS})],
        remedy="write them into {root}",
    )
}

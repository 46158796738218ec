"""Oxford-IIIT Pets: photographs of cats and dogs."""

from pathlib import Path

import numpy as np

from ablab.data.images.files import decoded
from ablab.data.images.folder import ImageDataModule, ImageTable
from ablab.data.splits import with_validation
from ablab.errors import DataError


class Pets(ImageDataModule):
    """Oxford-IIIT Pets (Parkhi et al. 2012): 37 breeds, with the official test part.

    ``root`` is the folder where torchvision keeps the data, or to which it downloads them.
    """

    def title(self) -> str:
        return "Oxford-IIIT Pets"

    def load_table(self) -> ImageTable:
        from torchvision.datasets import OxfordIIITPet  # imported here: takes seconds

        try:
            official = [
                OxfordIIITPet(self.root, split=split, download=True)
                for split in ("trainval", "test")
            ]
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"Oxford-IIIT Pets cannot be downloaded ({error}); put images.tar.gz and "
                f"annotations.tar.gz, unpacked, into {self.root / 'oxford-iiit-pet'}"
            ) from error
        files = [Path(file) for part in official for file in part._images]
        n_train, n_all = len(official[0]), len(files)
        train, test = np.split(np.arange(n_all), [n_train])
        return ImageTable(
            decoded(files, self.size, self.cache, root=self.root),
            np.array([label for part in official for label in part._labels]),
            [file.name for file in files],
            list(official[0].classes),
            with_validation(train, test, self.validation_fraction, self.split_seed),
        )

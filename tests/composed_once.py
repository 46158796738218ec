"""Read each YAML text once, and compose once what the config groups chosen give.

Most of the time of a short run is its composition, of which the files and the groups are most:
Hydra sets the values of each run upon a copy. Only compositions of files that no test changes are
kept: those of the package, the toy project and the lesson. All processes of a session share them:
a rank or a job chooses what another one has chosen.
"""

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from hashlib import sha256
from inspect import unwrap
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from omegaconf import DictConfig, OmegaConf

from tests import warm

ROOT = Path(__file__).parents[1]
TOY_CONF = ROOT / "tests" / "toy" / "conf"
FIXED = {ROOT / "conf", ROOT / "src" / "ablab" / "conf", TOY_CONF}
_create = unwrap(config_loader_impl.create_defaults_list)  # Hydra's, in a fork of tests/warm too
_compose = unwrap(ConfigLoaderImpl._compose_config_from_defaults_list)
_load = unwrap(OmegaConf.load)


@contextmanager
def composed_once() -> Iterator[None]:
    """Keep compositions while the context lasts, or use those that are kept already."""
    if config_loader_impl.create_defaults_list is not _create:
        yield
        return
    lists: dict[object, DefaultsList] = {}
    configs: dict[int, bytes] = {}  # by the id of a kept list; a pickle is sooner copied
    to_compose: dict[int, tuple[Path, DefaultsList]] = {}  # by the same
    folder = warm.kept()

    @wraps(_create)
    def create_defaults_list(
        repo: CachingConfigRepository, config_name: str, overrides_list: list[Any], **flags: bool
    ) -> DefaultsList:
        overrides = Overrides(repo, overrides_list)
        groups = [o.input_line for o in overrides_list if o not in overrides.config_overrides]
        sources = [source.path for source in repo.get_sources() if source.scheme() == "file"]
        key = (config_name, *sources, *groups, *flags.items())
        if key not in lists:
            if not {Path(path) for path in sources} <= FIXED:
                return _create(repo, config_name, overrides_list, **flags)
            file = folder / sha256(repr(key).encode()).hexdigest()
            if file.exists():
                lists[key], config = pickle.loads(file.read_bytes())
                configs[id(lists[key].defaults)] = config
            else:
                lists[key] = _create(repo, config_name, overrides_list, **flags)
                to_compose[id(lists[key].defaults)] = file, lists[key]
        found = lists[key]
        return DefaultsList(
            found.defaults, found.defaults_tree, overrides.config_overrides, found.overrides
        )

    @wraps(_compose)
    def compose(self: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> DictConfig:
        if id(defaults) in to_compose:
            config = configs[id(defaults)] = pickle.dumps(_compose(self, defaults, repo))
            file, made = to_compose.pop(id(defaults))
            part = file.with_suffix(f".{os.getpid()}")
            with suppress(OSError):  # A test may leave its process no room for a file.
                part.write_bytes(pickle.dumps((made, config)))
                part.rename(file)
        kept = configs.get(id(defaults))
        return _compose(self, defaults, repo) if kept is None else pickle.loads(kept)

    texts: dict[str, bytes] = {}

    @wraps(_load)
    def load(file: str | Path | IO[str]) -> Any:
        if isinstance(file, str | Path):
            return _load(file)
        text = file.read()
        if text not in texts:
            file.seek(0)  # A fault is told with the name of the file.
            texts[text] = pickle.dumps(_load(file))
        return pickle.loads(texts[text])

    with (
        patch.object(OmegaConf, "load", load),
        patch.object(config_loader_impl, "create_defaults_list", create_defaults_list),
        patch.object(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose),
    ):
        yield

"""Read each YAML text once, and compose once what the config groups chosen give.

Most of the time of a short run is its composition, of which the files and the groups are most:
Hydra sets the values of each run upon a copy. Only compositions of files that no test changes are
kept: those of the package, the toy project and the lesson.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import unwrap
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from omegaconf import DictConfig, OmegaConf

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
    configs: dict[int, bytes | None] = {}  # by the id of a kept list; a pickle is sooner copied

    @wraps(_create)
    def create_defaults_list(
        repo: CachingConfigRepository, config_name: str, overrides_list: list[Any], **flags: bool
    ) -> DefaultsList:
        overrides = Overrides(repo, overrides_list)
        groups = [o.input_line for o in overrides_list if o not in overrides.config_overrides]
        sources = [source.path for source in repo.get_sources() if source.scheme() == "file"]
        key = (config_name, *sources, *groups, *flags.items())
        if key not in lists:
            made = _create(repo, config_name, overrides_list, **flags)
            if not {Path(path) for path in sources} <= FIXED:
                return made
            lists[key] = made
            configs[id(made.defaults)] = None
        found = lists[key]
        return DefaultsList(
            found.defaults, found.defaults_tree, overrides.config_overrides, found.overrides
        )

    @wraps(_compose)
    def compose(self: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> DictConfig:
        if id(defaults) not in configs:
            return _compose(self, defaults, repo)
        kept = configs[id(defaults)] or pickle.dumps(_compose(self, defaults, repo))
        configs[id(defaults)] = kept
        return pickle.loads(kept)

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

"""Compose and check the toy project's config when this is imported, for forks of the importer."""

import gc
import sys
from contextlib import ExitStack

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from ablab.command.folders import register_resolvers
from tests.checks import checked
from tests.composed_once import TOY_CONF, composed_once
from tests.launch import TINY, TOY, using

_kept = ExitStack()
_kept.enter_context(composed_once())
register_resolvers()
for mode in (RunMode.RUN, RunMode.MULTIRUN):
    with initialize_config_dir(str(TOY_CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        loader.load_configuration("config", ["logger=csv"], mode, from_shell=False)
_path = [*sys.path]
with using(TOY / "train.py"):
    checked(TINY)  # It parses the modules of the engine, Lightning and torch that a config names.
sys.path[:] = _path
gc.collect()
gc.freeze()  # so that a fork's collections leave the pages of these objects shared

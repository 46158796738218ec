"""Compose the toy project's config when this is imported, for the forks of who imports it."""

import gc
from contextlib import ExitStack

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from ablab.command.folders import register_resolvers
from tests.composed_once import TOY_CONF, composed_once

_kept = ExitStack()
_kept.enter_context(composed_once())
register_resolvers()
for mode in (RunMode.RUN, RunMode.MULTIRUN):
    with initialize_config_dir(str(TOY_CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        loader.load_configuration("config", ["logger=csv"], mode, from_shell=False)
gc.collect()
gc.freeze()  # so that a fork's collections leave the pages of these objects shared

"""Read, compose and check configs of the toy project and the lesson, for forks."""

import gc
import sys
from contextlib import ExitStack

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from ablab.command.folders import register_resolvers
from tests.checks import checked
from tests.composed_once import FIXED, TOY_CONF, composed_once
from tests.launch import ROOT, TINY, TOY, using

_kept = ExitStack()
_kept.enter_context(composed_once())
register_resolvers()
for conf, groups in (  # what most runs choose
    (TOY_CONF, ["logger=csv"]),
    (ROOT / "conf", []),
    (ROOT / "conf", ["experiment=collab"]),
    (ROOT / "conf", ["data=synthetic_ratings", "logger=csv"]),
):
    with initialize_config_dir(str(conf), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        for mode in (RunMode.RUN, RunMode.MULTIRUN):
            loader.load_configuration("config", groups, mode, from_shell=False)
for conf in FIXED:
    for path in conf.rglob("*.yaml"):
        with path.open(encoding="utf-8") as file:
            OmegaConf.load(file)
_path = [*sys.path]
for of, chosen in (TOY, TINY), (ROOT, ["experiment=collab"]), (ROOT, ["experiment=mnist_nn"]):
    with using(of / "train.py"):
        checked(chosen)  # It parses the modules that a config names.
sys.path[:] = _path
gc.collect()
gc.freeze()  # so that a fork's collections leave the pages of these objects shared

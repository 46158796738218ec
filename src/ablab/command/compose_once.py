"""Compose the config of a command once, where Hydra does it twice."""

from collections.abc import Callable

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf


def compose_once(compose: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Return what takes the place of ``ConfigLoaderImpl.load_configuration``, here ``compose``.

    Hydra composes first to learn ``hydra.mode`` and, where it is not set, again with
    ``hydra.mode=RUN`` or ``=MULTIRUN`` as the last override. Then the first config is returned,
    with the mode set; it takes a fifth of a second and more to compose another.
    """
    kept: list[tuple[str | None, list[str], DictConfig]] = []  # at most one

    def composed(
        self: ConfigLoaderImpl,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        mode = f"hydra.mode={run_mode.name}"
        if kept:
            name, words, first = kept.pop()
            if (name, [*words, mode]) == (config_name, overrides) and _serves(first, run_mode):
                parsed = OverridesParser.create().parse_overrides(overrides)
                self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
                first.hydra.mode = run_mode
                first.hydra.overrides.hydra.append(mode)
                return first
        cfg = compose(
            self,
            config_name,
            overrides,
            run_mode,
            from_shell=from_shell,
            validate_sweep_overrides=validate_sweep_overrides,
        )
        if not validate_sweep_overrides and cfg.hydra.mode is None:
            kept.append((config_name, [*overrides], cfg))
        return cfg

    return composed


def _serves(first: DictConfig, run_mode: RunMode) -> bool:
    """Return whether a config that was composed to learn the mode is that of ``run_mode`` too.

    It was composed as for a sweep, where a group may be chosen by each job (``???``).
    """
    choices = first.hydra.runtime.choices
    return run_mode == RunMode.MULTIRUN or not any(
        OmegaConf.is_missing(choices, c) for c in choices
    )

"""Train, test or predict: ``python train.py experiment=collab``; see ``--help``."""

import hydra
from omegaconf import DictConfig

from ablab.command.main import execute, run_with_clear_errors


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float | None:
    return execute(cfg)


if __name__ == "__main__":
    run_with_clear_errors(main)

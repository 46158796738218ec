"""Train, test or predict: ``python train.py experiment=collab``; see ``--help``."""

from ablab.command.main import main

if __name__ == "__main__":
    main(__file__)

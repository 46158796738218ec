"""Train, test or predict: ``python train.py [key=value …]``; ``--help`` shows every setting."""

from ablab.command.main import main

if __name__ == "__main__":
    main(__file__)

"""What sparse gradients, those of the rows that a batch has read, do not go with."""

from collections.abc import Iterator

from ablab.config.schema import SGD, Optim, RowwiseAdagrad


def sparse_faults(optim: Optim) -> Iterator[str]:
    """Why ``optim`` would have to touch every row at each step; nothing if it need not."""
    if not isinstance(optim, SGD | RowwiseAdagrad):
        yield (
            f"optim.name: '{optim.name}' moves every row at each step, also those without a "
            f"gradient; with sparse gradients use optim=rowwise_adagrad or optim=sgd"
        )
    elif isinstance(optim, SGD) and optim.momentum > 0:
        yield (
            "optim.momentum: moves every row at each step, also those without a gradient; with "
            "sparse gradients set optim.momentum=0.0, or use optim=rowwise_adagrad"
        )
    decay = optim.weight_decay
    if decay.mode in ("l2", "l2_loss") and decay.value > 0:
        yield (
            f"optim.weight_decay.mode: '{decay.mode}' gives every row a gradient at each step; "
            f"with sparse gradients use decoupled or independent"
        )

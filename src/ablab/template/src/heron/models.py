"""The model: layers and ``forward``. What trains it comes from ablab."""

from torch import Tensor, nn

from ablab import SupervisedModule


class Net(SupervisedModule):
    """One hidden layer."""

    def __init__(self, n_inputs: int, n_classes: int, n_hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_inputs, n_hidden)
        self.output = nn.Linear(n_hidden, n_classes)

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """Groups that can have learning rates of their own (``optim.lr_spread``)."""
        return {"hidden": [self.hidden], "output": [self.output]}

    def forward(self, points: Tensor) -> Tensor:
        """Points (B, n_inputs) -> logits (B, n_classes)."""
        return self.output(self.hidden(points).relu())

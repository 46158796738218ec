"""The lesson's models in plain torch, for contenders that share no code with ours."""

import torch
from torch import Tensor, nn

from benchmarks.contenders.task import Task

Y_RANGE = (0.0, 5.5)
N_FACTORS = 40


class DotProduct(nn.Module):
    """lo + (hi - lo) · sigmoid(p_u · q_i + b_u + b_i), fastai's ``EmbeddingDotBias``."""

    def __init__(self, n_users: int, n_items: int) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(n_users, N_FACTORS), nn.Embedding(n_items, N_FACTORS)
        self.user_bias, self.item_bias = nn.Embedding(n_users, 1), nn.Embedding(n_items, 1)
        for table in self.children():
            assert isinstance(table, nn.Embedding)
            nn.init.trunc_normal_(table.weight, std=0.01)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """users (B,), items (B,), indices -> predicted ratings (B,)."""
        score = (self.users(users) * self.items(items)).sum(1)
        score = score + self.user_bias(users).squeeze(1) + self.item_bias(items).squeeze(1)
        low, high = Y_RANGE
        return low + (high - low) * torch.sigmoid(score)


def plain_model(task: Task) -> tuple[nn.Module, nn.Module]:
    """Return the model that ``task`` names, and its loss."""
    sizes = task.sizes
    match task.model:
        case "collab":
            return DotProduct(sizes["n_users"], sizes["n_items"]), nn.MSELoss()
        case "mnist_nn":
            n_hidden = 50
            layers = (
                nn.Linear(sizes["n_inputs"], n_hidden),
                nn.ReLU(),
                nn.Linear(n_hidden, sizes["n_classes"]),
            )
            return nn.Sequential(*layers), nn.CrossEntropyLoss()
        case "mnist_logistic":
            return nn.Linear(sizes["n_inputs"], sizes["n_classes"]), nn.CrossEntropyLoss()
        case other:
            raise ValueError(f"no such model: {other}")


@torch.no_grad()
def score(model: nn.Module, part: list[Tensor], metric: str) -> float:
    """Return RMSE or accuracy over a part, in one batch."""
    *inputs, target = part
    output = model(*inputs)
    if metric == "rmse":
        return float((output - target).square().mean().sqrt())
    return float((output.argmax(1) == target).float().mean())

"""LightningModules as people bring them, with their own steps: none uses the engine."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy


class GAN(LightningModule):
    """Manual optimisation by two optimisers and a schedule, with noise drawn in each step."""

    def __init__(self, n_inputs: int, n_latent: int = 4, lr: float = 1e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.n_latent, self.lr = n_latent, lr
        self.generator = nn.Sequential(nn.Linear(n_latent, 16), nn.ReLU(), nn.Linear(16, n_inputs))
        self.critic = nn.Sequential(
            nn.Linear(n_inputs, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1)
        )

    def configure_optimizers(self) -> Any:
        generator = torch.optim.Adam(self.generator.parameters(), lr=self.lr, betas=(0.5, 0.9))
        critic = torch.optim.RMSprop(self.critic.parameters(), lr=self.lr / 2)
        return [generator, critic], [torch.optim.lr_scheduler.ExponentialLR(generator, 0.9)]

    def sample(self, n: int) -> Tensor:
        return self.generator(torch.randn(n, self.n_latent, device=self.device))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        real, _ = batch
        optimizers: Any = self.optimizers()
        false = self.sample(len(real)).detach()
        losses = (
            functional.softplus(-self.critic(real)).mean()
            + functional.softplus(self.critic(false)).mean()
        )
        self._step(optimizers[1], losses.mean())
        self._step(optimizers[0], functional.softplus(-self.critic(self.sample(len(real)))).mean())
        self.log("train/critic", losses.mean(), on_step=True, on_epoch=True)

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def on_train_epoch_end(self) -> None:
        scheduler: Any = self.lr_schedulers()
        scheduler.step()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/distance", self._distance(batch[0]))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test/distance", self._distance(batch[0]))

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {"score": self.critic(batch[0]).squeeze(1), "drawn": self.sample(len(batch[0]))}

    def _distance(self, real: Tensor) -> Tensor:
        return (self.sample(len(real)).mean(0) - real.mean(0)).norm()


class Classifier(LightningModule):
    """Automatic optimisation, in two layer groups; it configures no optimiser."""

    def __init__(self, n_inputs: int, n_classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = dropout
        self.body, self.head = nn.Linear(n_inputs, 8), nn.Linear(8, n_classes)
        self.seen = MulticlassAccuracy(n_classes)

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        return {"body": [self.body], "head": [self.head]}

    def forward(self, points: Tensor) -> Tensor:
        hidden = torch.relu(self.body(points))
        return self.head(functional.dropout(hidden, self.dropout, self.training))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        points, labels = batch
        output = self(points)
        self.seen(output, labels)
        self.log("train_seen", self.seen, on_step=False, on_epoch=True)
        return functional.cross_entropy(output, labels)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", functional.cross_entropy(self(batch[0]), batch[1]))


class WithPlateau(Classifier):
    """A classifier whose learning rate Lightning lowers when its validation loss rises.

    With ``interval`` "step" it is told after each step what the last validation has measured.
    """

    def __init__(self, n_inputs: int, n_classes: int, interval: str = "epoch") -> None:
        super().__init__(n_inputs, n_classes)
        self.interval = interval

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0, momentum=0.9)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": plateau,
                "monitor": "val_loss",
                "interval": self.interval,
                "strict": False,
            },
        }


class Stateful(Classifier):
    """A classifier that puts into its checkpoints what runs code when it is read."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["module"] = nn.ReLU()

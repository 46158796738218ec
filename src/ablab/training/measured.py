"""A LightningModule that measures its outputs by the objective of a config."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.precision import HalfPrecision
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from ablab.training.losses import activation_of, sum_and_count
from ablab.training.metrics import Quotient, named_values

_HALF = (torch.float16, torch.bfloat16)


class MeasuredModule(LightningModule):
    """Steps of validation, test and prediction for a loss and metrics that are not the module's.

    Loss and metrics are exact over an epoch: weighted by rows, whatever the batch size.
    """

    def split_batch(self, batch: Any) -> tuple[Sequence[Any], Tensor]:
        """Return the arguments of ``forward`` and the target; override it for batches that are not
        ``(*inputs, target)``, such as dictionaries."""
        *inputs, target = batch
        return inputs, target

    def set_objective(self, loss: nn.Module, metrics: dict[str, Metric]) -> None:
        """Set the loss and the metrics, by name."""
        self.loss_function = loss
        self.activation = activation_of(loss)
        self.evaluation_loss = Quotient()
        # Metrics whose first batch gives them equal states would otherwise be taken for the same,
        # as accuracies with two thresholds are.
        self.evaluation_metrics = MetricCollection(dict(metrics), compute_groups=False)
        self.metric_names = list(metrics)
        self.several: set[str] = set()  # metrics of more than one number, once that is known
        self.class_names: Sequence[str] = ()

    @property
    def metric_directions(self) -> dict[str, str]:
        """``min`` or ``max`` by the name of the metric, for those that say what is better."""
        higher = {name: m.higher_is_better for name, m in self.evaluation_metrics.items()}
        said = {name: "max" if up else "min" for name, up in higher.items() if up is not None}
        return {"loss": "min", **said}

    def on_validation_start(self) -> None:
        self._sum_in_single_precision()

    def on_test_start(self) -> None:
        self._sum_in_single_precision()

    def _sum_in_single_precision(self) -> None:
        """Keep the sums of loss and metrics out of 16 bits, to which ``precision=bf16-true``
        converts them: there 256 + 1 is 256."""
        if isinstance(self.trainer.precision_plugin, HalfPrecision):
            self.evaluation_loss.to(torch.float32)
            self.evaluation_metrics.to(torch.float32)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        result = self._evaluation_result("val")
        if not self.trainer.sanity_checking:  # those are a few batches, before the first step
            self.report(result)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluate(batch)

    def on_test_epoch_end(self) -> None:
        self.log_dict(self._evaluation_result("test"), logger=False)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, _ = self.split_batch(batch)
        return self.activation(self(*inputs))

    def report(self, values: dict[str, float], step: int | None = None) -> None:
        """Report what was measured at an optimiser step; None for the present one."""
        raise NotImplementedError

    def _evaluate(self, batch: Any) -> None:
        inputs, target = self.split_batch(batch)
        output = self(*inputs)
        loss = self.loss_function(output, target)
        self.evaluation_loss.update(*sum_and_count(self.loss_function, loss, target))
        if output.dtype in _HALF:
            output, target = output.float(), target.float() if target.dtype in _HALF else target
        self.evaluation_metrics.update(self.activation(output), target)

    def _evaluation_result(self, stage: str) -> dict[str, float]:
        values = {"loss": float(self.evaluation_loss.compute())}
        for name in self.metric_names:  # in the config's order
            computed = self.evaluation_metrics[name].compute()
            values |= named_values(name, computed, self.class_names)
        self.evaluation_loss.reset()
        self.evaluation_metrics.reset()
        return {f"{stage}/{name}": value for name, value in values.items()}

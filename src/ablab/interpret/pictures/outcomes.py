"""The outcomes of a classifier for a part: one forward pass for several interpretations."""

from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from ablab.config.schema import Part, Text
from ablab.data.images.pictures import PictureDataModule
from ablab.errors import UserError
from ablab.interpret.layers.activations import as_rows, outputs, recorded
from ablab.training.losses import loss_per_row
from ablab.training.module import SupervisedModule


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of the N rows of ``part``, in its order.

    Attributes:
        part: of the data.
        names: of the N pictures.
        classes: names of the C classes.
        labels, predictions: int64, (N,).
        probabilities: float32, (N, C).
        losses: of the model's own objective, (N,).
        activations: of a layer, (N, n_features).
    """

    part: Part
    names: list[str]
    classes: list[str]
    labels: Tensor
    predictions: Tensor
    probabilities: Tensor
    losses: Tensor
    activations: Tensor

    @property
    def accuracy(self) -> float:
        return (self.predictions == self.labels).double().mean().item()

    def summary(self) -> str:
        """Return the accuracy and N, in words."""
        return f"accuracy {self.accuracy:.4f}, n = {len(self.labels):,}"

    def table(self) -> pl.DataFrame:
        """Return a table with a row for each picture.

        Its columns are ``image``, ``label``, ``prediction``, the ``probability`` of the prediction,
        that of the label (``label_probability``), and ``loss``.
        """
        chosen = torch.stack([self.predictions, self.labels], dim=1)
        probability, label_probability = self.probabilities.gather(1, chosen).unbind(dim=1)
        return pl.DataFrame(
            {
                "image": self.names,
                "label": [self.classes[i] for i in self.labels],
                "prediction": [self.classes[i] for i in self.predictions],
                "probability": probability.numpy(),
                "label_probability": label_probability.numpy(),
                "loss": self.losses.numpy(),
            }
        )


@torch.no_grad()
def outcomes(
    model: SupervisedModule,
    data: PictureDataModule,
    part: Part = "test",
    layer: Text | None = None,
) -> Outcomes:
    """Return the outcomes of one forward pass over ``part``; ``layer`` is as in ``recorded``.

    Raises:
        UserError: the model does not give a column for each class, or has no such layer; the data
            have no such part.
    """
    if part not in data.parts:
        raise UserError(f"there is no part '{part}'; the data have {', '.join(data.parts)}")
    labels = data.labels(part)
    with recorded(model, layer) as records:
        output = outputs(model, data, part)
    if output.dim() != 2 or output.shape[1] < 2:
        raise UserError(
            f"{type(model).__name__}: its output for a row has shape {tuple(output.shape[1:])}; "
            f"that of a classifier has a number for each of two or more classes"
        )
    probabilities = model.activation(output).float()
    return Outcomes(
        part=part,
        names=data.picture_names(part),
        classes=data.class_names(output.shape[1]),
        labels=labels,
        predictions=probabilities.argmax(dim=1),
        probabilities=probabilities,
        losses=loss_per_row(model.loss_function, output, labels),
        activations=as_rows(records, len(labels), layer),
    )

"""The interpretations of a classifier together, from one forward pass over the test part."""

from lab.config.schema import Count, Text
from lab.data.pictures import PictureDataModule
from lab.interpret.activation_map import activation_map_findings
from lab.interpret.confusion_matrix import confusion_findings
from lab.interpret.findings import Findings
from lab.interpret.outcomes import outcomes
from lab.interpret.top_losses import top_losses_findings
from lab.module import SupervisedModule


def classification(
    model: SupervisedModule,
    data: PictureDataModule,
    *,
    top: Count = 12,
    layer: Text | None = None,
) -> Findings:
    """Confusion matrix, top losses and activation map, from one pass over the test part.

    Args:
        top: how many losses are shown; of confused pairs, five.
        layer: of the activation map, by its dotted name; none for the input of the last linear
            layer.
    """
    found = outcomes(model, data, layer=layer)
    parts = (
        confusion_findings(found, 5),
        top_losses_findings(found, data, top),
        activation_map_findings(found, layer),
    )
    together = Findings()
    for part in parts:
        together.tables.update(part.tables)
        together.figures.update(part.figures)
        together.extracts.update(part.extracts)
    return together

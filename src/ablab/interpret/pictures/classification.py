"""All interpretations of a classifier together, from one forward pass over a part."""

from ablab.config.schema import Count, Part, Text
from ablab.data.images.pictures import PictureDataModule
from ablab.findings import Findings
from ablab.interpret.pictures.activation_map import activation_map_findings
from ablab.interpret.pictures.confusion_matrix import confusion_findings
from ablab.interpret.pictures.outcomes import outcomes
from ablab.interpret.pictures.top_losses import top_losses_findings
from ablab.training.module import SupervisedModule


def classification(
    model: SupervisedModule,
    data: PictureDataModule,
    *,
    top: Count = 12,
    layer: Text | None = None,
    part: Part = "test",
) -> Findings:
    """The confusion matrix, the top losses and the activation map, from one forward pass.

    Args:
        top: how many losses are shown; of confused pairs, five are.
        layer: the dotted name of the activation map's layer; none for the input of the last linear
            layer.
        part: part of the data: test, val or train.
    """
    found = outcomes(model, data, part, layer)
    each = (
        confusion_findings(found, 5),
        top_losses_findings(found, data, top),
        activation_map_findings(found, layer),
    )
    together = Findings()
    for one in each:
        together.tables.update(one.tables)
        together.figures.update(one.figures)
        together.extracts.update(one.extracts)
    return together

"""What ``ablab interpret KIND RUN`` offers, by what the run was trained on.

A package of the project adds kinds in a module ``interpretations`` of its own, in the same form:
``KINDS = {"ratings": {"items_by_bias": "package.module.function"}}``.
"""

from ablab import project

KINDS = {
    "any run": {
        "training_curves": "ablab.interpret.training_curves.training_curves",
    },
    "classes of pictures": {
        "classification": "ablab.interpret.pictures.classification.classification",
        "confusion_matrix": "ablab.interpret.pictures.confusion_matrix.confusion_matrix",
        "top_losses": "ablab.interpret.pictures.top_losses.top_losses",
        "activation_map": "ablab.interpret.pictures.activation_map.activation_map",
        "similar_images": "ablab.interpret.pictures.similar_images.similar_images",
    },
}


def all_kinds() -> dict[str, dict[str, str]]:
    """Return the engine's kinds and those of the project's packages."""
    own = project.current().modules("interpretations")
    return {**KINDS, **{of: kinds for module in own for of, kinds in module.KINDS.items()}}

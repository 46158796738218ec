"""What ``python -m lab.interpret KIND RUN`` knows, by what the run was trained on."""

KINDS = {
    "any run": {
        "training_curves": "lab.interpret.training_curves.training_curves",
    },
    "ratings": {
        "items_by_bias": "lab.interpret.embeddings.items_by_bias",
        "items_by_count": "lab.interpret.embeddings.items_by_count",
        "item_factors": "lab.interpret.item_factors.item_factors",
        "similar_items": "lab.interpret.item_factors.similar_items",
        "recommend": "lab.interpret.recommend.recommend",
    },
    "tables": {
        "category_maps": "lab.interpret.category_maps.category_maps",
        "embedding_features": "lab.interpret.embedding_features.embedding_features",
    },
    "classes of pictures": {
        "classification": "lab.interpret.classification.classification",
        "confusion_matrix": "lab.interpret.confusion_matrix.confusion_matrix",
        "top_losses": "lab.interpret.top_losses.top_losses",
        "activation_map": "lab.interpret.activation_map.activation_map",
        "similar_images": "lab.interpret.similar_images.similar_images",
        "similarity_agreement": "lab.interpret.similar_images.similarity_agreement",
    },
}

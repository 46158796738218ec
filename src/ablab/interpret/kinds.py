"""What ``python -m ablab.interpret KIND RUN`` knows, by what the run was trained on."""

KINDS = {
    "any run": {
        "training_curves": "ablab.interpret.training_curves.training_curves",
    },
    "ratings": {
        "items_by_bias": "lesson5.ratings.interpret.items_by_bias.items_by_bias",
        "items_by_count": "lesson5.ratings.interpret.items_by_bias.items_by_count",
        "item_factors": "lesson5.ratings.interpret.item_factors.item_factors",
        "similar_items": "lesson5.ratings.interpret.item_factors.similar_items",
        "recommend": "lesson5.ratings.interpret.recommend.recommend",
    },
    "tables": {
        "category_maps": "lesson5.tables.interpret.category_maps.category_maps",
        "embedding_features": "lesson5.tables.interpret.embedding_features.embedding_features",
    },
    "classes of pictures": {
        "classification": "ablab.interpret.pictures.classification.classification",
        "confusion_matrix": "ablab.interpret.pictures.confusion_matrix.confusion_matrix",
        "top_losses": "ablab.interpret.pictures.top_losses.top_losses",
        "activation_map": "ablab.interpret.pictures.activation_map.activation_map",
        "similar_images": "ablab.interpret.pictures.similar_images.similar_images",
    },
}

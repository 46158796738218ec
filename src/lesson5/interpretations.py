"""The interpretations of the lesson's models, for ``ablab interpret KIND RUN``."""

KINDS = {
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
}

"""Tests of tables, with a short run of entity embeddings."""

TABLE = [
    "data=synthetic_table",
    "model=entity_embedding",
    "objective=log_regression",
    "logger=csv",
    "threads=1",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=5",
    "optim.lr=1e-2",
]

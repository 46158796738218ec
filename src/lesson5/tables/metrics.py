"""Metrics that torchmetrics has not."""

"""Ablation Lab: a PyTorch Lightning + Hydra research template for people who run ablations."""

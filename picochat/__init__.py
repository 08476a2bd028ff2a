"""picochat: train small chat models with PyTorch Lightning, and measure what each part of a task mixture taught."""

__version__ = "0.1.0"

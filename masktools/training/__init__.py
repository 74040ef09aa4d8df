"""Training: data, losses, discriminators and a Lightning module for each part; not needed to use a model."""

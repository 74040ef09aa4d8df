"""Training: data, losses, discriminators and one Lightning module a part; nothing here is needed to use a model."""

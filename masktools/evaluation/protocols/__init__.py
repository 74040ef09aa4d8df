"""What is measured, and how: one protocol for each thing that a model does."""

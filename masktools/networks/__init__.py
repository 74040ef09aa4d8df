"""Networks: tokenizers, the masked transformer, vocoders, conditioners; layers that multiply fast."""

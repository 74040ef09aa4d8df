"""Networks: tokenizers, the masked transformer, vocoders, conditioners; packed layers for fast inference."""

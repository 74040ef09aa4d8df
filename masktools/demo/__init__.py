"""The demonstration: recordings that the project plays itself, each job done on them, and a page to hear it all."""

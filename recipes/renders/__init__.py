"""Training audio of the project's own: composed music, synthetic speech and their mixtures, rendered to files."""

"""Words of the house: errors, settings, shapes, arguments, devices, spans of time."""

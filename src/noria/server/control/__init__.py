"""The control API: what the platform knows and decides, over HTTP; it never runs users' code nor loads a model."""

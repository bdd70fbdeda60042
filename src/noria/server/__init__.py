"""The HTTP doors: the gateway, which answers predictions, and the control API."""

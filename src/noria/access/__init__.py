"""Who may do what in which project."""

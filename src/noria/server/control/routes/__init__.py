"""The routes of the control API: each asks one verb of one room, and shapes its answer."""

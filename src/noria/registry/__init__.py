"""Models and their numbered versions, the aliases that move between them, and who moved them."""

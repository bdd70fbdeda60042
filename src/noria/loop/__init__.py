"""The wheel: what a loop is, when it turns, and what each fact makes it do."""

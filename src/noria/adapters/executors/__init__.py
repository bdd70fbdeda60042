"""What executes steps outside the run's own process; only `boot` picks one."""

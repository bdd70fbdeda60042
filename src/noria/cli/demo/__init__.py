"""The demonstration: the flights of 2013, replayed through five retraining policies on a simulated clock."""

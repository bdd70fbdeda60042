"""What every room may lean on: errors, context, clock, ids, digests and the codec port. Imports nothing of ours."""

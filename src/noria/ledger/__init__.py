"""What happened, told once and for ever: facts, their order, and proofs that nobody changed them."""

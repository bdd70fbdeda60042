"""How good a model is: metrics, slices, paired comparisons on held-back rows, and gates that judge them."""

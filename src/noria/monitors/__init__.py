"""Watches what is live: drift of the rows, quality as labels come; raises signals."""

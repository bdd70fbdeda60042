"""Pure numbers: distances, mergeable summaries, scores, intervals and power. Knows none of Noria's nouns."""

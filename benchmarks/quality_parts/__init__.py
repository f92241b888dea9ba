"""Parts of the comparison of quality: the design, the sites, the peers, the evaluator, the table."""

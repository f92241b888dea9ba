"""Parts of the acceptance table of verdicts: each a function of `tables` with a fixed seed, giving rows."""

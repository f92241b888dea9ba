"""Training of SAE families: the package's place is kept, no trainer has landed yet."""

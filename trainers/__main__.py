"""`python -m trainers` is `sae-train`; torchrun starts it this way."""

from trainers.cli import main

main()

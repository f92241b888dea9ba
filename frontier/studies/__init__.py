"""What evaluations with values per batch can say beyond the metrics table; `trainers.evaluate` makes them.

========================  =============================================================================
`evaluation`              metrics, sums per batch and firing counts of several SAEs: saved and loaded
`batch_sums`              from sums over batches to metrics and their standard errors
`paired_frontiers`        curves on the same batches of text, compared at equal L0
`over_seeds`              means of numbers that several seeds have, the seed as the unit
`pruning_costs`           what each way of pruning costs each SAE
`frequency`               how often latents fire, how many fire often, and at what cost
`transcoders`             curves of families that go from one site to another
`figures`                 the figures of these, of fine-tuning, rescaling and inference-time search
========================  =============================================================================
"""

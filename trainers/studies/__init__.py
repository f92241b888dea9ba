"""What is done to trained SAEs, and what their latents look like; each gives rows of the metrics table.

========================  =============================================================================
`prune`                   the lowest activations removed, four ways; `pruning_costs` compares them
`rescale`                 magnitudes of a ReLU SAE fitted again, detections unchanged
`inference_time`          codes by gradient or matching pursuit (`pursuit`): the dictionary by itself
`finetune`                a short fine-tune with KL to the clean model, and its control
`frequency`               how often latents fire, how many fire often, and at what cost
`activation_sizes`        histograms of active codes by penalty
`error_anatomy`           parts of the error that are linear in x, in the latents, and the rest
`true_l0`                 recovery of known features against L0
`transcoders`             curves of families that go from one site to another
`equal_compute`           dictionary sizes at equal multiplications per token
`configurations`          the families behind docs/looking_inside.md: `python -m trainers.studies`
========================  =============================================================================
"""

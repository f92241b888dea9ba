"""What is done to trained SAEs, and what their latents look like; each gives rows of the metrics table.

========================  =============================================================================
`prune`                   the lowest activations removed, four ways
`rescale`                 magnitudes of a ReLU SAE fitted again, detections unchanged
`inference_time`          codes by matching or gradient pursuit (`pursuit`): the dictionary by itself
`finetune`                a short fine-tune with KL to the clean model, and its control
`activation_sizes`        histograms of active codes by penalty
`error_anatomy`           parts of the error that are linear in x, in the latents, and the rest
`cross_fitted_maps`       the maps that say so: fitted on other text than they are scored on
`true_l0`                 recovery of known features against L0
`equal_compute`           dictionary sizes at equal multiplications per token
`configurations`          the families behind docs/looking_inside.md: `python -m trainers.studies`
========================  =============================================================================

What needs no torch (paired frontiers, costs of pruning, frequency curves) is in `frontier.studies`.
"""

"""MySAE: an SAE with a penalty of its own; docs/own_architecture.md explains, `sae-train check` checks it."""

from dataclasses import dataclass

from trainers.architectures import Architecture, Losses, squared_error, weighted


@dataclass(frozen=True)
class MySAE(Architecture):
    """Codes f = relu((x − b_dec) W_enc + b_enc); loss = mean ‖x − x̂‖² + λ mean Σ log(1 + f / width)."""

    width: float = 1.0  # an option, with its default: options = { width = 0.5 } in a configuration

    sweep = (0.3, 1.0, 3.0)  # settings (here λ) that give an L0 of 1 to 50: pilots begin there
    # setting_name = "k"                     what a setting is, if it is not λ
    # input_units = ("b_enc", "threshold")   parameters in the unit of x; the scale of x is folded into them
    # estimated = ("threshold",)             parameters whose gradient is an estimate, not the loss's slope
    # decoder = "W_dec"                      the parameter whose rows [F, d_out] the latents write
    # signed = True                          codes may be below 0

    def start(self, d_in, d_out, size, means, seed):
        """One SAE's weights: W_enc [d_in, F], b_enc [F], W_dec [F, d_out] (rows of norm 1), b_dec [d_out]."""
        return super().start(d_in, d_out, size, means, seed)  # | {"gain": torch.zeros(size)}

    def encode(self, p, x):
        """Codes [..., B, F] of activations x [B, d_in]; the dots are members: of none, or of a stack."""
        return self.pre_activations(p, x).relu()

    def loss(self, p, state, x, target, knobs):
        """The loss [...] of a batch; sums over latents, means over tokens, so that it fits both engines."""
        f = self.encode(p, x)
        x_hat = self.decode(p, f)  # f W_dec + b_dec
        size = (1 + f / self.width).log().sum(-1).mean(-1)
        total = squared_error(x_hat, target) + weighted(knobs.setting, knobs.ramp * size)
        return Losses(total, f, x_hat, {})  # the last: new values of the state, if there is one

    # def state(self, size):                   what a step changes without a gradient: {"idle": zeros(size)}
    # def inference(self, p, state, setting):  what encode needs when trained: dict(p) | {"threshold": ...}
    # def metrics(self, p, x, f, target):      more columns of the table: {"name": a value per token [B]}

"""A small language model with text of its own, and small SAEs, for the tests of what comes after training."""

import dataclasses
import math

import torch
import transformers

from trainers.architectures import ReLU
from trainers.language_models import LanguageModel
from trainers.sae import SAE

V, D, F = 37, 12, 20
SITE = "mlp_out.1"


def language_model(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=V, n_embd=D, n_layer=2, n_head=2, n_positions=32, bos_token_id=1, eos_token_id=2,
        pad_token_id=0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.4 * torch.randn_like(weight))
    return LanguageModel(model.to(dtype), name="random")


def text(model, seed, windows=16, length=12):
    """Windows that start with the start token; one ends in padding."""
    g = torch.Generator().manual_seed(seed)
    found = torch.randint(3, V, (windows, length), generator=g)
    found[:, 0] = 1
    found[3, 7:] = 0
    return found


def counted_activations(model, tokens, site=SITE):
    return model.capture(tokens, [site])[site][model.counted(tokens)]


def relu_sae(seed, bias=0.0, name=None):
    g = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(F, D, generator=g), dim=1)
    lengths = 0.5 + torch.rand(F, 1, generator=g)
    p = {
        "W_enc": rows.T.contiguous(), "b_enc": bias + 0.3 * torch.randn(F, generator=g),
        "W_dec": rows * lengths, "b_dec": 0.1 * torch.randn(D, generator=g),
    }  # fmt: skip
    identity = {
        "run_id": name or f"s{seed}", "family": "relu", "architecture": "relu",
        "sparsity_setting": bias, "sparsity_name": "lambda",
    }  # fmt: skip
    return SAE(ReLU(), p, identity)


@dataclasses.dataclass
class Foreign:
    """A ReLU autoencoder that shares nothing with ours but the interface."""

    seed: int = 0
    bias: float = 0.0
    identity: dict = dataclasses.field(default_factory=lambda: {"run_id": "s0", "family": "relu"})
    d_in: int = D
    d_out: int = D
    dictionary_size: int = F

    def __post_init__(self):
        g = torch.Generator().manual_seed(self.seed)
        self.W = torch.randn(self.d_in, F, generator=g) / math.sqrt(D)
        self.out = torch.randn(F, self.d_out, generator=g) / math.sqrt(D)

    def encode(self, x):
        return torch.relu(x @ self.W + self.bias)

    def decode(self, f):
        return f @ self.out

"""SAEs with random weights, one for each architecture and option that changes what is exported."""

import json

import torch

from frontier.writing import SUMS
from trainers.architectures import architecture
from trainers.sae import SAE

SQUARE = {
    "relu": ("relu", {}, {}),
    "relu_unit_rows": ("relu", {"free_decoder_norms": False}, {}),
    "relu_root": ("relu", {"p": 0.5, "inside_scale": 0.1}, {}),
    "relu_no_shift": ("relu", {"subtract_decoder_bias": False}, {}),
    "p_anneal": ("p_anneal", {}, {}),
    "gated": ("gated", {}, {}),
    "gated_no_gain": ("gated", {"rescale": False}, {}),
    "gated_no_shift": ("gated", {"subtract_decoder_bias": False}, {}),
    "jumprelu": ("jumprelu", {}, {}),
    "jumprelu_tanh": ("jumprelu", {"penalty": "tanh"}, {}),
    "jumprelu_target": ("jumprelu", {"penalty": "target"}, {"sparsity_name": "target_l0"}),
    "jumprelu_heads": ("jumprelu", {}, {"site": "attn_pre_linear.1"}),
    "topk": ("topk", {}, {}),
    "topk_no_shift": ("topk", {"subtract_decoder_bias": False}, {}),
    "hierarchical_topk": ("hierarchical_topk", {}, {}),
    "batch_topk": ("batch_topk", {}, {"sparsity_setting": 2.5}),
    "matryoshka": ("matryoshka", {}, {}),
}
ELSEWHERE = {"site": "mlp_in.1", "target_site": "mlp_out.1"}
TRANSCODERS = {
    "relu_transcoder": ("relu", {"subtract_decoder_bias": False}, ELSEWHERE),
    "p_anneal_transcoder": ("p_anneal", {"subtract_decoder_bias": False}, ELSEWHERE),
    "jumprelu_transcoder": ("jumprelu", {"subtract_decoder_bias": False}, ELSEWHERE),
    "batch_topk_transcoder": ("batch_topk", {"subtract_decoder_bias": False}, ELSEWHERE),
    "matryoshka_transcoder": ("matryoshka", {"subtract_decoder_bias": False}, ELSEWHERE),
    "gated_transcoder": ("gated", {"subtract_decoder_bias": False}, ELSEWHERE),
}
ONLY_SAE_LENS = {
    "abs_topk": ("abs_topk", {}, {}),
    "abs_topk_no_shift": ("abs_topk", {"subtract_decoder_bias": False}, {}),
    "matching_pursuit": ("matching_pursuit", {"residual_threshold": 0.4}, {}),
    "matching_pursuit_repeats": ("matching_pursuit", {"stop_when_repeated": False}, {}),
}
SKIP = {"subtract_decoder_bias": False, "skip": True}
SKIPPING = {
    "relu_skip_transcoder": ("relu", SKIP, ELSEWHERE),
    "jumprelu_skip_transcoder": ("jumprelu", SKIP, ELSEWHERE),
    "batch_topk_skip_transcoder": ("batch_topk", SKIP, ELSEWHERE),
    "gated_skip_transcoder": ("gated", SKIP, ELSEWHERE),
}
UNTIED = ("gated", {"tied": False}, {})
TOPK_TRANSCODER = ("topk", {"subtract_decoder_bias": False}, ELSEWHERE)


def example(made, name="example", d_in=16, d_out=16, size=40, seed=0):
    """One SAE: the start of its architecture, every weight moved at random, k = 5 or thresholds about 0.5."""
    kind, given, more = made
    of = architecture(kind, **given)
    random = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=random)

    p = of.start(d_in, d_out, size, (noise(d_in), noise(d_out)), seed)
    p = {k: v + 0.1 * noise(*v.shape) for k, v in p.items()}
    p["W_dec"] = torch.nn.functional.normalize(p["W_dec"], dim=-1)
    if not of.unit_norm:
        p["W_dec"] = p["W_dec"] * torch.rand(size, 1, generator=random).add(0.5)
    setting = more.get("sparsity_setting", 5)
    state = of.state(size) | {"threshold": torch.tensor(0.6), "filled": torch.tensor(1.0)}
    identity = {
        "run_id": name, "family": kind, "architecture": kind, "sparsity_setting": setting,
        "sparsity_name": of.sparsity_name, "seed": 3, "learning_rate": 5e-3, "dictionary_size": size,
        "d_model": d_in, "model": "tiny_lm", "site": "resid_post.1", "layer": 1, "tokens_trained": 1000,
    }  # fmt: skip
    return SAE(of, of.inference(p, state, setting), identity | more)


def decided(sae, x):
    """The rows of x where no latent is at the edge of firing: there rounding decides, and not the SAE."""
    fires = [sae.encode(x * factor) != 0 for factor in (1 - 1e-4, 1, 1 + 1e-4)]
    return x[((fires[0] == fires[1]) & (fires[1] == fires[2])).all(-1)]


def made(name, **changed):
    """An example by its name; transcoders go from 16 to 12 dimensions."""
    if square := (SQUARE | ONLY_SAE_LENS).get(name):
        return example(square, name, **changed)
    return example((TRANSCODERS | SKIPPING)[name], name, **{"d_out": 12, **changed})


def inputs():
    """Activations `[300, 16]`."""
    return torch.randn(300, 16, generator=torch.Generator().manual_seed(1)) * 1.5


def biggest_difference(a, b):
    return float((a - b).abs().max())


def rewrite(folder, name, change):
    """A file of an exported folder changed on purpose; the digests, which would tell, go."""
    (folder / SUMS).unlink(missing_ok=True)
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    return folder


def foreign(folder, name="cfg.json"):
    """The same folder without our own block."""
    return rewrite(folder, name, lambda c: (c.get("metadata", c).pop("sae_frontier"),))

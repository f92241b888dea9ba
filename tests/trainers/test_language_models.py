"""Sites, capture and splice-in, against what transformers returns and plain arithmetic on its modules."""

import inspect
import json
import subprocess
import sys
from functools import cache

import pytest
import torch
import transformers
from torch import nn

from trainers.language_models import (
    LanguageModel,
    LanguageModelError,
    SiteError,
    kl_from,
    load_language_model,
    loading,
    next_token_losses,
)
from trainers.tiny_lm import Recipe, build_model, build_tokenizer

V, D, LAYERS = 37, 16, 3
ROTARY = dict(
    vocab_size=V, hidden_size=D, intermediate_size=24, num_hidden_layers=LAYERS, num_attention_heads=2,
    max_position_embeddings=32, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)  # fmt: skip
GQA = dict(**ROTARY, num_key_value_heads=1, head_dim=8)
GPT2_LIKE = dict(
    vocab_size=V, n_embd=D, n_layer=LAYERS, n_head=2, n_positions=32, bos_token_id=1, eos_token_id=2
)

CONFIGS = {
    "gpt2": ("GPT2Config", GPT2_LIKE),
    "gptj": ("GPTJConfig", dict(**GPT2_LIKE, rotary_dim=4)),
    "gpt_neo": ("GPTNeoConfig", dict(
        vocab_size=V, hidden_size=D, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=2,
        max_position_embeddings=32, bos_token_id=1, eos_token_id=2)),
    "neox_parallel": ("GPTNeoXConfig", dict(**ROTARY, use_parallel_residual=True)),
    "neox_sequential": ("GPTNeoXConfig", dict(**ROTARY, use_parallel_residual=False)),
    "llama": ("LlamaConfig", GQA),
    "mistral": ("MistralConfig", dict(**GQA, sliding_window=4)),
    "gemma": ("GemmaConfig", GQA),
    "gemma2": ("Gemma2Config", dict(**GQA, sliding_window=4)),
    "gemma3": ("Gemma3TextConfig", dict(**GQA, sliding_window=4)),
    "qwen2": ("Qwen2Config", {k: v for k, v in GQA.items() if k != "head_dim"}),
    "qwen3": ("Qwen3Config", GQA),
    "phi": ("PhiConfig", ROTARY),
    "phi3": ("Phi3Config", ROTARY),
    "smollm3": ("SmolLM3Config", {k: v for k, v in GQA.items() if k != "head_dim"}),
    "olmo2": ("Olmo2Config", ROTARY),
    "opt": ("OPTConfig", dict(
        vocab_size=V, hidden_size=D, ffn_dim=24, num_hidden_layers=LAYERS, num_attention_heads=2,
        word_embed_proj_dim=D, max_position_embeddings=32, bos_token_id=1, eos_token_id=2, pad_token_id=0)),
    "opt_post_norm": ("OPTConfig", dict(
        vocab_size=V, hidden_size=D, ffn_dim=24, num_hidden_layers=LAYERS, num_attention_heads=2,
        word_embed_proj_dim=D, max_position_embeddings=32, do_layer_norm_before=False, bos_token_id=1,
        eos_token_id=2, pad_token_id=0)),
}  # fmt: skip

PARALLEL = ("gptj", "neox_parallel", "phi")
NORM_AFTER_ADDING = ("opt_post_norm",)
L = 1  # the layer that most tests look at


@cache
def lm(family):
    kind, options = CONFIGS[family]
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**options))
    with (
        torch.no_grad()
    ):  # large random weights and biases: nothing is zero by construction, all layers matter
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return LanguageModel(model, name=family)


def some_tokens(rows=3, length=9, seed=0):
    tokens = torch.randint(3, V, (rows, length), generator=torch.Generator().manual_seed(seed))
    tokens[:, 0] = 1
    return tokens


def close(a, b, tolerance=2e-5):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * max(1.0, b.abs().max().item()))


every_family = pytest.mark.parametrize("family", CONFIGS)


@every_family
def test_every_family_has_a_layout_and_widths(family):
    model, inner = lm(family), {"gpt2": 64, "gptj": 64, "gpt_neo": 64}.get(family, 24)
    expected = {"resid_pre", "resid_post", "attn_pre_linear", "attn_out", "mlp_in", "mlp_neurons", "mlp_out"}
    expected |= set() if family in PARALLEL else {"resid_mid"}
    assert {s.partition(".")[0] for s in model.plain_sites()} == expected
    widths = {s.partition(".")[0]: model.site(s).width for s in model.plain_sites()}
    assert widths.pop("mlp_neurons") == inner
    assert set(widths.values()) == {D}  # heads times head size is D in every config here


@every_family
def test_residual_stream_is_what_transformers_returns(family):
    model, tokens = lm(family), some_tokens()
    hidden = model.model(input_ids=tokens, output_hidden_states=True).hidden_states
    count = len(hidden) - 1
    found = model.capture(tokens, [f"resid_{p}.{i}" for i in range(count) for p in ("pre", "post")])
    for i in range(count):
        close(found[f"resid_pre.{i}"], hidden[i])
        if i < count - 1:  # transformers gives the last one after the final norm
            close(found[f"resid_post.{i}"], hidden[i + 1])
    norm = next(m for n, m in model.model.named_modules() if n.endswith(
        {"gpt2": "ln_f", "gptj": "ln_f", "gpt_neo": "ln_f", "neox_parallel": "final_layer_norm", "opt":
         "decoder.final_layer_norm", "neox_sequential": "final_layer_norm", "phi": "final_layernorm"}
        .get(family, "model.norm"))) if family not in NORM_AFTER_ADDING else nn.Identity()  # fmt: skip
    close(norm(found[f"resid_post.{count - 1}"]), hidden[-1])


@every_family
def test_attention_and_mlp_add_up_to_the_block(family):
    model, tokens = lm(family), some_tokens()
    sites = ["resid_pre", "resid_post", "attn_out", "mlp_out", *([] if family in PARALLEL else ["resid_mid"])]
    found = {
        s: v for s, v in zip(sites, model.capture(tokens, [f"{s}.{L}" for s in sites]).values(), strict=True)
    }
    if family in NORM_AFTER_ADDING:
        block = model.model.model.decoder.layers[L]
        close(block.self_attn_layer_norm(found["resid_pre"] + found["attn_out"]), found["resid_mid"])
        close(block.final_layer_norm(found["resid_mid"] + found["mlp_out"]), found["resid_post"])
        return
    close(found["resid_pre"] + found["attn_out"] + found["mlp_out"], found["resid_post"])
    if family not in PARALLEL:
        close(found["resid_pre"] + found["attn_out"], found["resid_mid"])


LINEAR = {  # attribute paths inside a block: W_O, the MLP's last matrix, the MLP
    "gpt2": ("attn.c_proj", "mlp.c_proj", "mlp"), "gptj": ("attn.out_proj", "mlp.fc_out", "mlp"),
    "gpt_neo": ("attn.attention.out_proj", "mlp.c_proj", "mlp"), "phi": ("self_attn.dense", "mlp.fc2", "mlp"),
    **dict.fromkeys(("neox_parallel", "neox_sequential"), ("attention.dense", "mlp.dense_4h_to_h", "mlp")),
    **dict.fromkeys(("opt", "opt_post_norm"), ("self_attn.out_proj", "fc2", None)),
}  # fmt: skip


@every_family
def test_linear_maps_lead_from_neurons_and_heads_to_what_is_added(family):
    model, tokens = lm(family), some_tokens()
    out, down, mlp = LINEAR.get(family, ("self_attn.o_proj", "mlp.down_proj", "mlp"))
    found = model.capture(
        tokens, [f"{s}.{L}" for s in ("attn_pre_linear", "attn_out", "mlp_in", "mlp_neurons", "mlp_out")]
    )
    before, attn, read, neurons, mlp_out = found.values()
    block = model.model.get_submodule(model._layout.blocks)[L]
    attn_norm = mlp_norm = nn.Identity()
    if family in ("gemma2", "gemma3", "olmo2"):  # what is added has passed a norm
        attn_norm, mlp_norm = block.post_attention_layernorm, block.post_feedforward_layernorm
    close(attn_norm(block.get_submodule(out)(before)), attn)
    close(mlp_norm(block.get_submodule(down)(neurons)), mlp_out)
    whole = block.get_submodule(mlp) if mlp else lambda x: block.fc2(block.activation_fn(block.fc1(x)))
    close(mlp_norm(whole(read)), mlp_out)


@every_family
def test_splicing_the_captured_value_changes_nothing_and_another_changes_much(family):
    model, tokens = lm(family), some_tokens()
    clean = model.logits(tokens)
    close(clean, model.model(input_ids=tokens).logits)
    for site in [s for s in model.plain_sites() if s.endswith(f".{L}")]:
        value = model.capture(tokens, [site])[site]
        assert torch.equal(model.spliced_logits(tokens, site, value), clean), site
        assert torch.equal(model.spliced_logits(tokens, site, lambda x: x), clean), site
        other = model.spliced_logits(tokens, site, lambda x: -x)
        assert (other - clean)[:, 1:].abs().max() > 1e-3, site
        assert torch.equal(other[:, 0], clean[:, 0]), "the start token keeps its activation"


@every_family
def test_zero_ablation_equals_a_model_whose_weights_are_zero(family):
    """With every position counted, no attention or MLP output in a layer = their last matrices zeroed."""
    kind, options = CONFIGS[family]
    tokens = some_tokens()
    out, down, _ = LINEAR.get(family, ("self_attn.o_proj", "mlp.down_proj", "mlp"))
    whole = LanguageModel(lm(family).model, name=family, ignore=[])
    for site, linear in ((f"attn_out.{L}", out), (f"mlp_out.{L}", down)):
        model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**options)).eval()
        model.load_state_dict(whole.model.state_dict())
        block = model.get_submodule(whole._layout.blocks)[L]
        for weight in block.get_submodule(linear).parameters():
            weight.data.zero_()
        with torch.no_grad():
            close(whole.ablated_logits(tokens, site), model(input_ids=tokens).logits)


@every_family
def test_residual_splices_equal_running_the_rest_by_hand(family):
    """A residual stream replaced before layer L = the same stream replaced after layer L - 1."""
    model, tokens = lm(family), some_tokens()
    new = torch.randn(*tokens.shape, D, generator=torch.Generator().manual_seed(3))
    close(
        model.spliced_logits(tokens, f"resid_pre.{L}", new),
        model.spliced_logits(tokens, f"resid_post.{L - 1}", new),
    )
    if family in PARALLEL or family in NORM_AFTER_ADDING:
        return
    # resid_mid reaches both the MLP and the stream beside it: adding to attn_out does the same
    shift = 0.3 * new
    close(
        model.spliced_logits(tokens, f"resid_mid.{L}", lambda x: x + shift),
        model.spliced_logits(tokens, f"attn_out.{L}", lambda x: x + shift),
        1e-4,
    )


@every_family
def test_splice_that_skips_work_equals_the_plain_way(family):
    model, tokens = lm(family), some_tokens()
    paths = [f"{model.site(f'mlp_neurons.{L}').module}", f"{model.site(f'attn_pre_linear.{L}').module}"]
    for site in [
        *(s for s in model.plain_sites() if not s.endswith(".0")),
        *paths,
        model._layout.blocks + ".0",
    ]:
        splice = model.splice(tokens, site)
        new = torch.randn(splice.value.shape, generator=torch.Generator().manual_seed(1))
        assert torch.equal(splice.logits, model.logits(tokens))
        assert torch.equal(splice.value, model.capture(tokens, [site])[site])
        for scale in (1.0, 2.0):
            close(splice(scale * new), model.spliced_logits(tokens, site, scale * new))
    close(model.logits(tokens), splice.logits)  # nothing stays patched


def test_splice_skips_earlier_blocks_and_the_replaced_module():
    model, tokens, ran = lm("llama"), some_tokens(), []
    splice = model.splice(tokens, "mlp_out.1")
    names = {m: n for n, m in model.model.named_modules()}
    handles = [m.register_forward_hook(lambda m, a, o: ran.append(names[m])) for m in names]
    splice(torch.zeros_like(splice.value))
    for handle in handles:
        handle.remove()
    assert "model.layers.2.mlp.down_proj" in ran
    assert not [n for n in ran if n.startswith("model.layers.0.")]
    assert "model.layers.1.mlp.down_proj" not in ran and "model.layers.1.self_attn.o_proj" not in ran


def test_gradients_flow_to_the_replacement_only():
    model, tokens = lm("gemma2"), some_tokens()
    scale = torch.ones((), requires_grad=True)
    loss = next_token_losses(model.spliced_logits(tokens, "mlp_out.1", lambda x: scale * x), tokens)[
        :, 1:
    ].mean()
    (slope,) = torch.autograd.grad(loss, scale)

    def at(s):
        return next_token_losses(model.spliced_logits(tokens, "mlp_out.1", lambda x: s * x), tokens)[
            :, 1:
        ].mean()

    assert slope.item() == pytest.approx(((at(1.01) - at(0.99)) / 0.02).item(), rel=2e-2, abs=1e-4)
    assert slope.abs() > 1e-4
    splice = model.splice(tokens, "mlp_out.1")
    (again,) = torch.autograd.grad(
        next_token_losses(splice(scale * splice.value), tokens)[:, 1:].mean(), scale
    )
    assert again.item() == pytest.approx(slope.item(), rel=1e-4)
    assert not any(p.requires_grad for p in model.model.parameters())
    assert not model.spliced_logits(tokens, "mlp_out.1", lambda x: 2 * x).requires_grad


def test_capture_stops_after_the_last_site_and_holds_no_graph():
    model, tokens, ran = lm("gpt2"), some_tokens(), []
    blocks = model.model.transformer.h
    model.site("mlp_out.1"), model.site("resid_post.0")  # the first look at a site is a pass of its own

    def hooks():
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())

    before = hooks()  # transformers leaves some of its own
    handles = [b.register_forward_hook(lambda m, a, o, i=i: ran.append(i)) for i, b in enumerate(blocks)]
    for weight in model.model.parameters():
        weight.requires_grad_(True)
    found = model.capture(tokens, ["mlp_out.1", "resid_post.0"])
    for handle in handles:
        handle.remove()
    model.model.requires_grad_(False)
    assert ran == [0]  # block 1 stops at its MLP, block 2 never starts
    assert list(found) == ["mlp_out.1", "resid_post.0"]
    assert not any(v.requires_grad for v in found.values())
    assert hooks() == before


def test_hooks_are_removed_after_an_error():
    model, tokens = lm("gpt2"), some_tokens()
    clean = model.logits(tokens)
    with pytest.raises(SiteError, match=r"mlp_out.1 has shape \(3, 9, 5\); wanted \(3, 9, 16\)"):
        model.spliced_logits(tokens, "mlp_out.1", torch.zeros(3, 9, 5))
    with pytest.raises(ZeroDivisionError):
        model.spliced_logits(tokens, "mlp_out.1", lambda x: 1 / 0)
    with pytest.raises(SiteError, match="wanted"):
        model.splice(tokens, "mlp_out.1")(torch.zeros(1, 9, D))
    assert torch.equal(model.logits(tokens), clean)


def test_mean_ablation_puts_the_mean_where_positions_count():
    model, tokens = lm("qwen3"), some_tokens()
    mean = torch.randn(D, generator=torch.Generator().manual_seed(5))
    value = model.capture(tokens, ["mlp_out.2"])["mlp_out.2"]
    value[:, 1:] = mean
    close(model.ablated_logits(tokens, "mlp_out.2", mean), model.spliced_logits(tokens, "mlp_out.2", value))


def test_padding_on_the_right_changes_no_counted_position():
    model = lm("llama")
    short, padded = some_tokens(2, 6), torch.zeros(2, 10, dtype=torch.long)
    padded[:, :6] = short
    assert model.counted(padded).sum(1).tolist() == [5, 5]  # six tokens, one of them the start token
    for site in ("resid_post.1", "mlp_out.2"):
        close(model.capture(padded, [site])[site][:, :6], model.capture(short, [site])[site])
        a, b = (model.spliced_logits(t, site, lambda x: 0.5 * x) for t in (padded, short))
        close(a[:, :6], b)
    with pytest.raises(LanguageModelError, match="row 1 is padded on the left"):
        model.logits(torch.tensor([[1, 5, 6, 7], [0, 0, 1, 5]]))


def test_without_start_token_every_position_counts():
    options = {**GQA, "bos_token_id": None, "pad_token_id": None}
    model = LanguageModel(
        transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**options)), name="no start"
    )
    tokens = torch.randint(0, V, (2, 5), generator=torch.Generator().manual_seed(0))
    assert model.start_token is None and model.ignore == () and model.counted(tokens).all()
    assert not torch.equal(model.ablated_logits(tokens, "resid_post.2")[:, 0], model.logits(tokens)[:, 0])


def test_ignored_tokens_are_what_was_asked_for():
    model = LanguageModel(lm("llama").model, name="x", ignore=[7, 9])
    assert model.counted(torch.tensor([[1, 7, 8, 9, 0]])).tolist() == [[True, False, True, False, True]]


def test_module_paths_inputs_and_negative_layers():
    model, tokens = lm("gpt2"), some_tokens()
    found = model.capture(
        tokens,
        [
            "transformer.h.1.mlp",
            "mlp_out.1",
            "mlp_out.-2",
            "transformer.h.1.mlp:input",
            "mlp_in.1",
            "transformer.wte",
        ],
    )
    assert torch.equal(found["transformer.h.1.mlp"], found["mlp_out.1"])
    assert torch.equal(found["mlp_out.-2"], found["mlp_out.1"])
    assert torch.equal(found["transformer.h.1.mlp:input"], found["mlp_in.1"])
    assert torch.equal(found["transformer.wte"], model.model.transformer.wte(tokens))
    assert model.site("transformer.h.1.mlp").layer == 1 and model.site("transformer.wte").layer is None
    assert model.site("mlp_out.-1").name == "mlp_out.2"
    splice = model.splice(tokens, "transformer.wte")
    close(splice(2 * splice.value), model.spliced_logits(tokens, "transformer.wte", lambda x: 2 * x))
    assert model.capture(tokens, []) == {}


@pytest.mark.parametrize(
    ("family", "site", "message"),
    [
        ("gpt2", "mpl_out.1", r"no site 'mpl_out.1'; did you mean 'mlp_out.1'.*resid_mid.L.*L from 0 to 2"),
        ("gpt2", "mlp_out.3", r"no site 'mlp_out.3': the model has layers 0 to 2 \(or -3 to -1\)"),
        ("gpt2", "mlp_out.-4", "layers 0 to 2"),
        ("gpt2", "transformer.h.1.mpl", "did you mean 'transformer.h.1.mlp'"),
        ("gpt2", "transformer.h.1.mlp:middle", "no site 'transformer.h.1.mlp:middle'"),
        ("gpt2", "transformer.wte:input", "has shape .*wanted activations|no input"),
        ("gpt2", "lm_head.weight", "no site"),
        ("gpt2", "", "no site ''"),
        ("phi", "resid_mid.0", "no site 'resid_mid.0': attention and MLP run side by side.*mlp_out.L"),
        ("llama", "model.rotary_emb", "rotary_emb"),
        ("gpt2", "transformer.h", "is never reached"),
    ],
)
def test_unknown_sites_are_errors_with_offers(family, site, message):
    with pytest.raises(SiteError, match=message) as caught:
        lm(family).site(site)
    assert "\n" not in str(caught.value)


def test_a_family_outside_the_table_takes_module_paths():
    config = transformers.BloomConfig(
        vocab_size=V, hidden_size=D, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2
    )
    model, tokens = (
        LanguageModel(transformers.AutoModelForCausalLM.from_config(config), name="bloom"),
        some_tokens(),
    )
    assert model.plain_sites() == []
    with pytest.raises(SiteError, match=r"not known for BloomForCausalLM.*transformer.h.0.mlp"):
        model.site("mlp_out.0")
    hidden = model.model(input_ids=tokens, output_hidden_states=True).hidden_states
    close(model.capture(tokens, ["transformer.h.0"])["transformer.h.0"], hidden[1])
    splice = model.splice(tokens, "transformer.h.0.mlp")
    close(splice(0 * splice.value), model.ablated_logits(tokens, "transformer.h.0.mlp"))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(2, 5), r"whole numbers \[batch, length\], got float32 \[2, 5\]"),
        (torch.zeros(5, dtype=torch.long), r"got int64 \[5\]"),
        (torch.full((1, 40), 3), "40 tokens per row, but gpt2 reads at most 32"),
        (torch.tensor([[1, V]]), rf"token {V} is not in the vocabulary of gpt2 \(0 to {V - 1}\)"),
        (torch.tensor([[1, -1]]), "token -1 is not in the vocabulary"),
    ],
)
def test_tokens_that_no_model_reads(tokens, message):
    with pytest.raises(LanguageModelError, match=message):
        lm("gpt2").logits(tokens)


def test_losses_and_kl_by_hand():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]]))
    found = next_token_losses(logits + 5.0, torch.tensor([[0, 1, 2]]))  # a constant does not matter
    torch.testing.assert_close(found, -torch.log(torch.tensor([[0.25, 0.7]])))
    other = torch.log(torch.tensor([0.25, 0.5, 0.25]))
    # .5 log(.5/.25) + .25 log(.25/.5) + 0 = .25 log 2
    torch.testing.assert_close(kl_from(logits[0, 0], other + 1), torch.tensor(0.25 * 0.6931472))
    assert kl_from(logits, logits).abs().max() < 1e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder like the shipped model's, with random weights in half precision."""
    recipe = Recipe(layers=2, width=16, heads=2, context_length=32)
    where = tmp_path_factory.mktemp("models") / "small"
    build_model(recipe).half().save_pretrained(where)
    build_tokenizer(recipe.context_length).save_pretrained(where)
    return where


def test_a_folder_loads_in_float32_with_its_tokenizer(folder):
    model = load_language_model(folder)
    assert (model.name, model.start_token, model.padding_token, model.ignore) == ("small", 256, None, (256,))
    assert (model.dtype, model.d_model, model.vocabulary_size, model.context_length) == (
        torch.float32,
        16,
        257,
        32,
    )
    assert model.encode("a<|start|>é") == list("a<|start|>é".encode())
    assert load_language_model(str(folder), dtype="bfloat16", device="cpu").dtype == torch.bfloat16
    tokens = torch.tensor([[256, *model.encode("hello")]])
    raw = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.testing.assert_close(model.logits(tokens), raw(input_ids=tokens).logits)


def test_the_default_is_the_shipped_model(folder, monkeypatch):
    monkeypatch.setattr(loading, "SHIPPED_FOLDERS", (folder.parent / "none", folder))
    assert load_language_model().name == load_language_model("tiny_lm").name == "tiny_lm"
    monkeypatch.setattr(loading, "SHIPPED_FOLDERS", (folder.parent / "none",))
    with pytest.raises(
        LanguageModelError, match=r"shipped model is not installed; looked in .*none.*trainers.tiny_lm"
    ):
        load_language_model()


def test_the_shipped_model_reads_python():
    model = load_language_model(device="cpu")
    assert (model.name, model.start_token, model.ignore, model.context_length) == (
        "tiny_lm",
        256,
        (256,),
        128,
    )
    assert model.vocabulary_size == 257 and model.site("mlp_out.1").width == model.d_model == 128
    ids = model.encode(inspect.getsource(inspect))[: 127 * 16]
    tokens = torch.cat([torch.full((16, 1), 256), torch.tensor(ids).view(16, 127)], dim=1)
    # 8 bits are 5.5 nats; its card says 1.06 nats per byte of held-out standard library
    assert 0.5 < next_token_losses(model.logits(tokens), tokens)[:, 1:].mean() < 1.6


def test_revision_follows_config_and_weights_only(folder, tmp_path):
    model = load_language_model(folder)
    again = tmp_path / "renamed"
    model.model.half().save_pretrained(again)
    config = json.loads((again / "config.json").read_text()) | {
        "transformers_version": "0",
        "_commit_hash": None,
        "dtype": "float32",
    }
    (again / "config.json").write_text(json.dumps(config))
    first, other = load_language_model(folder), load_language_model(again)
    assert len(first.revision) == 12 and first.revision == other.revision
    other = load_language_model(again)
    next(other.model.parameters()).data[0, 0] += 1
    assert other.revision != first.revision
    (again / "config.json").write_text(json.dumps(config | {"activation_function": "relu"}))
    assert load_language_model(again).revision != first.revision


def test_folders_that_cannot_be_loaded(folder, tmp_path):
    def refuses(source, message, **options):
        with pytest.raises(LanguageModelError, match=message) as caught:
            load_language_model(source, **options)
        assert "\n" not in str(caught.value)

    config = json.loads((folder / "config.json").read_text())
    broken = tmp_path / "broken"
    broken.mkdir()
    refuses(broken, "no config.json among nothing")
    refuses(tmp_path / "absent", "no folder")
    refuses("./absent", "no folder './absent'")
    (broken / "config.json").write_text("{")
    refuses(broken, "holds no weights")
    (broken / "pytorch_model.bin").write_bytes(b"x")
    refuses(broken, r"only pickled weights \(pytorch_model.bin\)")
    (broken / "model.safetensors").write_bytes(b"x")
    refuses(broken, "cannot be loaded")
    (broken / "config.json").write_text(json.dumps(config))
    refuses(broken, "cannot be loaded")
    (broken / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (broken / "config.json").write_text(json.dumps(config | {"n_embd": 32}))
    refuses(broken, r"do not fit its config: .*c_attn.bias( is \[48\], wanted \[96\])?$")
    (broken / "config.json").write_text(json.dumps(config | {"n_layer": 3}))
    refuses(broken, r"lack transformer.h.2.*they would be random")
    (broken / "config.json").write_text(json.dumps(config | {"n_layer": 1}))
    with pytest.warns(UserWarning, match="does not use its weights transformer.h.1"):
        load_language_model(broken)
    (broken / "config.json").write_text(json.dumps({"model_type": "no_such_type"}))
    refuses(broken, "cannot be loaded")
    remote = config | {
        "model_type": "mine",
        "auto_map": {"AutoModelForCausalLM": "mine.Mine", "AutoConfig": "mine.C"},
    }
    (broken / "config.json").write_text(json.dumps(remote))
    (broken / "mine.py").write_text("raise SystemExit('foreign code ran')")
    refuses(broken, "cannot be loaded")
    refuses(folder, "no dtype 'float31'.*did you mean 'float32'", dtype="float31")
    refuses(folder, "no device 'gpu9'", device="gpu9")


def test_no_text_without_a_tokenizer():
    with pytest.raises(LanguageModelError, match="llama has no tokenizer"):
        lm("llama").encode("x")


@pytest.mark.slow
def test_a_hub_name_offline_is_one_clear_line():
    code = (
        "from trainers.language_models import *\n"
        "try: load_language_model('no-such-owner/no-such-model')\n"
        "except LanguageModelError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"HF_HUB_OFFLINE": "1", "PYTHONPATH": "."},
    )
    assert done.stdout.count("\n") == 1, done.stderr
    assert "no language model 'no-such-owner/no-such-model'" in done.stdout and "give a folder" in done.stdout


def test_a_slip_in_the_name_of_the_shipped_model_is_not_looked_for_on_the_hub():
    with pytest.raises(LanguageModelError, match="did you mean 'tiny_lm'"):
        load_language_model("tiny_ml")


def test_a_text_is_encoded_once_and_only_so_much_is_kept(monkeypatch):
    from trainers.language_models import model as module

    monkeypatch.setattr(module, "REMEMBERED", 60)
    model, calls = load_language_model(), []
    tokenizer = model.tokenizer
    monkeypatch.setattr(model, "tokenizer", lambda text, **o: calls.append(text) or tokenizer(text, **o))
    texts = ["import os", "é", "x = 1\n" * 40]
    first, again = ([model.encode(t) for t in texts] for _ in range(2))
    assert first == again == [tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
    assert len(first[2]) > 60 and calls == [*texts, texts[2]], "the long one finds no room"
    again[0].append(0)
    assert model.encode(texts[0]) == first[0]

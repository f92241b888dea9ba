"""Where activations are read and replaced: plain site names, and what they are in each family of models.

=================  =======================================================================================
`resid_pre.L`      residual stream before block L
`resid_mid.L`      residual stream between attention and MLP; none where both run side by side
`resid_post.L`     residual stream after block L (before the model's final norm)
`attn_pre_linear`  heads' outputs, concatenated, before the output matrix W_O
`attn_out.L`       what attention ADDS to the residual stream
`mlp_in.L`         what the MLP reads (after its norm): the input of a transcoder
`mlp_neurons.L`    the MLP's hidden activations, after the non-linearity (and the gate, where there is one)
`mlp_out.L`        what the MLP ADDS to the residual stream
=================  =======================================================================================

"Adds" decides for models with a norm after attention and MLP (Gemma 2 and 3, OLMo 2): their `attn_out` and
`mlp_out` are the outputs of that norm, not of the module. Negative layers count from the end.

================  =========  =======  =======================  =================
family            attn_out   mlp_out  attn_pre_linear          mlp_neurons
================  =========  =======  =======================  =================
GPT-2             attn       mlp      attn.c_proj              mlp.c_proj
GPT-Neo           attn       mlp      attn.attention.out_proj  mlp.c_proj
GPT-J             attn       mlp      attn.out_proj            mlp.fc_out
GPT-NeoX, Pythia  attention  mlp      attention.dense          mlp.dense_4h_to_h
Llama [1]         self_attn  mlp      self_attn.o_proj         mlp.down_proj
Gemma 2 [2]       (norm)     (norm)   self_attn.o_proj         mlp.down_proj
Phi               self_attn  mlp      self_attn.dense          mlp.fc2
OPT               self_attn  fc2      self_attn.out_proj       fc2
================  =========  =======  =======================  =================

[1] and Mistral, Gemma, Qwen 2, Qwen 3, Phi-3, SmolLM3. [2] and Gemma 3, OLMo 2; the norms are
`post_attention_layernorm` and `post_feedforward_layernorm`.

The first two columns are outputs of the modules named, the others inputs. Any other module is a site under
its path, `transformer.h.1.mlp` for its output and `transformer.h.1.mlp:input` for its input, in every model.
Several of either are one joined site, `resid_post.0+resid_post.1`: the site of a crosscoder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from frontier.wording import listed, nearest

JOINED = "+"
"""Between the names of the parts of a joined site."""


class SiteError(ValueError):
    """A site that this model does not have."""


@dataclass(frozen=True)
class Site:
    """A place in a model where an activation `[batch, tokens, width]` is read or replaced."""

    name: str
    module: str = ""
    """Path of the module, as `model.get_submodule` takes it; empty where there is none."""
    kind: str = "output"
    """'input' or 'output' of that module; 'joined' of several."""
    layer: int | None = None
    """Index of the block, from 0; None outside the blocks."""
    width: int = 0
    """Size of the activation; 0 until the model has been asked."""
    rejoin: str | None = None
    """Module whose output also carries the residual stream past this place: a replacement is added there."""
    parts: tuple[Site, ...] = ()
    """Of a joined site (`resid_post.0+resid_post.1`): those whose activations lie side by side in its own."""

    @property
    def places(self) -> tuple[Site, ...]:
        """The places that are read and replaced: its parts, or itself."""
        return self.parts or (self,)

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Of activations `[..., width]` those of each place, by its name."""
        if not self.parts:
            return {self.name: values}
        widths = [place.width for place in self.parts]
        if values.shape[-1] != self.width:
            raise SiteError(f"{self.name} has {self.width} numbers, {widths}; found {list(values.shape)}")
        return {p.name: v for p, v in zip(self.places, values.split(widths, dim=-1), strict=True)}

    def beside(self, values: Mapping[str, Tensor]) -> Tensor:
        """The activations `[..., width]` of all places, by their names, side by side."""
        found = [values[p.name] for p in self.places]
        return torch.cat(found, dim=-1) if self.parts else found[0]


def joined(parts: Sequence[Site]) -> Site:
    """The site whose activation is those of others side by side, in their order; one alone stays itself.

    Raises
    ------
    SiteError
        If a place is named twice.
    """
    if len(parts) == 1:
        return parts[0]
    name = JOINED.join(p.name for p in parts)
    places = [(p.module or p.name, p.kind) for p in parts]
    for part, place in zip(parts, places, strict=True):
        if places.count(place) > 1:
            raise SiteError(f"{name} joins {part.name} twice; name it once")
    layers = {p.layer for p in parts}
    layer = layers.pop() if len(layers) == 1 else None
    width = sum(p.width for p in parts)
    return Site(name, kind="joined", layer=layer, width=width, parts=tuple(parts))


@dataclass(frozen=True)
class Layout:
    """Where one family of models keeps its blocks, its attention, and the plain sites inside a block."""

    blocks: str
    attention: str
    places: dict[str, tuple[str, str]]
    """Plain name to (path inside the block, 'input' or 'output'); '' is the block itself."""
    mid_beside: bool = True
    """Whether the residual stream also runs past the place where `resid_mid` is read."""


def _layout(
    blocks: str,
    attention: str,
    linear: str,
    mlp: str,
    down: str,
    mid: tuple[str, str] | None,
    attn_out: str = "",
    mlp_out: str = "",
    mlp_in: str = "",
    mid_beside: bool = True,
) -> Layout:
    places = {"resid_pre": ("", "input"), "resid_post": ("", "output")}
    if mid:
        places["resid_mid"] = mid
    places |= {
        "attn_pre_linear": (linear, "input"),
        "attn_out": (attn_out or attention, "output"),
        "mlp_in": (mlp_in or mlp, "input"),
        "mlp_neurons": (down, "input"),
        "mlp_out": (mlp_out or mlp, "output"),
    }
    return Layout(blocks, attention, places, mid_beside)


_GPT2 = _layout("transformer.h", "attn", "attn.c_proj", "mlp", "mlp.c_proj", ("ln_2", "input"))
_GPT_NEO = _layout("transformer.h", "attn", "attn.attention.out_proj", "mlp", "mlp.c_proj", ("ln_2", "input"))
_GPT_J = _layout("transformer.h", "attn", "attn.out_proj", "mlp", "mlp.fc_out", None)
_PHI = _layout("model.layers", "self_attn", "self_attn.dense", "mlp", "mlp.fc2", None)
_LLAMA_PARTS = ("model.layers", "self_attn", "self_attn.o_proj", "mlp", "mlp.down_proj")
_LLAMA = _layout(*_LLAMA_PARTS, ("post_attention_layernorm", "input"))
_NORMS: dict[str, Any] = {"attn_out": "post_attention_layernorm", "mlp_out": "post_feedforward_layernorm"}
_GEMMA2 = _layout(*_LLAMA_PARTS, ("pre_feedforward_layernorm", "input"), **_NORMS)
_OLMO2 = _layout(*_LLAMA_PARTS, ("mlp", "input"), **_NORMS)
_NEOX_PARTS = ("gpt_neox.layers", "attention", "attention.dense", "mlp", "mlp.dense_4h_to_h")
_OPT_PARTS = ("model.decoder.layers", "self_attn", "self_attn.out_proj", "fc2", "fc2")

LAYOUTS: dict[str, Layout] = {
    "gpt2": _GPT2,
    "gpt_neo": _GPT_NEO,
    "gptj": _GPT_J,
    **dict.fromkeys(("llama", "mistral", "gemma", "qwen2", "qwen3", "phi3", "smollm3"), _LLAMA),
    **dict.fromkeys(("gemma2", "gemma3_text"), _GEMMA2),
    "gemma3": replace(_GEMMA2, blocks="model.language_model.layers"),
    "olmo2": _OLMO2,
    "phi": _PHI,
}
"""By `model_type` of the config; GPT-NeoX and OPT depend on an option, see `layout_of`."""

PLAIN_NAMES = tuple(_GPT2.places)


def layout_of(config: Any) -> Layout | None:
    """The layout of a model with this config; None for families that are not in the table."""
    kind = config.model_type
    if kind == "gpt_neox":
        parallel = config.use_parallel_residual
        return _layout(*_NEOX_PARTS, None if parallel else ("post_attention_layernorm", "input"))
    if kind == "opt":  # 350m normalises after attention and MLP, the others before
        before = config.do_layer_norm_before
        mid = ("final_layer_norm", "input") if before else ("self_attn_layer_norm", "output")
        return _layout(*_OPT_PARTS, mid, mlp_in="fc1", mid_beside=before)
    return LAYOUTS.get(kind)


def find_site(name: str, model: nn.Module, layout: Layout | None) -> Site:
    """The site of a model by plain name or module path.

    Raises
    ------
    SiteError
        If there is none; nearest names and the model's plain sites are listed.
    """
    plain = re.fullmatch(r"([a-z_]+)\.(-?\d+)", name)
    if plain and plain[1] in PLAIN_NAMES:
        return _plain_site(name, plain[1], int(plain[2]), model, layout)
    path, _, kind = name.partition(":")
    modules = dict(model.named_modules())
    if not path or path not in modules or kind not in ("", "input", "output"):
        raise SiteError(f"no site {name!r}{_offers(name, modules, layout, model)}")
    return Site(name, path, kind or "output", _layer_of(path, layout))


def _plain_site(name: str, plain: str, layer: int, model: nn.Module, layout: Layout | None) -> Site:
    if layout is None:
        raise SiteError(
            f"plain site names such as {name!r} are not known for {type(model).__name__} models (known: "
            f"{listed([*LAYOUTS, 'gpt_neox', 'opt'], 30)}); name a module, such as "
            f"{listed([n for n, _ in model.named_modules() if n.endswith('mlp')] or ['its path'], 2)}"
        )
    if plain not in layout.places:
        raise SiteError(
            f"no site {name!r}: attention and MLP run side by side in this model, so there is no residual "
            f"stream between them; there are {listed([f'{p}.L' for p in layout.places], 20)}"
        )
    count = block_count(model, layout)
    if not -count <= layer < count:
        raise SiteError(f"no site {name!r}: the model has layers 0 to {count - 1} (or -{count} to -1)")
    layer %= count
    inside, kind = layout.places[plain]
    block = f"{layout.blocks}.{layer}"
    rejoin = block if plain == "resid_mid" and layout.mid_beside else None
    return Site(f"{plain}.{layer}", f"{block}.{inside}" if inside else block, kind, layer, rejoin=rejoin)


def block_count(model: nn.Module, layout: Layout) -> int:
    """How many blocks a model has."""
    return sum(1 for _ in model.get_submodule(layout.blocks).children())


def _layer_of(path: str, layout: Layout | None) -> int | None:
    found = layout and re.match(re.escape(layout.blocks) + r"\.(\d+)(?:\.|$)", path)
    return int(found[1]) if found else None


def _offers(name: str, modules: dict[str, nn.Module], layout: Layout | None, model: nn.Module) -> str:
    plain = list(layout.places) if layout else []
    count = block_count(model, layout) if layout else 0
    near = nearest(name, [*(f"{p}.{i}" for p in plain for i in range(count)), *(m for m in modules if m)])
    near = near if near.startswith("; did you mean") else ""
    sites = f"; plain sites of this model: {', '.join(f'{p}.L' for p in plain)} with L from 0 to {count - 1}"
    return near + (sites if plain else "") + "; or the path of any module, with ':input' for its input"

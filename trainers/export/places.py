"""Site names and what TransformerLens calls the same place.

Its `ln2.hook_normalized` is what the MLP reads in models with LayerNorm; with RMSNorm the weight of the norm
comes after that hook, so that `mlp_in` has no name there. Which norm a model has is not known here: the name
is given.
"""

from __future__ import annotations

import re

HOOKS = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_pre_linear": "attn.hook_z",
    "attn_out": "hook_attn_out",
    "mlp_in": "ln2.hook_normalized",
    "mlp_neurons": "mlp.hook_post",
    "mlp_out": "hook_mlp_out",
}
_SITES = {hook: site for site, hook in HOOKS.items()}
"""By the part after `blocks.L.`."""


def hook_name(site: str) -> str:
    """The TransformerLens hook of a site; a module path stays what it is.

    >>> hook_name("resid_post.3"), hook_name("transformer.h.1.mlp")
    ('blocks.3.hook_resid_post', 'transformer.h.1.mlp')
    """
    plain, _, layer = site.partition(".")
    return f"blocks.{layer}.{HOOKS[plain]}" if plain in HOOKS and layer.isdigit() else site


def is_hook(name: str) -> bool:
    """Whether a name is a hook of TransformerLens, rather than a module."""
    return re.match(r"blocks\.\d+\.", name) is not None


def site_name(hook: str, layer: int | None = None) -> tuple[str | None, int | None]:
    """Our name and the layer of a hook or a submodule; the name itself where it is none that we know.

    >>> site_name("blocks.8.attn.hook_z"), site_name("resid_post_layer_3"), site_name("blocks.0.hook_mlp_in")
    (('attn_pre_linear.8', 8), ('resid_post.3', 3), ('blocks.0.hook_mlp_in', 0))
    >>> site_name("transformer.h.1.mlp", 1)
    ('transformer.h.1.mlp', 1)
    """
    exact = re.fullmatch(r"blocks\.(\d{1,5})\.(.+)", hook)
    if exact:
        layer = int(exact[1])
        return (f"{_SITES[exact[2]]}.{layer}" if exact[2] in _SITES else hook), layer
    named = re.fullmatch(r"([a-z_]+?)(?:_layer_|\.)?(\d{1,5})?", hook)
    place = named and {"attention_out": "attn_out"}.get(named[1], named[1])
    if named and place in HOOKS:
        layer = int(named[2]) if named[2] else layer
        return (place if layer is None else f"{place}.{layer}"), layer
    return hook or None, layer

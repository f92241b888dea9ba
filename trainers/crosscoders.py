"""What the decoder of a crosscoder, an SAE of a joined site, says of its parts."""

from __future__ import annotations

import pandas as pd
import torch

from trainers.language_models.sites import JOINED
from trainers.sae import SAE


def decoder_shares(sae: SAE) -> pd.DataFrame:
    """Each part's share in the decoder norms of each latent, Σ = 1: the relative norms of crosscoders.

    Norms are those of the scaled activations, of which every part has an equal spread, so that a latent that
    serves two parts alike has 0.5 and 0.5, and one that writes to the first alone 1 and 0. `hist()` of what
    comes back draws the histogram of Lindsey et al. (2024).

    Parameters
    ----------
    sae : SAE
        Of a joined site, or with a joined target.

    Returns
    -------
    DataFrame
        A row per latent, a column per part.

    Raises
    ------
    ValueError
        If the SAE is of one site.

    Examples
    --------
    >>> from trainers.architectures import architecture
    >>> rows = torch.tensor([[3.0, 0.0, 0.0, 0.0], [0.3, 0.4, 0.0, 0.25]])
    >>> kind = architecture("topk", parts=(2, 2))
    >>> identity = {"site": "resid_post.0+resid_post.1", "part_scales": "1+2"}
    >>> print(decoder_shares(SAE(kind, {"W_dec": rows}, identity)))
       resid_post.0  resid_post.1
    0           1.0           0.0
    1           0.5           0.5
    """
    if not sae.architecture.parts:
        raise ValueError(
            f"{sae.identity.get('run_id', 'this SAE')} is of one site; shares are those of the parts of a "
            "joined one, resid_post.0+resid_post.1"
        )
    names = str(sae.identity.get("target_site") or sae.identity["site"]).split(JOINED)
    scales = [float(scale) for scale in str(sae.identity["part_scales"]).split(JOINED)]
    parts = sae.rows.detach().float().cpu().split(sae.architecture.parts, dim=-1)
    norms = torch.stack([s * part.norm(dim=-1) for s, part in zip(scales, parts, strict=True)], dim=-1)
    return pd.DataFrame((norms / norms.sum(-1, keepdim=True)).numpy(), columns=names)

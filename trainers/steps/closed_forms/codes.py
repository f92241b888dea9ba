"""Codes with few values: where they are, and the products that run over them alone.

Nearly everything is a weighted bag of rows: x̂ takes rows of W_dec for each token, ∂W rows of tokens for each
latent.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from trainers.steps.closed_forms import kernels

with warnings.catch_warnings():
    # torch says once in a process that its CSR tensors are in beta state; only their kernel is used here.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], torch.zeros(0, dtype=torch.int64), torch.zeros(0), (1, 1))


@dataclass(frozen=True)
class Codes:
    """The n values of codes `[rows, F]` that matter, row after row.

    Attributes
    ----------
    begins : int32 array [rows + 1]
        Where the values of each row begin, and n.
    places : int32 array [n]
        Latent of each value.
    values : array [n]
        The values.
    shape : (int, int)
        Rows and latents.
    """

    begins: np.ndarray
    places: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]

    @cached_property
    def rows(self) -> np.ndarray:
        """Row of each value, int32 `[n]`, rising."""
        return np.repeat(np.arange(self.shape[0], dtype=np.int32), np.diff(self.begins))

    def some(self, which: np.ndarray) -> Codes:
        """The values with these numbers, which rise."""
        begins = np.searchsorted(which, self.begins).astype(np.int32)
        return Codes(begins, self.places.take(which), self.values.take(which), self.shape)

    def decoded(self, table: Tensor, values: np.ndarray | None = None) -> Tensor:
        """Σ_i f_bi table_i, `[rows, d]`: codes times a table of one row per latent."""
        weights = torch.from_numpy(self.values if values is None else values)
        return bags(table, torch.from_numpy(self.places), weights, torch.from_numpy(self.begins[:-1]))

    def slopes(self, g: Tensor, table: Tensor) -> np.ndarray:
        """g_b · table_i at each value, `[n]`: its gradient where `decoded` has the gradient g."""
        where = torch.sparse_csr_tensor(
            torch.from_numpy(self.begins), torch.from_numpy(self.places), torch.from_numpy(self.values),
            self.shape, check_invariants=False,
        )  # fmt: skip
        return torch.sparse.sampled_addmm(where, g, table.T, beta=0.0).values().numpy()

    def weight_gradients(
        self, x: Tensor, g: Tensor, values: np.ndarray, slopes: np.ndarray, groups: int = 1
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Σ_b s_bi x_b `[d_in, F]`, Σ_b v_bi g_b `[F, d_out]` and Σ_b s_bi `[F]`, of slopes s and values v.

        With `groups`, so many rows of the codes, and of g, share one row of x.
        """
        n, size = len(self.places), self.shape[1]
        starts, rows = np.zeros(size + 1, np.int32), np.empty(n, np.int32)
        turned_values, turned_slopes = np.empty_like(values), np.empty_like(slopes)
        sums = np.zeros(size)
        kernels.by_latent(
            self.begins, self.places, values, slopes, starts, rows, turned_values, turned_slopes, sums
        )
        begins, of_g = torch.from_numpy(starts[:-1]), torch.from_numpy(rows)
        of_x = torch.from_numpy(rows // np.int32(groups)) if groups > 1 else of_g
        return (
            bags(x, of_x, torch.from_numpy(turned_slopes), begins).T.contiguous(),
            bags(g, of_g, torch.from_numpy(turned_values), begins),
            torch.from_numpy(sums.astype(slopes.dtype)),
        )

    def latent_sums(self, values: np.ndarray) -> Tensor:
        """Σ_b v_bi, `[F]`."""
        sums = np.bincount(self.places, weights=values, minlength=self.shape[1])
        return torch.from_numpy(sums.astype(self.values.dtype))


def bags(table: Tensor, places: Tensor, weights: Tensor, begins: Tensor) -> Tensor:
    """Weighted sums of rows of a table, one per bag, `[bags, d]`."""
    return torch.nn.functional.embedding_bag(places, table, begins, mode="sum", per_sample_weights=weights)

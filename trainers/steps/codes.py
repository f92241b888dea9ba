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
from scipy.sparse import csr_array
from torch import Tensor

with warnings.catch_warnings():
    # torch says once in a process that its CSR tensors are in beta state; only their kernel is used here.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], torch.zeros(0, dtype=torch.int64), torch.zeros(0), (1, 1))


@dataclass(frozen=True)
class Codes:
    """The n values of codes `[rows, F]` that matter, row after row.

    Attributes
    ----------
    rows, places : int32 array [n]
        Token (rising) and latent of each value.
    values : array [n]
        The values.
    shape : (int, int)
        Rows and latents.
    """

    rows: np.ndarray
    places: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]

    @cached_property
    def _row_ends(self) -> np.ndarray:
        """Where each row begins, and n, int32 `[rows + 1]`."""
        counts = np.bincount(self.rows, minlength=self.shape[0])
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)

    @cached_property
    def _by_latent(self) -> tuple[np.ndarray, np.ndarray, Tensor]:
        """The order that sorts the values by latent, their rows, and where each latent begins, `[F]`."""
        order = np.arange(len(self.rows), dtype=np.int32)
        turned = csr_array((order, self.places, self._row_ends), shape=self.shape).tocsc()
        return turned.data, turned.indices, torch.from_numpy(turned.indptr[:-1])

    def decoded(self, table: Tensor, values: np.ndarray | None = None) -> Tensor:
        """Σ_i f_bi table_i, `[rows, d]`: codes times a table of one row per latent."""
        weights = torch.from_numpy(self.values if values is None else values)
        return bags(table, torch.from_numpy(self.places), weights, torch.from_numpy(self._row_ends[:-1]))

    def slopes(self, g: Tensor, table: Tensor) -> np.ndarray:
        """g_b · table_i at each value, `[n]`: its gradient where `decoded` has the gradient g."""
        where = torch.sparse_csr_tensor(
            torch.from_numpy(self._row_ends), torch.from_numpy(self.places), torch.from_numpy(self.values),
            self.shape, check_invariants=False,
        )  # fmt: skip
        return torch.sparse.sampled_addmm(where, g, table.T, beta=0.0).values().numpy()

    def latent_rows(self, table: Tensor, values: np.ndarray, groups: int = 1) -> Tensor:
        """Σ_b v_bi table_b, `[F, d]`: values as a matrix, transposed, times a table of one row per token.

        With `groups`, so many rows of the codes share one row of the table.
        """
        order, rows, begins = self._by_latent
        rows = rows // groups if groups > 1 else rows
        return bags(table, torch.from_numpy(rows), torch.from_numpy(values.take(order)), begins)

    def latent_sums(self, values: np.ndarray) -> Tensor:
        """Σ_b v_bi, `[F]`."""
        sums = np.bincount(self.places, weights=values, minlength=self.shape[1])
        return torch.from_numpy(sums.astype(self.values.dtype))


def bags(table: Tensor, places: Tensor, weights: Tensor, begins: Tensor) -> Tensor:
    """Weighted sums of rows of a table, one per bag, `[bags, d]`."""
    return torch.nn.functional.embedding_bag(places, table, begins, mode="sum", per_sample_weights=weights)

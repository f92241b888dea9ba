"""Plain SAEs to test against: one module per paper, loops over tokens and latents, no speed in mind.

The formulas are those of the papers named at each class (and of shared/TRAINING.md, section 2). Nothing is
imported from the code under test.
"""

import math

import torch
from torch import nn


class Reference(nn.Module):
    """Encoder, decoder and the squared error that all of them share."""

    def __init__(self, parameters, subtract=True):
        super().__init__()
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value.detach().clone()))
        self.subtract = subtract

    def centred(self, x):
        return x - self.b_dec if self.subtract else x

    def affine(self, x, weight, bias):
        """One product per latent: w_i · (x − b_dec) + b_i."""
        columns = [self.centred(x) @ weight[:, i] + bias[i] for i in range(weight.shape[1])]
        return torch.stack(columns, dim=-1)

    def decoded(self, f, rows=None, bias=None):
        rows = self.W_dec if rows is None else rows
        return torch.stack([code @ rows for code in f]) + (self.b_dec if bias is None else bias)

    @staticmethod
    def mean_square(x_hat, target):
        return sum(((a - b) ** 2).sum() for a, b in zip(x_hat, target, strict=True)) / len(target)

    def gradients(self, total):
        """dL/dp by autograd; zeros where a parameter is not used."""
        parameters = dict(self.named_parameters())
        found = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        return {
            name: torch.zeros_like(p) if g is None else g
            for (name, p), g in zip(parameters.items(), found, strict=True)
        }


class ReferenceReLU(Reference):
    """Anthropic, "Circuits Updates, April 2024": R + λ mean_b Σ_i f_i n_i, and powers of it."""

    def loss(self, x, target, lam, *, p=1.0, inside_scale=1.0, free_norms=True, epsilon=0.0):
        f = self.affine(x, self.W_enc, self.b_enc).clamp(min=0)
        penalty = 0.0
        for code in f:
            for i, value in enumerate(code):
                size = value * (self.W_dec[i] ** 2).sum().sqrt() if free_norms else value
                if p == 1:
                    penalty = penalty + inside_scale * size
                else:
                    penalty = penalty + (inside_scale * size + epsilon) ** p - epsilon**p
        return self.mean_square(self.decoded(f), target) + lam * penalty / len(x)


class ReferenceGated(Reference):
    """Rajamanoharan et al. 2024, arXiv 2404.16014, section 3.2, and the ablations of its section 5."""

    def pre(self, x):
        gate = self.affine(x, self.W_enc, self.b_gate)
        if hasattr(self, "W_mag"):
            return gate, self.affine(x, self.W_mag, self.b_mag)
        gain = torch.exp(self.r_mag) if hasattr(self, "r_mag") else torch.ones(self.b_mag.shape[0]).to(x)
        return gate, self.affine(x, self.W_enc * gain[None, :], self.b_mag)

    def codes(self, x):
        gate, magnitude = self.pre(x)
        return torch.heaviside(gate, torch.zeros(()).to(gate)).detach() * nn.functional.relu(magnitude)

    def loss(self, x, target, lam, *, auxiliary=True, frozen=True):
        gate, _ = self.pre(x)
        opened = nn.functional.relu(gate)
        total = self.mean_square(self.decoded(self.codes(x)), target) + lam * opened.sum() / len(x)
        if auxiliary:
            rows, bias = (self.W_dec.detach(), self.b_dec.detach()) if frozen else (self.W_dec, self.b_dec)
            total = total + self.mean_square(self.decoded(opened, rows, bias), target)
        return total


class ReferenceTopK(Reference):
    """Gao et al. 2024, arXiv 2406.04093: sections 2.3 (TopK), 2.4 and A.2 (AuxK)."""

    height = staticmethod(lambda value: value)
    code = staticmethod(nn.functional.relu)

    def selected(self, z, k):
        """Masks by sorting every token's pre-activations."""
        mask = torch.zeros_like(z)
        for b, row in enumerate(z.tolist()):
            for i in sorted(range(len(row)), key=lambda i: -self.height(row[i]))[: int(k)]:
                mask[b, i] = 1.0
        return mask

    def codes(self, x, k):
        z = self.affine(x, self.W_enc, self.b_enc)
        return z, self.code(z) * self.selected(z, k)

    def reconstruction(self, f, target):
        return self.mean_square(self.decoded(f), target)

    def loss(self, x, target, k, *, dead=(), aux_k=None, alpha=1 / 32):
        """`dead`: places of the dead latents; `aux_k` is half the output's width unless given."""
        z, f = self.codes(x, k)
        total = self.reconstruction(f, target)
        if not len(dead):
            return total
        error = (target - self.decoded(f)).detach()
        left = 0.0
        for b in range(len(x)):
            ranked = sorted(dead, key=lambda i: -self.height(float(z.detach()[b, i])))
            best = ranked[: aux_k or target.shape[1] // 2]
            rebuilt = sum(self.code(z[b, i]) * self.W_dec[i] for i in best)
            left = left + ((error[b] - rebuilt) ** 2).sum()
        # OpenAI's code has R / var(x) + alpha |e - ê|² / var(e); the same, times var(x)
        return total + alpha * variance(target) * left / ((error - error.mean(0)) ** 2).sum()


class ReferenceAbsTopK(ReferenceTopK):
    """arXiv 2510.00404: the k largest by magnitude with their signs; so are AuxK's."""

    height = staticmethod(abs)
    code = staticmethod(lambda z: z)


class ReferenceHierarchicalTopK(ReferenceTopK):
    """Balagansky et al. 2025, arXiv 2505.24473: the mean over j = 1..k of the error of the j highest."""

    def loss(self, x, target, k, **dead):
        whole = super().loss(x, target, k, **dead) - self.mean_square(
            self.decoded(self.codes(x, k)[1]), target
        )
        parts = [self.mean_square(self.decoded(self.codes(x, j)[1]), target) for j in range(1, k + 1)]
        return whole + sum(parts) / k


class ReferenceMatchingPursuit(Reference):
    """Mallat & Zhang 1993, as in arXiv 2506.03093: the row that is most alike what is left, k times."""

    def codes(self, x, k, stop=True, threshold=0.0):
        """Codes, and ‖r‖ of each token after each step."""
        codes, norms = [], []
        for token in x:
            left, code, path = token - self.b_dec, [0.0] * len(self.W_dec), []
            for _ in range(k):
                along = [float(left.detach() @ row.detach()) for row in self.W_dec]
                best = max(range(len(along)), key=along.__getitem__)
                value = nn.functional.relu(left @ self.W_dec[best])
                again = float(value.detach()) == 0 or float(torch.as_tensor(code[best]).detach()) != 0
                code[best] = code[best] + value
                left = left - value * self.W_dec[best]
                path.append(float(left.detach().norm()))
                if (stop and again) or path[-1] < threshold:
                    break
            codes.append(torch.stack([torch.as_tensor(v).to(x) for v in code]))
            norms.append(path)
        return torch.stack(codes), norms

    def loss(self, x, target, k, **how):
        return self.mean_square(self.decoded(self.codes(x, k, **how)[0]), target)


class ReferenceBatchTopK(ReferenceTopK):
    """Bussmann et al. 2024, arXiv 2412.06410: the k·B highest of the batch, ties aside."""

    def selected(self, z, k):
        count = round(k * len(z))
        ranked = sorted(
            ((v, b, i) for b, row in enumerate(z.tolist()) for i, v in enumerate(row)), reverse=True
        )
        mask = torch.zeros_like(z)
        for value, b, i in ranked[:count]:
            if value > 0:
                mask[b, i] = 1.0
        return mask


class ReferenceMatryoshka(ReferenceBatchTopK):
    """Bussmann et al. 2025, arXiv 2503.17547: nested prefixes of given sizes."""

    sizes, weights = (), ()

    def reconstruction(self, f, target):
        total = 0.0
        for size, weight in zip(self.sizes, self.weights, strict=True):
            keep = (torch.arange(f.shape[1]) < size).to(f)
            total = total + weight * self.mean_square(self.decoded(f * keep), target)
        return total


class ReferenceJumpReLU(Reference):
    """arXiv 2407.14435, sections 3 and 4; Anthropic, "Circuits Updates, January 2025".

    The straight-through gradients are sums written by hand, since autograd sees no gradient through a step.
    """

    def codes(self, x):
        z = self.affine(x, self.W_enc, self.b_enc).detach()
        return z, torch.where((z > self.threshold) & (z > 0), z, 0.0).detach()

    def kernel(self, z, bandwidth):
        """K((z − θ)/ε) / ε, the rectangle."""
        u = (z - self.threshold.detach()) / bandwidth
        return ((u > -0.5) & (u < 0.5)).to(z) / bandwidth

    def loss(self, x, target, lam, *, penalty="step", slope=4.0, pre_coefficient=0.0, coefficient=0.0):
        z, f = self.codes(x)
        total = self.mean_square(self.decoded(f), target)
        norms = self.W_dec.detach().norm(dim=1)
        if penalty == "step":
            return total + lam * float((f > 0).sum()) / len(x)
        if penalty == "target":  # lam is the wanted L0
            return total + coefficient * variance(target) * (float((f > 0).sum()) / len(x) / lam - 1) ** 2
        sparsity = sum(
            math.tanh(slope * float(v) * float(norms[i])) for code in f for i, v in enumerate(code)
        )
        idle = sum(
            max(float(self.threshold.detach()[i] - v), 0.0) * float(norms[i])
            for row in z
            for i, v in enumerate(row)
        )
        return total + (lam * sparsity + pre_coefficient * idle) / len(x)

    def hand_gradients(
        self, x, target, lam, *, bandwidth, penalty="step", slope=4.0, pre_coefficient=0.0, coefficient=0.0
    ):
        """dL/dp summed by hand from the two papers' pseudo-derivatives."""
        (z, f), n = self.codes(x), len(x)
        rows, theta = self.W_dec.detach(), self.threshold.detach()
        norms, k = rows.norm(dim=1), self.kernel(z, bandwidth)
        fires = (f > 0).to(z)
        g = 2 * (self.decoded(f).detach() - target) / n
        to_f, to_rows, to_z_alone, to_theta = (
            g @ rows.T,
            f.T @ g,
            torch.zeros_like(z),
            torch.zeros_like(theta),
        )
        if penalty == "tanh":
            steep = (1 - torch.tanh(slope * f * norms) ** 2) * slope * lam / n
            below = (theta > z).to(z) * pre_coefficient / n
            to_f = to_f + steep * norms
            to_rows = to_rows + ((steep * f + below * (theta - z)).sum(0) / norms)[:, None] * rows
            to_z_alone = -below * norms
            to_theta = (below * norms).sum(0)
        elif penalty == "step":
            to_theta = -lam / n * k.sum(0)
        else:
            l0 = fires.sum() / n
            to_theta = -coefficient * variance(target) * 2 * (l0 / lam - 1) / lam / n * k.sum(0)
        to_theta = to_theta - (to_f * theta * k).sum(0)
        to_z = to_f * fires + to_z_alone
        if penalty == "tanh":  # the estimator reaches every parameter through z
            to_z = to_z + to_f * theta * k
        into = self.centred(x).detach()
        to_b_dec = g.sum(0) - (self.W_enc.detach() @ to_z.sum(0) if self.subtract else 0)
        return {
            "W_enc": into.T @ to_z, "b_enc": to_z.sum(0), "W_dec": to_rows, "b_dec": to_b_dec,
            "threshold": to_theta,
        }  # fmt: skip


def variance(x):
    """Mean squared distance from the mean."""
    return float(((x - x.mean(0)) ** 2).sum()) / len(x)


def dependence(f):
    """Σ_{i≠j} corr(f_i, f_j)² / F by two loops; a constant latent has no correlation."""
    found = 0.0
    for i in range(f.shape[1]):
        for j in range(f.shape[1]):
            a, b = f[:, i] - f[:, i].mean(), f[:, j] - f[:, j].mean()
            if i != j and a.norm() > 1e-6 and b.norm() > 1e-6:
                found = found + ((a @ b) / (a.norm() * b.norm())) ** 2
    return found / f.shape[1]


def overlap(f):
    """Mean squared cosine of the codes of two different tokens, by two loops."""
    found, pairs = 0.0, 0
    for a in range(len(f)):
        for b in range(len(f)):
            if a != b:
                pairs += 1
                if f[a].norm() > 1e-6 and f[b].norm() > 1e-6:
                    found = found + ((f[a] @ f[b]) / (f[a].norm() * f[b].norm())) ** 2
    return found / pairs


def excess_frequency(f, limit):
    """Σ_i max(mean_b tanh(f_bi) − limit, 0), by loops."""
    found = 0.0
    for i in range(f.shape[1]):
        rate = sum(torch.tanh(v) for v in f[:, i]) / len(f)
        found = found + (rate - limit).clamp(min=0)
    return found

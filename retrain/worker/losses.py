"""What a student is taught to minimise, as functions of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def soften(probabilities: Tensor, temperature: float) -> Tensor:
    """Return a distribution at a higher temperature: p^(1/T), normalised again.

    Shapes: [rows, labels] -> [rows, labels]. The same as softmax(log p / T), so the teacher's
    logits are not needed.

    >>> import torch
    >>> soften(torch.tensor([[0.9, 0.1]]), 2.0).round(decimals=2).tolist()
    [[0.75, 0.25]]
    """
    powered = probabilities.clamp_min(1e-8) ** (1.0 / temperature)
    return powered / powered.sum(-1, keepdim=True)


def row_losses(
    logits: Tensor, hard: Tensor, soft: Tensor, alpha: Tensor, temperature: float
) -> Tensor:
    """Return alpha T^2 KL(teacher || student) + (1 - alpha) CE for each row.

    Shapes: logits [rows, labels]; hard [rows], the teacher's label as an index; soft
    [rows, labels], its distribution already softened by `temperature`; alpha [rows], 0 where
    the teacher gave no distribution; result [rows].

    T^2 keeps the two gradients in proportion when T changes (Hinton, Vinyals, Dean,
    "Distilling the Knowledge in a Neural Network", 2015).

    >>> import torch
    >>> logits = torch.log(torch.tensor([[0.8, 0.2]]))
    >>> one, zero = torch.ones(1), torch.zeros(1)
    >>> kl = row_losses(logits, torch.tensor([0]), torch.tensor([[0.8, 0.2]]), one, 1.0)
    >>> round(abs(kl.item()), 6)
    0.0
    >>> ce = row_losses(logits, torch.tensor([0]), torch.tensor([[0.8, 0.2]]), zero, 1.0)
    >>> round(ce.item(), 3)  # -ln 0.8
    0.223
    """
    import torch.nn.functional as F  # noqa: N812 - its usual name

    student = F.log_softmax(logits / temperature, dim=-1)
    divergence = F.kl_div(student, soft, reduction="none").sum(-1)
    entropy = F.cross_entropy(logits, hard, reduction="none")
    return alpha * temperature**2 * divergence + (1.0 - alpha) * entropy


def batch_loss(losses: Tensor, weights: Tensor, expected_weight: float) -> Tensor:
    """Return the weighted sum of row losses over the weight of an average batch, a scalar.

    Under a token budget batches differ in rows. Dividing by the batch's own weight would make a
    row in a small batch count for more; dividing by the expected weight keeps rows equal.

    >>> import torch
    >>> batch_loss(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]), 4.0).item()
    1.0
    """
    return (losses * weights).sum() / expected_weight

"""One number that makes a student's confidence mean what it says: temperature scaling."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

#: calibration rows below which the confidence is left as it is
ENOUGH = 20


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the T that minimises the mean of -log softmax(logits / T)[label].

    Shapes: logits [rows, labels], labels [rows] as indices; T in [0.05, 20]. Answers do not
    change, only their confidence (Guo et al., "On Calibration of Modern Neural Networks", 2017).

    >>> right = np.tile([4.0, 0.0], (75, 1)); wrong = np.tile([0.0, 4.0], (25, 1))
    >>> t = fit_temperature(np.vstack([right, wrong]), np.zeros(100, dtype=int))
    >>> round(float(np.exp(4 / t) / (1 + np.exp(4 / t))), 2)  # says 75 % where 75 % are right
    0.75
    """
    if len(labels) < ENOUGH:
        return 1.0

    def surprise(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        top = scaled.max(-1, keepdims=True)
        total = np.log(np.exp(scaled - top).sum(-1)) + top[:, 0]
        return float((total - scaled[np.arange(len(labels)), labels]).mean())

    found = minimize_scalar(surprise, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))

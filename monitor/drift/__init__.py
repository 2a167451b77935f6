"""Input drift: tells when what customers ask, or how the student answers it, is not as it was.

It looks at summaries of all traffic, not at samples, needs no labels, and may be wrong about the
matter: a change of inputs need not do harm. So it warns and never pages; disagreement pages.
"""

from monitor.drift.detector import Drift, DriftFinding, DriftSettings
from monitor.drift.wording import Contributor, explain

__all__ = ["Contributor", "Drift", "DriftFinding", "DriftSettings", "explain"]

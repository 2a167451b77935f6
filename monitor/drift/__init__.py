"""Input drift: tells when what customers ask, or how the student answers it, is not as it was.

It looks at summaries of all traffic, and at embeddings of a uniform sample of it. It needs no
labels, and may be wrong about the matter: a change of inputs need not do harm. So it warns and
never pages; disagreement pages.
"""

from monitor.drift.detector import Drift, DriftFinding
from monitor.drift.settings import DriftSettings, EmbedderSettings
from monitor.drift.wording import Contributor, explain

__all__ = ["Contributor", "Drift", "DriftFinding", "DriftSettings", "EmbedderSettings", "explain"]

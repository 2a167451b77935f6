"""Estimates with intervals: how far quality is from what was accepted, and how sure we are."""

from __future__ import annotations

from monitor.estimation.quality import QualityEstimate, QualityState, estimate_quality

__all__ = ["QualityEstimate", "QualityState", "estimate_quality"]

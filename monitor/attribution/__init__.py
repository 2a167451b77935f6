"""Attribution: which of inputs, teacher, student, judge and serving raised the disagreement."""

from monitor.attribution.attribute import Attribution, attribute
from monitor.attribution.beginning import beginning
from monitor.attribution.causes import Cause
from monitor.attribution.period import Answered, Period

__all__ = ["Answered", "Attribution", "Cause", "Period", "attribute", "beginning"]

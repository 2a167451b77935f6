"""Python's garbage collector, set for a process that reads many events and keeps them for long.

By default it looks at all young objects after each 700 new ones, and now and then at everything:
a quarter of the time of reading events. What imports left behind never becomes garbage, and a
batch of events is freed without the collector, as it holds no cycles.
"""

from __future__ import annotations

import gc
from typing import Final

#: objects that may be new before the collector looks at them
YOUNG: Final = 50_000


def calm_collector() -> None:
    """Let the collector look seldom, and not at what is there by now; for a whole process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)

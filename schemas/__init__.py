"""The ground floor: the frozen shapes that both programs read and write.

Nothing here decides, reads a clock or talks to a network. `schemas.journal` alone opens a
database, because the two programs meet there and must open it in the same way.

Times are seconds since 1970-01-01 UTC, as floats, everywhere behind the wire; on the wire they
are RFC 3339 texts with an offset. Money is US dollars. Probabilities and losses lie in [0, 1].
"""

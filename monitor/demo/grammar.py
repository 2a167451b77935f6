"""A paraphrase grammar: one pattern stands for many ways to say the same thing.

`(a|b|c)` is one of them, `[x]` is x or nothing, `<name>` is one of the phrases of that name, and
`#` is a digit. They nest.

>>> import random
>>> expand("(hi|hello)[ there], I bought <shoe>", {"shoe": ("boots", "clogs")}, random.Random(3))
'hi, I bought clogs'
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

_TOKEN: Final = re.compile(r"[()\[\]|]|<[a-z_]+>|#|[^()\[\]|<#]+")

Phrases = Mapping[str, Sequence[str]]

#: A parsed pattern: text, the name of a phrase, or alternatives (each a sequence of nodes).
Node = str | tuple[tuple["Node", ...], ...]


def expand(pattern: str, phrases: Phrases, rng: random.Random) -> str:
    """Return one of the texts that a pattern stands for.

    Raises
    ------
    KeyError: the pattern names phrases that are not there.
    ValueError: brackets that do not match.
    """
    return "".join(_say(node, phrases, rng) for node in _parse(pattern))


def _say(node: Node, phrases: Phrases, rng: random.Random) -> str:
    if isinstance(node, tuple):
        return "".join(_say(part, phrases, rng) for part in rng.choice(node))
    if node == "#":
        return str(rng.randrange(10))
    if node.startswith("<"):
        return expand(rng.choice(phrases[node[1:-1]]), phrases, rng)
    return node


@lru_cache(maxsize=4096)
def _parse(pattern: str) -> tuple[Node, ...]:
    pieces = _TOKEN.findall(pattern)
    (nodes,) = _alternatives(pieces, until="")
    if pieces:
        raise ValueError(f"a bracket too many in {pattern!r}")
    return nodes


def _alternatives(pieces: list[str], until: str) -> tuple[tuple[Node, ...], ...]:
    """Read up to the closing bracket `until`; the pieces read are taken off the list."""
    found: list[tuple[Node, ...]] = []
    nodes: list[Node] = []
    while pieces:
        piece = pieces.pop(0)
        if piece == until:
            return (*found, tuple(nodes))
        if piece == "|" and until:
            found.append(tuple(nodes))
            nodes = []
        elif piece == "(":
            nodes.append(_alternatives(pieces, ")"))
        elif piece == "[":
            nodes.append(((), *_alternatives(pieces, "]")))
        elif piece in {")", "]"}:
            pieces.insert(0, piece)
            break
        else:
            nodes.append(piece)
    if until:
        raise ValueError(f"a bracket is not closed: {until}")
    return (*found, tuple(nodes))

"""Why a message is not what it should be: the field at fault, its shape, and how to mend it.

Runs only after a typed decoder refused the message, so it may be slow and forgiving: it parses
again with the standard library, which reads NaN, lone surrogates and raw control characters, and
then looks for the first field that does not fit. It never repeats a value: a ticket that fails
to decode was not redacted, and what is said here reaches logs and screens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, get_origin

import msgspec
from msgspec import inspect

from schemas.errors import DecodeError

#: How a message begins that is not UTF-8 JSON, and what that means.
_PREFIXES = (
    (b"\xef\xbb\xbf", "the message begins with a byte order mark", "send UTF-8 without one"),
    (b"\xff\xfe", "the message is UTF-16", "send UTF-8"),
    (b"\xfe\xff", "the message is UTF-16", "send UTF-8"),
    (b"\x1f\x8b", "the value is gzip", "let the Kafka producer compress, not the value"),
    (
        b"\x00",
        "the message begins with a NUL, as a schema registry's serializer writes",
        "publish plain JSON, without the registry's five leading bytes",
    ),
)

#: What a field takes whose type has no description of its own.
_PLAIN_TYPES: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.StrType: "a text",
    inspect.FloatType: "a number",
    inspect.DictType: "an object of texts",
    inspect.NoneType: "null",
}


def explain(
    body: bytes, shape: type[msgspec.Struct], *, root: str = "$", stage: str = "fields"
) -> DecodeError:
    """The reason why `body` is not JSON of this shape; `root` is the path of its top.

    >>> class Box(msgspec.Struct):
    ...     width: float
    >>> str(explain(b'{"width": NaN}', Box))
    '$.width: got NaN or Infinity, which is not JSON; send a number'
    """
    try:
        return _unreadable(body) or _first_fault(_parse(body), shape, root, stage)
    except RecursionError:
        return DecodeError("json", "nested too deep", field=root, fix="send a flat object")
    except ValueError as error:
        # a JSONDecodeError knows where; its text is not repeated
        where = f" from character {error.pos} on" if isinstance(error, json.JSONDecodeError) else ""
        return DecodeError("json", f"not JSON{where}", field=root, fix="send one JSON object")


def _unreadable(body: bytes) -> DecodeError | None:
    for prefix, what, fix in _PREFIXES:
        if body.startswith(prefix):
            return DecodeError("encoding", what, fix=fix)
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return DecodeError("encoding", f"byte {error.start} is not UTF-8", fix="send UTF-8")
    return None


def _parse(body: bytes) -> Any:
    # integers as floats: Python refuses to convert more than 4300 digits, a float is infinite;
    # NaN for all three constants that are not JSON tells them from a number out of range
    return json.loads(
        body.decode(), strict=False, parse_int=float, parse_constant=lambda _: math.nan
    )


def _first_fault(tree: Any, shape: type[msgspec.Struct], root: str, stage: str) -> DecodeError:
    if not isinstance(tree, dict):
        fix = "send one JSON object a message, encoded once; no batches"
        return DecodeError(stage, f"got {_shape_of(tree)}", field=root, fix=fix)
    for field in msgspec.structs.fields(shape):
        path = f"{root}.{field.encode_name}"
        if field.encode_name in tree:
            fault = _fault_of(tree[field.encode_name], field.type, path)
        else:
            fault = (path, "the field is missing", field.type) if field.required else None
        if fault is not None:
            path, what, kind = fault
            return DecodeError(stage, what, field=path, fix=f"send {_wanted(kind)}")
    return _fault_elsewhere(tree, root)


def _fault_of(value: Any, kind: Any, path: str) -> tuple[str, str, Any] | None:
    """Path, what is wrong and the type wanted there; None when the value fits."""
    if kind == msgspec.Raw | msgspec.UnsetType:
        return None
    if get_origin(kind) is dict and isinstance(value, dict):
        faults = (_fault_of(v, str, _below(path, k)) for k, v in value.items())
        return next(filter(None, faults), None)
    for _, what in _illegal(value, path):
        return path, what, kind
    return None if _fits(value, kind) else (path, f"got {_shape_of(value)}", kind)


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _fault_elsewhere(tree: Any, root: str) -> DecodeError:
    for path, what in _illegal(tree, root):
        return DecodeError("json", what, field=path, fix="mend it, or leave the field out")
    what = "a text holds a raw control character, or a field comes twice and once does not fit"
    return DecodeError("json", what, field=root, fix="escape the one, drop the other")


def _illegal(tree: Any, root: str) -> Iterator[tuple[str, str]]:
    """Path and name of whatever the standard library reads although it is not sound JSON."""
    stack = [(root, tree)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict):
            stack.extend((path, key) for key in node)
            stack.extend((_below(path, key), value) for key, value in node.items())
        elif isinstance(node, list):
            stack.extend((f"{path}[{index}]", item) for index, item in enumerate(node))
        elif what := _illegal_scalar(node):
            yield path, what


def _illegal_scalar(value: Any) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "got NaN or Infinity, which is not JSON"
    if isinstance(value, float) and math.isinf(value):
        return "got a number out of range"
    if isinstance(value, str) and "\0" in value:
        return "the text holds a NUL character"
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        return "the text holds half a surrogate pair"
    return ""


def _below(path: str, key: str) -> str:
    # a key may be anything at all; only one that looks like a name is repeated
    return f"{path}.{key}" if key.isidentifier() and len(key) <= 40 else f"{path}[...]"


def _shape_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case float():
            return "a number"
        case str():
            return f"a text of {len(value)} characters"
        case list():
            return f"an array of {len(value)} items"
        case _:
            return "an object"


def _wanted(kind: Any) -> str:
    return _described(inspect.type_info(kind))


def _described(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata(extra_json_schema={"description": str(text)}):
            return text
        case inspect.UnionType(types):
            return " or ".join(_described(one) for one in types)
        case inspect.LiteralType(values):
            return "one of " + ", ".join(str(value) for value in values)
        case _:
            return _PLAIN_TYPES[type(info)]

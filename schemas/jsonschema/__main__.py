"""`python -m schemas.jsonschema`: write the schema files anew from the types."""

from __future__ import annotations

import sys

from schemas.jsonschema import FOLDER, documents


def main() -> None:
    """Write every file and say which."""
    for name, text in documents().items():
        (FOLDER / name).write_bytes(text)
        sys.stdout.write(f"wrote {FOLDER / name}\n")


if __name__ == "__main__":
    main()

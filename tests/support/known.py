"""Defects that are known and still to be fixed: tests/known_defects.txt.

One a line, fields separated by a tab: "sql", the file, the statement's first 160 characters with white space folded; or "e2e" and
the test's id. A listed test does not make a run fail; everything else does. Whoever fixes a defect takes its line out.
"""

from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "known_defects.txt"
_lines: set[str] = set()


def key(*fields: str) -> str:
    return "\t".join(" ".join(field.split())[:160] for field in fields)


def is_known(*fields: str) -> bool:
    if not _lines and FILE.exists():
        _lines.update(line.rstrip("\n") for line in FILE.read_text().splitlines() if line and not line.startswith("#"))
    return key(*fields) in _lines

"""The format of tests/sql/*.test: statements separated by blank lines, each with optional directives in front.

    -- order: any            rows may come in any order
    -- error: 23505          PostgreSQL itself fails with this SQLSTATE (and Decan with the very same error)
    -- refused: 0A000        PostgreSQL answers, Decan refuses with this SQLSTATE, a reason and a hint
    -- either: 0A000         Decan refuses or gives exactly PostgreSQL's answer
    -- params: int4 5 | text a b | text \\N      one run with $1 = 5, $2 = 'a b', $3 = NULL; may be repeated
    -- session: b            from here on another connection (opened when first named); `main` is the first
    -- mode: simple          always sent as a simple query (several statements in one string)
    -- mode: typed           parameter types are declared in text mode too (else the server infers them)
    -- ignore: rows notices  parts that are not compared: rows columns origins tag notices message context position
    -- only: plain | decan   sent to one side only, nothing compared
    -- modes: simple         (before the first statement) the whole file in these modes only

COPY … FROM STDIN is followed by a line `----` and the data. Blank lines inside $$ bodies are not possible.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

DIRECTIVES = {"order", "error", "refused", "either", "params", "session", "mode", "ignore", "only", "modes"}
DIRECTIVE = re.compile(r"^--\s*([a-z]+):\s*(.*?)\s*$")

TYPE_OIDS = {
    "bool": 16, "bytea": 17, "char": 18, "name": 19, "int8": 20, "int2": 21, "int4": 23, "text": 25, "oid": 26,
    "json": 114, "float4": 700, "float8": 701, "bpchar": 1042, "varchar": 1043, "date": 1082, "time": 1083,
    "timestamp": 1114, "timestamptz": 1184, "interval": 1186, "numeric": 1700, "uuid": 2950, "jsonb": 3802,
    "bool[]": 1000, "int2[]": 1005, "int4[]": 1007, "text[]": 1009, "varchar[]": 1015, "int8[]": 1016,
    "float8[]": 1022, "timestamp[]": 1115, "date[]": 1182, "numeric[]": 1231, "uuid[]": 2951, "bpchar[]": 1014,
    "timestamptz[]": 1185, "bytea[]": 1001,
}


@dataclass(frozen=True)
class Parameter:
    type: str
    text: str | None

    @property
    def oid(self) -> int | None:
        """None for a type made by a user: every server has its own number for it."""
        return TYPE_OIDS.get(self.type)

    def literal(self) -> str:
        if self.text is None:
            return f"NULL::{self.type}"
        if self.type in ("int2", "int4", "int8") and re.fullmatch(r"\d{1,9}", self.text):
            return self.text
        quoted = self.text.replace("'", "''")
        return f"'{quoted}'::{self.type}"


@dataclass
class Statement:
    path: str
    line: int
    sql: str
    session: str = "main"
    any_order: bool = False
    error: str | None = None
    refused: str | None = None
    either: str | None = None
    simple: bool = False
    typed: bool = False
    only: str | None = None
    ignore: frozenset[str] = frozenset()
    parameters: list[tuple[Parameter, ...]] = field(default_factory=list)
    copy_in: bytes | None = None


class ScriptError(ValueError):
    pass


def parse_parameters(text: str) -> tuple[Parameter, ...]:
    values = []
    for part in text.split(" | ") if text else []:
        kind, _, value = part.strip().partition(" ")
        if kind not in TYPE_OIDS and not re.fullmatch(r"[a-z_][a-z_0-9]*(\[\])?", kind):
            raise ScriptError(f"unknown parameter type {kind!r}")
        values.append(Parameter(kind, None if value == "\\N" else value))
    return tuple(values)


def _apply(statement: Statement, name: str, value: str) -> None:
    if name == "order":
        statement.any_order = value == "any"
    elif name in ("error", "refused", "either", "only"):
        setattr(statement, name, value)
    elif name == "params":
        statement.parameters.append(parse_parameters(value))
    elif name == "mode":
        statement.simple = value == "simple"
        statement.typed = value == "typed"
    elif name == "ignore":
        statement.ignore = frozenset(value.split())


def _statement(path: Path, line: int, lines: list[str], session: str) -> tuple[Statement | None, str, list[str]]:
    """One block: the statement (None when it holds only directives), the session from here on, file modes."""
    statement = Statement(path.name, line, "", session)
    modes: list[str] = []
    index = 0
    while index < len(lines) and lines[index].startswith("--"):
        match = DIRECTIVE.match(lines[index])
        if match and match[1] in DIRECTIVES:
            if match[1] == "session":
                session = statement.session = match[2]
            elif match[1] == "modes":
                modes = match[2].split()
            else:
                _apply(statement, match[1], match[2])
        index += 1
    body = lines[index:]
    if not body:
        return None, session, modes
    if "----" in body:
        cut = body.index("----")
        statement.copy_in = "".join(text + "\n" for text in body[cut + 1:]).encode()
        body = body[:cut]
    statement.line += index
    statement.sql = "\n".join(body)
    return statement, session, modes


def load(path: Path) -> tuple[list[Statement], list[str]]:
    """Statements of a file, and the modes it is limited to (empty: all)."""
    statements, modes, session = [], [], "main"
    block: list[str] = []
    start = 1
    for number, text in enumerate([*path.read_text(encoding="utf-8").split("\n"), ""], 1):
        if text.strip():
            if not block:
                start = number
            block.append(text)
            continue
        if block:
            try:
                statement, session, file_modes = _statement(path, start, block, session)
            except ScriptError as error:
                raise ScriptError(f"{path.name}:{start}: {error}") from error
            if statement:
                statements.append(statement)
            modes += file_modes
            block = []
    return statements, modes

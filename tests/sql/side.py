"""One side of the comparison: sessions on one server, and answers with everything that differs by nature taken out."""

import re
import struct
from dataclasses import dataclass, field

from script import Parameter, Statement
from support import wire

FIRST_USER_OID = 16384
# What PostgreSQL says about itself, not about the statement.
COMPARED_FIELDS = {"S": "severity", "C": "sqlstate", "M": "message", "D": "detail", "H": "hint", "P": "position",
                   "W": "context", "s": "schema", "t": "table", "c": "column", "d": "data type", "n": "constraint"}
COMPARED_PARAMETERS = ("DateStyle", "IntervalStyle", "TimeZone", "client_encoding", "standard_conforming_strings",
                       "application_name", "default_transaction_read_only", "session_authorization")
MODES = ("simple", "text", "binary")


@dataclass
class Answer:
    columns: list[tuple] | None = None
    rows: list[tuple] = field(default_factory=list)
    tag: str | None = None
    error: dict[str, str] | None = None
    copy: list[bytes] | None = None


@dataclass
class Reply:
    answers: list[Answer]
    notices: list[dict[str, str]]
    status: str
    parameter_types: list[str] | None
    settings: dict[str, str]


def compared(fields: dict[str, str]) -> dict[str, str]:
    return {name: fields[code] for code, name in COMPARED_FIELDS.items() if code in fields}


def copy_rows(data: bytes) -> list[bytes]:
    """Lines, or the tuples of the binary format (header and trailer are kept as the first and last)."""
    if not data.startswith(b"PGCOPY\n\xff\r\n\0"):
        return data.splitlines(keepends=True)
    position, rows = 19, [data[:19]]
    while data[position:position + 2] != b"\xff\xff":
        (count,) = struct.unpack_from("!h", data, position)
        end = position + 2
        for _ in range(count):
            (length,) = struct.unpack_from("!i", data, end)
            end += 4 + max(length, 0)
        rows.append(data[position:end])
        position = end
    return [*rows, data[position:]]


class Side:
    def __init__(self, name: str, cluster):
        self.name = name
        self.cluster = cluster
        self.helper = wire.connect(cluster, timeout=20)
        self.sessions: dict[str, wire.Wire] = {}
        self.type_names: dict[int, str] = {}
        self.type_shapes: dict[int, tuple[str, int]] = {}
        self.table_names: dict[int, str] = {}
        self.binary_values: dict[Parameter, bytes] = {}
        self.prepared = 0

    def session(self, name: str) -> wire.Wire:
        if name not in self.sessions:
            self.sessions[name] = wire.connect(self.cluster, timeout=20)
        return self.sessions[name]

    def close_sessions(self) -> None:
        for session in self.sessions.values():
            session.close()
        self.sessions = {}
        self.type_names = {}
        self.type_shapes = {}
        self.table_names = {}
        self.binary_values = {}

    # What has another number on every server.
    def type_name(self, oid: int) -> str:
        if oid < FIRST_USER_OID:
            return str(oid)
        if oid not in self.type_names:
            found = self.helper.run(f"SELECT typname FROM pg_catalog.pg_type WHERE oid = {oid}").rows
            self.type_names[oid] = found[0][0].decode() if found else "unknown type"
        return self.type_names[oid]

    def table_name(self, oid: int) -> str:
        if oid < FIRST_USER_OID:
            return str(oid)
        if oid not in self.table_names:
            found = self.helper.run(f"SELECT relname FROM pg_catalog.pg_class WHERE oid = {oid}").rows
            self.table_names[oid] = found[0][0].decode() if found else "unknown table"
        return self.table_names[oid]

    def type_shape(self, oid: int) -> tuple[str, int]:
        """array, composite, range, multirange or "" (no type numbers in its values), and the type inside it."""
        built_in = {2249: ("composite", 0), 2287: ("array", 0), 2277: ("array", 0)}
        if oid < FIRST_USER_OID:
            return built_in.get(oid, ("", 0))
        if oid not in self.type_shapes:
            found = self.helper.run(
                "SELECT CASE WHEN e.oid IS NOT NULL THEN 'array' WHEN t.typtype = 'c' THEN 'composite' WHEN t.typtype = 'r' THEN "
                "'range' WHEN t.typtype = 'm' THEN 'multirange' WHEN t.typtype = 'd' THEN 'domain' END, coalesce(e.oid, "
                "r.rngsubtype, m.rngtypid, t.typbasetype) FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_type e ON "
                "e.oid = t.typelem AND e.typarray = t.oid LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid "
                f"LEFT JOIN pg_catalog.pg_range m ON m.rngmultitypid = t.oid WHERE t.oid = {oid}").rows
            kind = (found[0][0] or b"").decode() if found else ""
            self.type_shapes[oid] = (kind, int(found[0][1])) if found else ("", 0)
            if kind == "domain":
                self.type_shapes[oid] = self.type_shape(int(found[0][1]))
        return self.type_shapes[oid]

    def named(self, oid: int, value: bytes) -> bytes:
        """A binary value with the names of the types that it holds the numbers of."""
        kind, inner = self.type_shape(oid)
        if kind == "array":
            (dimensions, _, element) = struct.unpack_from("!iiI", value)
            head = 12 + 8 * dimensions
            return value[:8] + self.type_name(element).encode() + value[12:head] + self._named_items(element, value[head:])
        if kind == "composite":
            (count,) = struct.unpack_from("!i", value)
            out, at = value[:4], 4
            for _ in range(count):
                kind_of_field, length = struct.unpack_from("!Ii", value, at)
                end = at + 8 + max(length, 0)
                out += self.type_name(kind_of_field).encode() + self._named_items(kind_of_field, value[at + 4:end])
                at = end
            return out
        if kind == "range":
            return value[:1] + self._named_items(inner, value[1:])
        if kind == "multirange":
            return value[:4] + self._named_items(inner, value[4:])
        return value

    def _named_items(self, oid: int, items: bytes) -> bytes:
        out, at = b"", 0
        while at < len(items):
            (length,) = struct.unpack_from("!i", items, at)
            end = at + 4 + max(length, 0)
            out += items[at:at + 4] + (self.named(oid, items[at + 4:end]) if length > 0 else b"")
            at = end
        return out

    def _value(self, column: wire.Column, value: bytes | None) -> bytes | None:
        return value if value is None or column.format == 0 else self.named(column.type, value)

    def _answer(self, result: wire.Result) -> Answer:
        columns = None
        if result.columns is not None:
            columns = [(c.name, self.type_name(c.type), c.size, c.modifier, c.format, self.table_name(c.table),
                        c.attnum) for c in result.columns]
        rows = result.rows
        if result.columns and any(self.type_shape(c.type)[0] and c.format for c in result.columns):
            rows = [tuple(self._value(c, v) for c, v in zip(result.columns, row)) for row in rows]
        return Answer(columns, rows, result.tag, compared(result.error) if result.error else None,
                      None if result.copy is None else copy_rows(result.copy))

    # Sending.
    def run(self, statement: Statement, mode: str, parameters: tuple[Parameter, ...], sql: str, again: bool) -> Reply:
        session = self.session(statement.session)
        session.notices.clear()
        simple = mode == "simple" or statement.simple
        if simple:
            session.send(wire.query(self.with_literals(sql, parameters)))
        else:
            session.send(*self._extended(sql, mode == "binary", statement.typed, parameters, again), wire.SYNC)
        results = session.results(statement.copy_in, not simple)
        types = [r.parameters for r in results if r.parameters is not None]
        return Reply([self._answer(result) for result in results], [compared(n) for n in session.notices],
                     session.status, [self.type_name(oid) for oid in types[0]] if types else None,
                     {name: session.parameters.get(name, "") for name in COMPARED_PARAMETERS})

    def _extended(self, sql: str, binary: bool, typed: bool, parameters: tuple[Parameter, ...],
                  again: bool) -> list[bytes]:
        """A named statement is parsed once and bound for each set of parameters; `again` means it exists."""
        parts, name = [], ""
        if parameters:
            if not again:
                self.prepared += 1
            name = f"s{self.prepared}"
        if not again:
            parts.append(wire.parse(name, sql, tuple(self.oid(p) for p in parameters) if binary or typed else ()))
        if parameters:
            parts.append(wire.describe(b"S", name))
        values = tuple(self.binary(p) if binary else p.text for p in parameters)
        parts += [wire.bind("", name, values, (int(binary),) if parameters else (), (int(binary),)),
                  wire.describe(b"P"), wire.execute()]
        return parts

    @staticmethod
    def with_literals(sql: str, parameters: tuple[Parameter, ...]) -> str:
        if not parameters:
            return sql
        return re.sub(r"\$(\d+)", lambda match: parameters[int(match[1]) - 1].literal(), sql)

    def oid(self, parameter: Parameter) -> int:
        if parameter.oid is not None:
            return parameter.oid
        return int(self.helper.run(f"SELECT t.oid FROM pg_catalog.pg_type t WHERE t.oid = '{parameter.type}'::regtype").rows[0][0])

    def binary(self, parameter: Parameter) -> bytes | None:
        """The binary form of a parameter, from the server itself."""
        if parameter.text is None:
            return None
        if parameter not in self.binary_values:
            self.helper.send(wire.extended(f"SELECT $1::{parameter.type}", (parameter.text,), results=(1,)), wire.SYNC)
            result = self.helper.results()[-1]
            if result.error:
                raise wire.ServerError(result.error)
            self.binary_values[parameter] = result.rows[0][0]
        return self.binary_values[parameter]

    # Between files.
    CLEANUP = (
        ("SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_catalog.pg_namespace WHERE nspname <> 'public' "
         "AND nspname NOT LIKE 'pg\\_%' AND nspname NOT LIKE 'decan%' AND nspname <> 'information_schema'"),
        ("SELECT format('DROP %s IF EXISTS public.%I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN "
         "'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, relname) "
         "FROM pg_catalog.pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r','p','v','m','S','c') "
         "ORDER BY relkind = 'S'"),
        ("SELECT format('DROP %s IF EXISTS %s CASCADE', CASE prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE "
         "'FUNCTION' END, p.oid::regprocedure) FROM pg_catalog.pg_proc p WHERE pronamespace = 'public'::regnamespace "
         "AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"),
        ("SELECT format('DROP TYPE IF EXISTS public.%I CASCADE', typname) FROM pg_catalog.pg_type "
         "WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e','d','r')"),
        ("SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_catalog.pg_prepared_xacts "
         "WHERE gid NOT LIKE 'decan%' AND database = current_database()"),
        ("SELECT format('DROP OWNED BY %I', rolname) FROM pg_catalog.pg_roles WHERE rolname LIKE 't\\_%'"),
        ("SELECT format('DROP ROLE %I', rolname) FROM pg_catalog.pg_roles WHERE rolname LIKE 't\\_%'"),
    )

    def clean(self) -> None:
        """Drops everything a file has left behind."""
        self.close_sessions()
        self.helper.close()
        self.helper = wire.connect(self.cluster, timeout=20)
        self.helper.run("SET client_min_messages = error")
        for listing in self.CLEANUP:
            for (command,) in self.helper.run(listing).rows:
                try:
                    self.helper.run(command.decode())
                except wire.ServerError as error:
                    raise wire.ServerError({**error.fields, "M": f"{command.decode()}: {error.fields.get('M')}"}) from error

    def close(self) -> None:
        self.close_sessions()
        self.helper.close()

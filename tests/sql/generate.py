"""Random SQL over a fixed schema, from a seed: SELECTs of every shape, writes, transactions, cursors.

What is generated has one answer in PostgreSQL up to the order of rows: LIMIT and DISTINCT ON stand only behind an ORDER
BY over everything that is shown, aggregates do not depend on the order of rows, nothing is volatile.
"""

import random
from dataclasses import dataclass, field

from script import Parameter

# Types by one letter: i int4, t text, n numeric, b bool, d date.
TYPES = {"i": "int4", "t": "text", "n": "numeric", "b": "bool", "d": "date"}

SCHEMA = (
    "CREATE TABLE a (k int PRIMARY KEY, n int, t text, m numeric(8,2), b bool, d date)",
    "CREATE TABLE c (k int, id int, n int, t text, m numeric(8,2), PRIMARY KEY (k, id))",
    "CREATE TABLE w (k text PRIMARY KEY, n int, t text, d date)",
    "CREATE TABLE p (x int, y text, n int, t text, PRIMARY KEY (x, y))",
    "CREATE TABLE h (k int, n int, t text)",
    "CREATE TABLE r (id int PRIMARY KEY, n int, t text, m numeric(8,2))",
    "CREATE TABLE s (id int PRIMARY KEY, n int, t text)",
)
PLACEMENT = (
    "SELECT create_distributed_table('a', 'k', shard_count => {buckets})",
    "SELECT create_distributed_table('c', 'k', colocate_with => 'a')",
    "SELECT create_distributed_table('h', 'k', colocate_with => 'a')",
    "SELECT create_distributed_table('w', 'k', shard_count => {buckets})",
    "SELECT create_distributed_table('p', 'x, y', shard_count => {buckets})",
    "SELECT create_reference_table('r')",
)
COLUMNS = {
    "a": {"k": "i", "n": "i", "t": "t", "m": "n", "b": "b", "d": "d"},
    "c": {"k": "i", "id": "i", "n": "i", "t": "t", "m": "n"},
    "w": {"k": "t", "n": "i", "t": "t", "d": "d"},
    "p": {"x": "i", "y": "t", "n": "i", "t": "t"},
    "h": {"k": "i", "n": "i", "t": "t"},
    "r": {"id": "i", "n": "i", "t": "t", "m": "n"},
    "s": {"id": "i", "n": "i", "t": "t"},
}
KEYS = {"a": ("k",), "c": ("k",), "w": ("k",), "p": ("x", "y"), "h": ("k",), "r": ("id",), "s": ("id",)}
UNIQUE = {"a": ("k",), "c": ("k", "id"), "w": ("k",), "p": ("x", "y"), "h": (), "r": ("id",), "s": ("id",)}
TABLES = ("a", "a", "a", "a", "c", "c", "c", "w", "w", "p", "p", "h", "h", "r", "r", "r", "s")
JOINED = {"a": ("a", "c", "h", "r"), "c": ("a", "c", "h", "r"), "h": ("a", "c", "r"), "w": ("w", "r"), "p": ("p", "r")}
TEXTS = ("", "a", "b", "A", "ä", "a ", "ab", "zz", "1", "7", "o'o", "ß")
COMPARISONS = ("=", "=", "=", "<>", "<", "<=", ">", ">=")


@dataclass
class Random:
    """One statement with what may be compared of its answer."""

    sql: str
    ordered: bool = False          # rows come in one order only
    count_only: bool = False       # which rows come is not fixed, how many is
    parameters: tuple[Parameter, ...] = ()
    writes: bool = False


@dataclass
class Query:
    sql: str
    types: str
    ordered: bool = False


@dataclass
class Scope:
    """Tables in FROM, by alias, and CTEs."""

    tables: list[tuple[str, dict[str, str], str]] = field(default_factory=list)   # alias, columns, base table or ""
    outer: "Scope | None" = None


class Generator:
    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.aliases = 0
        self.ctes: dict[str, dict[str, str]] = {}

    # --- choices ---
    def chance(self, percent: float) -> bool:
        return self.rng.random() * 100 < percent

    def pick(self, *items):
        return self.rng.choice(items)

    def alias(self) -> str:
        self.aliases += 1
        return f"q{self.aliases}"

    # --- constants ---
    def constant(self, kind: str) -> str:
        if self.chance(4):
            return "NULL"
        if kind == "i":
            return str(self.pick(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 20, -1, -3))
        if kind == "n":
            return self.pick("0", "1.5", "2.00", "3", "-4.25", "7.1", "10", "1e1")
        if kind == "t":
            return "'" + self.pick(*TEXTS).replace("'", "''") + "'"
        if kind == "b":
            return self.pick("true", "false")
        return self.pick("'2026-01-01'", "date '2026-02-03'", "'2025-12-31'::date", "'1999-05-05'")

    # A constant whose type is certain: in lists that PostgreSQL would otherwise take for text.
    def typed(self, kind: str) -> str:
        return f"({self.constant(kind)})::{TYPES[kind]}"

    # --- expressions ---
    def columns(self, scope: Scope, kind: str, outer: bool = True) -> list[str]:
        found = [f"{alias}.{name}" for alias, columns, _ in scope.tables for name, k in columns.items() if k == kind]
        if outer and scope.outer and self.chance(30):
            found += self.columns(scope.outer, kind, False)
        return found

    def column(self, scope: Scope, kind: str) -> str:
        found = self.columns(scope, kind)
        return self.pick(*found) if found else self.typed(kind)

    def expr(self, scope: Scope, kind: str, depth: int = 2) -> str:
        if depth <= 0 or self.chance(55):
            return self.column(scope, kind) if self.chance(88) else self.typed(kind)
        deeper = depth - 1
        e = lambda k: self.expr(scope, k, deeper)  # noqa: E731
        if self.chance(9):
            return f"coalesce({e(kind)}, {e(kind)})"
        if self.chance(7):
            return f"CASE WHEN {self.condition(scope, deeper)} THEN {e(kind)} ELSE {e(kind)} END"
        if self.chance(4):
            return f"nullif({e(kind)}, {self.constant(kind)})"
        if kind == "i":
            return self.pick(lambda: f"({e('i')} + {e('i')})", lambda: f"({e('i')} - {e('i')})",
                             lambda: f"({e('i')} * 2)", lambda: f"length({e('t')})", lambda: f"abs({e('i')})",
                             lambda: f"greatest({e('i')}, {e('i')})", lambda: f"({e('i')} % 3)",
                             lambda: f"({e('b')})::int", lambda: f"- {e('i')}",
                             lambda: f"extract(year FROM {e('d')})::int")()
        if kind == "t":
            return self.pick(lambda: f"({e('t')} || {e('t')})", lambda: f"upper({e('t')})",
                             lambda: f"({e('i')})::text", lambda: f"left({e('t')}, 1)",
                             lambda: f"concat({e('t')}, {e('i')})", lambda: f"({e('d')})::text",
                             lambda: f"substr({e('t')}, 1, 2)")()
        if kind == "n":
            return self.pick(lambda: f"({e('n')} + {e('n')})", lambda: f"round({e('n')}, 1)",
                             lambda: f"({e('i')})::numeric", lambda: f"({e('n')} * {e('i')})")()
        if kind == "d":
            return self.pick(lambda: f"({e('d')} + {e('i')})", lambda: f"least({e('d')}, {e('d')})")()
        return f"({self.condition(scope, deeper)})"

    def comparison(self, scope: Scope, depth: int) -> str:
        kind = self.pick("i", "i", "i", "t", "t", "n", "d")
        left = self.expr(scope, kind, depth)
        if self.chance(10):
            return f"{left} IS {self.pick('', 'NOT ')}NULL"
        if self.chance(8):
            return f"{left} BETWEEN {self.constant(kind)} AND {self.constant(kind)}"
        if self.chance(6):
            return f"{left} IS {self.pick('', 'NOT ')}DISTINCT FROM {self.expr(scope, kind, depth - 1)}"
        if self.chance(12):
            values = ", ".join(self.constant(kind) for _ in range(self.rng.randint(1, 4)))
            return f"{left} {self.pick('', 'NOT ')}IN ({values})"
        if self.chance(5):
            return f"{self.expr(scope, 't', depth - 1)} {self.pick('', 'NOT ')}LIKE {self.pick(chr(39) + 'a%' + chr(39), chr(39) + '%b' + chr(39), chr(39) + '_' + chr(39))}"
        right = self.constant(kind) if self.chance(60) else self.expr(scope, kind, depth - 1)
        return f"{left} {self.pick(*COMPARISONS)} {right}"

    # A condition that tells a key: what decides where a statement goes.
    def key_condition(self, scope: Scope) -> str | None:
        keyed = [(alias, base) for alias, _, base in scope.tables if base]
        if not keyed:
            return None
        alias, base = self.pick(*keyed)
        parts = []
        for key in KEYS[base]:
            kind = COLUMNS[base][key]
            shape = self.rng.randint(0, 5)
            if shape <= 2:
                parts.append(f"{alias}.{key} = {self.constant(kind)}")
            elif shape == 3:
                parts.append(f"{alias}.{key} IN ({self.constant(kind)}, {self.constant(kind)})")
            elif shape == 4:
                parts.append(f"{alias}.{key} = ANY (ARRAY[{self.typed(kind)}, {self.typed(kind)}])")
            else:
                parts.append(f"({alias}.{key} = {self.constant(kind)} OR {alias}.{key} = {self.constant(kind)})")
        return " AND ".join(parts)

    def condition(self, scope: Scope, depth: int = 2) -> str:
        if depth > 0 and self.chance(20):
            return f"({self.condition(scope, depth - 1)} {self.pick('AND', 'OR')} {self.condition(scope, depth - 1)})"
        if depth > 0 and self.chance(5):
            return f"NOT ({self.condition(scope, depth - 1)})"
        if self.chance(6):
            return self.column(scope, "b") if self.columns(scope, "b") else self.typed("b")
        return self.comparison(scope, max(depth, 1))

    # A sub-query in a condition.
    def sub_condition(self, scope: Scope, depth: int) -> str:
        kind = self.pick("i", "i", "t")
        shape = self.rng.randint(0, 3)
        if shape == 0:
            inner = Scope(outer=scope)
            source = self.from_clause(inner, depth - 1, 1)
            return (f"{self.pick('', 'NOT ')}EXISTS (SELECT 1 FROM {source}"
                    f"{self.where(inner, depth - 1, self.tie(inner, scope))})")
        if shape == 1:
            query = self.select(kind, depth - 1, Scope(outer=scope), plain=True)
            return f"{self.expr(scope, kind, 1)} {self.pick('', '', 'NOT ')}IN ({query.sql})"
        inner = Scope(outer=scope)
        source = self.from_clause(inner, depth - 1, 1)
        call = self.aggregate(inner, "i")
        return f"{self.expr(scope, 'i', 1)} {self.pick(*COMPARISONS)} (SELECT {call} FROM {source}" \
               f"{self.where(inner, depth - 1, self.tie(inner, scope))})"

    # Equality of keys with the outer query.
    def tie(self, inner: Scope, outer: Scope) -> list[str]:
        if not outer.tables or not inner.tables or self.chance(35):
            return []
        alias, columns, base = self.pick(*inner.tables)
        other, their, _ = self.pick(*outer.tables)
        key = KEYS[base][0] if base else self.pick(*columns)
        same = [name for name, kind in their.items() if kind == columns[key]]
        if not same:
            return []
        return [f"{alias}.{key} = {other}.{'k' if 'k' in same and self.chance(70) else self.pick(*same)}"]

    def where(self, scope: Scope, depth: int, extra: list[str] | None = None) -> str:
        parts = list(extra or [])
        if self.chance(35) and (condition := self.key_condition(scope)):
            parts.append(condition)
        if self.chance(45):
            parts.append(self.condition(scope))
        if depth > 0 and self.chance(14):
            parts.append(self.sub_condition(scope, depth))
        self.rng.shuffle(parts)
        return " WHERE " + " AND ".join(parts) if parts else ""

    # --- FROM ---
    def item(self, scope: Scope, depth: int, beside: Scope | None = None) -> str:
        alias = self.alias()
        # Often a table that can be joined with what is there already.
        if beside and beside.tables and self.chance(60):
            base = self.pick(*beside.tables)[2]
            table = self.pick(*JOINED.get(base, TABLES))
            scope.tables.append((alias, COLUMNS[table], table))
            return f"{table} {alias}"
        if self.ctes and self.chance(35):
            name = self.pick(*self.ctes)
            scope.tables.append((alias, self.ctes[name], ""))
            return f"{name} {alias}"
        if depth > 0 and self.chance(14):
            types = "".join(self.pick("i", "i", "t", "n") for _ in range(self.rng.randint(1, 3)))
            query = self.query(types, depth - 1)
            names = {f"c{i}": kind for i, kind in enumerate(types)}
            scope.tables.append((alias, names, ""))
            return f"({query.sql}) AS {alias}({', '.join(names)})"
        if self.chance(3):
            scope.tables.append((alias, {"v": "i"}, ""))
            return f"generate_series(1, {self.rng.randint(1, 4)}) AS {alias}(v)"
        if self.chance(3):
            rows = ", ".join(f"({self.typed('i')}, {self.typed('t')})" for _ in range(self.rng.randint(1, 3)))
            scope.tables.append((alias, {"i": "i", "s": "t"}, ""))
            return f"(VALUES {rows}) AS {alias}(i, s)"
        table = self.pick(*TABLES)
        scope.tables.append((alias, COLUMNS[table], table))
        return f"{table} {'AS ' if self.chance(50) else ''}{alias}"

    def join_condition(self, left: Scope, right: Scope) -> str:
        (alias, columns, base), (other, their, theirs) = self.pick(*left.tables), self.pick(*right.tables)
        parts = []
        if base and theirs and self.chance(80):
            pairs = list(zip(KEYS[base], KEYS[theirs]))
            parts += [f"{alias}.{x} = {other}.{y}" for x, y in pairs if columns[x] == their[y]]
        if not parts or self.chance(20):
            both = Scope(tables=left.tables + right.tables)
            kind = self.pick("i", "i", "t")
            parts.append(f"{self.column(both, kind)} {self.pick(*COMPARISONS)} {self.column(both, kind)}")
        if self.chance(15):
            parts.append(self.condition(Scope(tables=left.tables + right.tables), 1))
        return " AND ".join(parts)

    def from_clause(self, scope: Scope, depth: int, most: int = 3) -> str:
        text = self.item(scope, depth)
        for _ in range(self.pick(0, 0, 0, 1, 1, 2) if most > 1 else self.pick(0, 0, 0, 0, 1)):
            right = Scope()
            item = self.item(right, depth, scope)
            if self.chance(10):
                text += f"{self.pick(', ', ' CROSS JOIN ')}{item}"
            else:
                kind = self.pick("JOIN", "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
                text += f" {kind} {item} ON {self.join_condition(scope, right)}"
            scope.tables += right.tables
        return text

    # --- SELECT ---
    def aggregate(self, scope: Scope, kind: str) -> str:
        if kind == "n":
            call = self.pick(f"sum({self.expr(scope, 'n', 1)})", f"avg({self.expr(scope, 'i', 1)})",
                             f"max({self.expr(scope, 'n', 1)})", f"avg({self.column(scope, 'n')})")
        elif kind == "t":
            call = f"{self.pick('min', 'max')}({self.expr(scope, 't', 1)})"
        elif kind == "d":
            call = f"{self.pick('min', 'max')}({self.expr(scope, 'd', 1)})"
        elif kind == "b":
            call = f"{self.pick('bool_and', 'bool_or', 'every')}({self.condition(scope, 1)})"
        else:
            return self.pick("count(*)::int", f"count({self.expr(scope, self.pick('i', 't'), 1)})::int",
                             f"max({self.expr(scope, 'i', 1)})", f"min({self.column(scope, 'i')})",
                             f"count(DISTINCT {self.column(scope, 'i')})::int")
        if self.chance(10):
            call += f" FILTER (WHERE {self.condition(scope, 1)})"
        return call

    # Without a cast: what Decan merges.
    def top_aggregate(self, scope: Scope) -> tuple[str, str]:
        shape = self.rng.randint(0, 6)
        if shape <= 1:
            return "count(*)", "i"
        if shape == 2:
            return f"sum({self.column(scope, 'i')})", "i"
        if shape == 3:
            return f"count({self.pick('', 'DISTINCT ')}{self.column(scope, self.pick('i', 't'))})", "i"
        kind = self.pick("i", "n", "t", "b", "d")
        return self.aggregate(scope, kind), kind

    def select(self, types: str, depth: int, scope: Scope | None = None, plain: bool = False) -> Query:
        """A SELECT with columns of these types."""
        scope = scope or Scope()
        source = self.from_clause(scope, depth)
        where = self.where(scope, depth)
        if not plain and self.chance(22):
            return Query(self.grouped(types, scope, source, where), types)
        targets = [self.expr(scope, kind) for kind in types]
        distinct = "DISTINCT " if not plain and self.chance(12) else ""
        return Query(f"SELECT {distinct}{', '.join(targets)} FROM {source}{where}", types)

    def grouped(self, types: str, scope: Scope, source: str, where: str) -> str:
        groups, targets = [], []
        for kind in types:
            if self.chance(45) and self.columns(scope, kind, False):
                groups.append(self.expr(scope, kind, 1) if self.chance(20) else self.column(scope, kind))
                targets.append(groups[-1])
            else:
                targets.append(self.aggregate(scope, kind))
        # Constants are not columns to group by.
        groups = [g for g in groups if "." in g]
        if not groups and any("." in t and "(" not in t for t in targets):
            groups = ["1"]
        text = f"SELECT {', '.join(targets)} FROM {source}{where}"
        if groups:
            text += " GROUP BY " + ", ".join(dict.fromkeys(groups))
        if self.chance(20):
            call, _ = self.top_aggregate(scope)
            text += f" HAVING {call} IS NOT NULL" if self.chance(20) else f" HAVING count(*) {self.pick(*COMPARISONS)} {self.pick(1, 2, 3)}"
        return text

    def query(self, types: str, depth: int) -> Query:
        if depth > 0 and self.chance(12):
            left, right = self.select(types, depth - 1), self.select(types, depth - 1)
            operation = self.pick("UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT", "EXCEPT ALL")
            return Query(f"{left.sql} {operation} {right.sql}", types)
        return self.select(types, depth)

    def order(self, count: int, extra: list[str] | None = None) -> str:
        """ORDER BY over all output columns: one order of the rows that are shown."""
        items = list(extra or [])
        positions = list(range(1, count + 1))
        self.rng.shuffle(positions)
        items += [str(p) for p in positions]
        return " ORDER BY " + ", ".join(
            item + self.pick("", "", " DESC", " ASC", " NULLS FIRST", " DESC NULLS LAST") for item in items)

    def with_clause(self, depth: int) -> str:
        self.ctes = {}
        if not self.chance(12):
            return ""
        parts = []
        for i in range(self.rng.randint(1, 2)):
            types = "".join(self.pick("i", "i", "t") for _ in range(self.rng.randint(1, 3)))
            query = self.query(types, depth - 1)
            names = [f"c{n}" for n in range(len(types))]
            parts.append(f"x{i}({', '.join(names)}) AS {self.pick('', '', 'MATERIALIZED ')}({query.sql})")
            self.ctes[f"x{i}"] = dict(zip(names, types))
        return "WITH " + ", ".join(parts) + " "

    def top_query(self) -> Random:
        self.aliases = 0
        depth = self.pick(0, 0, 1, 1, 2)
        head = self.with_clause(depth)
        shape = self.rng.randint(0, 9)
        if shape <= 1:
            query = self.merged_groups(depth)
        elif shape == 2:
            query = self.windows(depth)
        elif shape == 3:
            query = self.star(depth)
        else:
            query = self.query("".join(self.pick("i", "i", "t", "n", "b", "d") for _ in range(self.rng.randint(1, 4))), depth)
        self.ctes = {}
        # Equal numbers of different scale may come in any order.
        one_form = "n" not in query.types
        text, count_only = head + query.sql, False
        ordered = self.chance(45)
        if ordered:
            text += self.order(len(query.types))
        if self.chance(25):
            count_only = not ordered or not one_form
            text += self.pick(f" LIMIT {self.rng.randint(0, 8)}", f" LIMIT {self.rng.randint(1, 5)} OFFSET {self.rng.randint(0, 5)}",
                              f" OFFSET {self.rng.randint(0, 4)}", f" FETCH FIRST {self.rng.randint(1, 4)} ROWS ONLY")
        return Random(text, ordered=ordered and one_form, count_only=count_only)

    def merged_groups(self, depth: int) -> Query:
        """GROUP BY of plain columns with plain aggregates."""
        scope = Scope()
        source = self.from_clause(scope, depth)
        where = self.where(scope, depth)
        groups = [(self.column(scope, kind), kind) for kind in
                  [self.pick("i", "t", "n", "d", "b") for _ in range(self.rng.randint(0, 2))]]
        groups = [g for g in groups if "::" not in g[0]]
        calls = [self.top_aggregate(scope) for _ in range(self.rng.randint(1, 3))]
        shown = groups + calls
        self.rng.shuffle(shown)
        text = f"SELECT {', '.join(item[0] for item in shown)} FROM {source}{where}"
        if groups:
            text += " GROUP BY " + ", ".join(dict.fromkeys(g[0] for g in groups))
        if self.chance(25):
            text += f" HAVING {self.pick('count(*)', calls[0][0]) if calls[0][1] == 'i' else 'count(*)'} {self.pick(*COMPARISONS)} {self.pick(0, 1, 2, 3)}"
        return Query(text, "".join(item[1] for item in shown))

    def windows(self, depth: int) -> Query:
        scope = Scope()
        source = self.from_clause(scope, depth, 1)
        alias, columns, base = scope.tables[0]
        where = self.where(scope, depth)
        everything = ", ".join(f"{other}.{name}" for other, its, _ in scope.tables for name in its)
        key = f"{alias}.{KEYS[base][0]}" if base and self.chance(70) else self.column(scope, "i")
        call = self.pick(f"row_number() OVER (PARTITION BY {key} ORDER BY {everything})",
                         f"count(*) OVER (PARTITION BY {key})", f"sum({self.column(scope, 'i')}) OVER (PARTITION BY {key})",
                         f"rank() OVER (ORDER BY {key})", f"max({self.column(scope, 'i')}) OVER ()")
        return Query(f"SELECT {self.column(scope, 'i')}, {self.column(scope, 't')}, {call} FROM {source}{where}", "iti")

    def star(self, depth: int) -> Query:
        scope = Scope()
        source = self.from_clause(scope, depth)
        alias, columns, _ = self.pick(*scope.tables)
        if self.chance(50):
            types = "".join("".join(c.values()) for _, c, _ in scope.tables)
            return Query(f"SELECT * FROM {source}{self.where(scope, depth)}", types)
        kind = self.pick("i", "t")
        return Query(f"SELECT {alias}.*, {self.expr(scope, kind, 1)} FROM {source}{self.where(scope, depth)}",
                     "".join(columns.values()) + kind)

    # --- writes ---
    def returning(self, scope: Scope) -> str:
        if not self.chance(40):
            return ""
        if self.chance(40):
            return f" RETURNING {scope.tables[0][0]}.*"   # of USING's table any match may be shown
        return f" RETURNING {self.expr(scope, 'i', 1)}, {self.expr(scope, 't', 1)}"

    def insert(self) -> Random:
        self.aliases = 0
        table = self.pick(*TABLES)
        names = list(COLUMNS[table])
        if self.chance(35):
            keep = set(UNIQUE[table] or KEYS[table])
            names = [n for n in names if n in keep or self.chance(50)]
            self.rng.shuffle(names)
        columns = "" if names == list(COLUMNS[table]) and self.chance(60) else f" ({', '.join(names)})"
        if self.chance(15):
            query = self.query("".join(COLUMNS[table][n] for n in names), self.pick(0, 1))
            source = query.sql
        else:
            rows = []
            for _ in range(self.pick(1, 1, 1, 2, 3, 5)):
                rows.append("(" + ", ".join(
                    self.constant(COLUMNS[table][n]) if self.chance(97) else "DEFAULT" for n in names) + ")")
            source = "VALUES " + ", ".join(rows)
        text = f"INSERT INTO {table}{columns} {source}"
        # Which of several rows of a query comes first is open.
        if UNIQUE[table] and self.chance(60) and source.startswith("VALUES"):
            target = f" ({', '.join(UNIQUE[table])})"
            if self.chance(60):
                text += f" ON CONFLICT{target if self.chance(60) else ''} DO NOTHING"
            else:
                text += f" ON CONFLICT{target} DO UPDATE SET n = {self.pick('excluded.n', f'{table}.n + 1', '7')}"
        return Random(text + self.returning(Scope([(table, COLUMNS[table], table)])), writes=True)

    def change(self) -> Random:
        """UPDATE or DELETE."""
        self.aliases = 0
        table = self.pick(*TABLES)
        scope = Scope([(table, COLUMNS[table], table)])
        deletes = self.chance(30)
        text = f"DELETE FROM {table}" if deletes else f"UPDATE {table} SET "
        if not deletes:
            free = [n for n in COLUMNS[table] if n not in UNIQUE[table] and (n not in KEYS[table] or self.chance(10))]
            names = self.rng.sample(free, min(len(free), self.pick(1, 1, 2)))
            text += ", ".join(f"{n} = {self.expr(scope, COLUMNS[table][n], 1)}" for n in names)
        extra = []
        if self.chance(12):
            right = Scope()
            source = self.item(right, 0)
            text += f" {'USING' if deletes else 'FROM'} {source}"
            extra.append(self.join_condition(scope, right))
            # Which of several matches is taken would be open: the other side is pinned to one row.
            other, columns, base = right.tables[0]
            if base and not deletes:
                extra += [f"{other}.{n} = {self.constant(columns[n])}" for n in UNIQUE[base]] or ["false"]
            elif not deletes:
                extra.append("false")
            scope.tables += right.tables
        text += self.where(scope, 1, extra)
        if " WHERE " not in text:
            text += f" WHERE {self.condition(scope, 1)}"
        return Random(text + self.returning(Scope(scope.tables[:1])), writes=True)

    # Constants become parameters in some statements.
    def parameterised(self, made: Random) -> Random:
        return made

    def statement(self) -> Random:
        chosen = self.rng.random()
        if chosen < 0.70:
            return self.top_query()
        return self.insert() if chosen < 0.85 else self.change()

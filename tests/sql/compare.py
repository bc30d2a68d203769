"""Says in words how Decan's reply to a statement differs from PostgreSQL's."""

from script import Statement
from side import Answer, Reply

SHOWN = 12


def show_row(row: tuple) -> str:
    return "(" + ", ".join("NULL" if v is None else v.decode(errors="backslashreplace")[:200] for v in row) + ")"


def show(answer: Answer) -> str:
    """An answer for the reader of a failure."""
    if answer.error:
        return " | ".join(f"{name}: {text}" for name, text in answer.error.items())
    parts = []
    if answer.columns is not None:
        parts.append("[" + ", ".join(column[0] for column in answer.columns) + "]")
        parts += [show_row(row) for row in answer.rows[:SHOWN]]
        if len(answer.rows) > SHOWN:
            parts.append(f"… {len(answer.rows)} rows")
    if answer.copy is not None:
        parts += [repr(line) for line in answer.copy[:SHOWN]]
    parts.append(str(answer.tag))
    return " ".join(parts)


def _rows(want: list, got: list, any_order: bool) -> str | None:
    if any_order:
        want, got = sorted(want, key=repr), sorted(got, key=repr)
    if want == got:
        return None
    if len(want) != len(got):
        return f"{len(got)} rows instead of {len(want)}"
    for index, (a, b) in enumerate(zip(want, got)):
        if a != b:
            return f"row {index + 1} of {len(want)}: {b!r} instead of {a!r}"
    return None


def _columns(want: list[tuple] | None, got: list[tuple] | None) -> list[str]:
    if [c[:5] for c in want or ()] == [c[:5] for c in got or ()] and (want is None) == (got is None):
        return []
    if want is None or got is None:
        return [f"columns {got} instead of {want}"]
    if len(want) != len(got):
        return [f"{len(got)} columns instead of {len(want)}"]
    names = ("name", "type", "size", "modifier", "format")
    return [f"column {a[0]!r}: {name} is {y!r} instead of {x!r}"
            for a, b in zip(want, got) for name, x, y in zip(names, a, b) if x != y]


def _fields(want: dict[str, str], got: dict[str, str], ignored: frozenset[str]) -> list[str]:
    return [f"{name} is {got.get(name)!r} instead of {want.get(name)!r}"
            for name in dict.fromkeys([*want, *got])
            if name not in ignored and want.get(name) != got.get(name)]


def _answer(statement: Statement, want: Answer, got: Answer) -> list[str]:
    ignored = statement.ignore
    if want.error or got.error:
        if not (want.error and got.error):
            return [f"{'failed' if got.error else 'succeeded'} instead of {'failing' if want.error else 'succeeding'}"]
        return [f"error {text}" for text in _fields(want.error, got.error, ignored)]
    differences = []
    if "columns" not in ignored:
        differences += _columns(want.columns, got.columns)
    if "rows" not in ignored:
        if text := _rows(want.rows, got.rows, statement.any_order):
            differences.append(text)
        if want.copy is not None or got.copy is not None:
            if text := _rows(want.copy or [], got.copy or [], statement.any_order):
                differences.append("copy: " + text)
    if "tag" not in ignored and want.tag != got.tag:
        differences.append(f"tag {got.tag!r} instead of {want.tag!r}")
    return differences


def differences(statement: Statement, want: Reply, got: Reply) -> list[str]:
    """Empty when the replies agree."""
    if len(want.answers) != len(got.answers):
        return [f"{len(got.answers)} answers instead of {len(want.answers)}"]
    found = []
    for a, b in zip(want.answers, got.answers):
        found += _answer(statement, a, b)
    if "notices" not in statement.ignore and want.notices != got.notices:
        drop = {"context"}
        strip = [[{k: v for k, v in n.items() if k not in drop} for n in side] for side in (want.notices, got.notices)]
        if strip[0] != strip[1]:
            found.append(f"notices {strip[1]} instead of {strip[0]}")
    if want.status != got.status:
        found.append(f"transaction status {got.status!r} instead of {want.status!r}")
    if want.parameter_types != got.parameter_types:
        found.append(f"parameter types {got.parameter_types} instead of {want.parameter_types}")
    return found


def origin_differences(want: Reply, got: Reply) -> list[str]:
    """Of the table and attribute number that RowDescription gives for a column (JDBC, ODBC and editors use them)."""
    found = []
    for a, b in zip(want.answers, got.answers):
        if a.columns and b.columns and any(x[5:] != y[5:] for x, y in zip(a.columns, b.columns)):
            x, y = next((x, y) for x, y in zip(a.columns, b.columns) if x[5:] != y[5:])
            found.append(f"column {x[0]!r} is said to be {y[5]}[{y[6]}] instead of {x[5]}[{x[6]}]")
    return found


def settings_differences(want: Reply, got: Reply) -> list[str]:
    """Of the settings that servers report on their own (ParameterStatus)."""
    return [f"setting {name} is reported as {got.settings[name]!r} instead of {value!r}"
            for name, value in want.settings.items() if got.settings[name] != value]


def refusal_faults(sqlstate: str, got: Reply) -> list[str]:
    """What is wrong with an answer that had to be a refusal."""
    error = got.answers[-1].error if got.answers else None
    if not error:
        return ["answered, but must be refused with " + sqlstate]
    if error.get("sqlstate") != sqlstate:
        return [f"refused with {error.get('sqlstate')} ({error.get('message')}) instead of {sqlstate}"]
    if not error.get("hint") and not error.get("detail"):
        return ["refused without a hint or detail"]
    return []

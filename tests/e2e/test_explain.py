"""EXPLAIN tells the tier, the units, what each is sent, and each unit's own plan."""

import psycopg
import pytest

pytestmark = pytest.mark.decan_only


def text(connection, sql: str) -> str:
    return "\n".join(row[0] for row in connection.execute(sql))


def tree(connection, sql: str) -> dict:
    rows = connection.execute(sql).fetchall()
    assert len(rows) == 1   # as in PostgreSQL, and parsed by the driver: the column's type is json
    return rows[0][0][0]["Plan"]


def test_one_unit(connection, numbers):
    plan = text(connection, f"EXPLAIN SELECT v FROM {numbers} WHERE k = 7")
    first, unit, statement = plan.splitlines()[:3]
    assert first == "Decan Route (tier 1) on 1 unit: every sharded table is restricted to one key"
    assert unit.startswith("  ->  Unit ds_") and ", bucket " in unit
    assert f"decan_shard.{numbers}_" in statement and "WHERE k = 7" in statement
    assert "Index Scan" in plan or "Seq Scan" in plan


def test_several_units(connection, numbers):
    plan = text(connection, f"EXPLAIN SELECT k FROM {numbers} ORDER BY k DESC LIMIT 3")
    assert plan.startswith("Decan Merge (tier 2) on 2 units")
    assert "Merge: sorted rows are merged, LIMIT" in plan
    assert plan.count("->  Unit ds_") == plan.count("Statement: ") == 2


@pytest.mark.parametrize("condition, kind, tier", [("k = 7", "Decan Route", 1), ("k > 7", "Decan Merge", 2)])
def test_json(connection, numbers, condition, kind, tier):
    plan = tree(connection, f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(*) FROM {numbers} WHERE {condition}")
    assert (plan["Node Type"], plan["Tier"], plan["Units"]) == (kind, tier, tier)
    assert len(plan["Plans"]) == tier
    for unit in plan["Plans"]:
        assert unit["Node Type"] == "Decan Unit" and unit["Unit"] in ("ds_0", "ds_1")
        assert condition in unit["Statement"] and unit["Execution Time"] >= 0
        assert unit["Plans"][0]["Node Type"] == "Aggregate"


def test_analyze_of_a_write_is_undone_with_its_transaction(connection, numbers):
    with connection.transaction(force_rollback=True):
        plan = text(connection, f"EXPLAIN (ANALYZE, COSTS OFF) DELETE FROM {numbers}")
        assert "Decan Merge (tier 2) on 2 units: every unit writes its own rows" in plan
        assert connection.execute(f"SELECT count(*) FROM {numbers}").fetchone() == (0,)
    assert connection.execute(f"SELECT count(*) FROM {numbers}").fetchone() == (200,)


def test_what_can_not_be_run_can_not_be_explained(connection, numbers):
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="window function"):
        connection.execute(f"EXPLAIN SELECT rank() OVER (ORDER BY v) FROM {numbers}")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="formats text and json"):
        connection.execute(f"EXPLAIN (FORMAT XML) SELECT * FROM {numbers}")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="with parameters"):
        connection.execute(f"EXPLAIN SELECT * FROM {numbers} WHERE k = %s", (1,))

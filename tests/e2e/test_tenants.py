"""A role without rights, logged in through Decan, can neither forge decisions nor disturb the placement."""

import pytest

from support import wire

pytestmark = pytest.mark.decan_only


@pytest.fixture(scope="module")
def tenant(cluster):
    with wire.connect(cluster) as owner:
        owner.run("CREATE ROLE tenant LOGIN PASSWORD 'a tenant''s secret'")
        owner.run("CREATE TABLE guarded (k int PRIMARY KEY, v int)")
        owner.run("SELECT create_distributed_table('guarded', 'k')")
        owner.run("INSERT INTO guarded SELECT g, 0 FROM generate_series(1, 1) g" if cluster.plain else
                  "INSERT INTO guarded VALUES " + ", ".join(f"({k}, 0)" for k in range(50)))
    yield {"user": "tenant", "password": "a tenant's secret"}
    with wire.connect(cluster) as owner:
        owner.run("DROP TABLE guarded")
        owner.run("DROP ROLE tenant")


@pytest.mark.parametrize("sql", [
    "SELECT decan.mark('decan_x_1_1_00ff_0', '{0,1}', NULL)",
    "SELECT decan.mark('decan_x_1_1_00ff_0', '{0,1}', repeat('0', 64))",
    "SELECT decan.settle('decan_x_1_1_00ff_0')",
    "SELECT decan.begin_change(0, 2, NULL, '')",
    "SELECT decan.begin_change(7, 9, 1000000, repeat('0', 64))",
    "SELECT decan.lock_placement('')",
    "SELECT decan.set_epoch(1000000)",
    "SELECT decan.register('guarded', 9, 'broadcast', NULL, NULL, NULL)",
    "SELECT decan.forget('guarded')",
    "SELECT decan.create_group(9, 'hash', '{23}', true, '[]')",
    "SELECT inner_block FROM decan.secret",
    "SELECT gid FROM decan.dist_commit",
    "UPDATE decan.map SET epoch = 0",
    "INSERT INTO decan.dist_commit VALUES ('decan_x_1_1_00ff_0', '{0,1}')",
    "DELETE FROM decan.change",
    "SELECT nextval('decan.id_seq')",
    "DO $$ BEGIN PERFORM decan.begin_change(0, 2, NULL, ''); END $$",
    "SELECT create_distributed_table('guarded', 'v')",
    "SELECT create_reference_table('guarded')",
    "SELECT undistribute_table('guarded')",
])
def test_what_only_decan_may_do_is_refused(cluster, tenant, sql):
    with wire.connect(cluster) as owner:
        epoch = owner.value("SELECT epoch FROM decan.map")
    with wire.connect(cluster, **tenant) as session:
        for statement in (sql, f"BEGIN; {sql}"):
            session.send(wire.query(statement))
            error = session.results()[-1].error
            assert error and error["C"] in ("42501", "55000", "0A000"), error
            session.run("ROLLBACK")
    with wire.connect(cluster) as owner:
        assert owner.value("SELECT epoch FROM decan.map") == epoch
        assert owner.value("SELECT count(*) FROM guarded") == "50"
        owner.run("UPDATE guarded SET v = v + 1")   # two units, with a mark on each

"""Who may log in, and that a refusal tells nothing."""

import statistics
import time
import uuid

import psycopg
import pytest

from support import wire


@pytest.fixture
def role(connection):
    """A role of its own with the password `secret`."""
    name = f"e2e_{uuid.uuid4().hex[:12]}"
    connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    yield name
    connection.execute(f"DROP ROLE {name}")


def failure(cluster, user: str, password: str) -> tuple[str, str, float]:
    started = time.monotonic()
    with pytest.raises(wire.ServerError) as caught:
        wire.connect(cluster, user=user, password=password)
    return caught.value.sqlstate, caught.value.fields["M"], time.monotonic() - started


def test_new_role_logs_in_and_sees_its_own_rights(cluster, connection, role, numbers):
    with wire.connect(cluster, user=role, password="secret") as session:
        assert session.value("SELECT current_user") == role
        for sql in (f"SELECT v FROM {numbers} WHERE k = 1", f"SELECT count(*) FROM {numbers}", f"DELETE FROM {numbers}"):
            with pytest.raises(wire.ServerError) as caught:
                session.run(sql)
            assert caught.value.sqlstate == "42501"
        connection.execute(f"GRANT SELECT ON {numbers} TO {role}")
        assert session.value(f"SELECT v FROM {numbers} WHERE k = 1") == "row 1"
        assert session.value(f"SELECT count(*) FROM {numbers}") == "200"


def test_reset_role_does_not_become_somebody_else(cluster, role):
    """SET ROLE is no boundary: a pooled connection has to be logged in as the role itself."""
    with wire.connect(cluster, user=role, password="secret") as session:
        session.run("RESET ROLE")
        assert session.value("SELECT current_user") == role
        session.run("DO $$ BEGIN EXECUTE 'RESET ROLE'; EXECUTE 'SET SESSION AUTHORIZATION DEFAULT'; END $$")
        assert session.value("SELECT session_user || current_user") == role + role
        session.run("SELECT set_config('role', 'none', false)")
        assert session.value("SELECT current_user") == role
        for sql in (f"SET ROLE {cluster.user}", f"SET SESSION AUTHORIZATION {cluster.user}", "SET ROLE postgres"):
            with pytest.raises(wire.ServerError) as caught:
                session.run(sql)
            assert caught.value.sqlstate in ("42501", "22023")


def test_wrong_password_while_backends_are_warm(cluster, role):
    """CVE-2025-46801: every client proves itself, whatever connection waits in the pool."""
    for _ in range(5):
        with wire.connect(cluster, user=role, password="secret") as session:
            assert session.value("SELECT 1") == "1"
        assert failure(cluster, role, "wrong")[0] == "28P01"
        assert failure(cluster, role, "")[0] == "28P01"


def test_unknown_role_and_wrong_password_look_the_same(cluster, role):
    unknown = [failure(cluster, f"nobody_{n}", "secret") for n in range(3)]
    wrong = [failure(cluster, role, "wrong") for _ in range(3)]
    assert {f[0] for f in unknown + wrong} == {"28P01"}
    assert {f[1].replace(role, "X") for f in wrong} == {'password authentication failed for user "X"'}
    assert unknown[0][1] == 'password authentication failed for user "nobody_0"'


def scram_time(cluster, user: str) -> float:
    """Seconds that the server takes to answer both SCRAM messages."""
    with wire.Wire(cluster.host, cluster.port) as connection:
        started = time.monotonic()
        connection.send(wire.startup(user=user, database=cluster.database))
        connection.authentication(10)
        scram = wire.Scram("x", nonce="n" * 24)
        connection.send(wire.sasl_initial("SCRAM-SHA-256", scram.first()))
        connection.authentication(11)
        elapsed = time.monotonic() - started
        return elapsed


def test_unknown_role_gets_a_salt_that_stays_the_same(cluster):
    """The mock salt must not change between tries, nor be equal for two roles."""
    def salt(user: str) -> str:
        with wire.Wire(cluster.host, cluster.port) as connection:
            connection.send(wire.startup(user=user, database=cluster.database))
            connection.authentication(10)
            connection.send(wire.sasl_initial("SCRAM-SHA-256", wire.Scram("x").first()))
            parts = dict(part.split("=", 1) for part in connection.authentication(11).decode().split(","))
            assert parts["i"] == "4096"
            return parts["s"]
    assert salt("nobody_a") == salt("nobody_a")
    assert salt("nobody_a") != salt("nobody_b")
    assert len(salt("nobody_a")) == len(salt(cluster.user))


def test_unknown_role_takes_as_long_as_a_known_one(cluster, role):
    known = statistics.median(scram_time(cluster, role) for _ in range(15))
    unknown = statistics.median(scram_time(cluster, "nobody_here") for _ in range(15))
    assert abs(known - unknown) < max(0.010, 0.5 * max(known, unknown)), (known, unknown)


def test_nologin_expired_and_limit_zero(cluster, connection, role):
    connection.execute(f"ALTER ROLE {role} NOLOGIN")
    assert failure(cluster, role, "secret")[0] in ("28000", "28P01")
    connection.execute(f"ALTER ROLE {role} LOGIN VALID UNTIL '2001-01-01'")
    assert failure(cluster, role, "secret")[0] == "28P01"
    connection.execute(f"ALTER ROLE {role} VALID UNTIL 'infinity' CONNECTION LIMIT 0")
    assert failure(cluster, role, "secret")[0] == "53300"
    connection.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")
    with wire.connect(cluster, user=role, password="secret") as session:
        assert session.value("SELECT 1") == "1"


def test_changed_password_counts_at_once(cluster, connection, role):
    with wire.connect(cluster, user=role, password="secret") as session:
        connection.execute(f"ALTER ROLE {role} PASSWORD 'changed'")
        assert session.value("SELECT 1") == "1"
        assert failure(cluster, role, "secret")[0] == "28P01"
        with wire.connect(cluster, user=role, password="changed") as other:
            assert other.value("SELECT count(*) FROM pg_roles WHERE rolname = current_user") == "1"


@pytest.mark.decan_only
def test_role_made_again_is_another_one(cluster, connection):
    connection.execute("CREATE ROLE e2e_again LOGIN PASSWORD 'secret'")
    with wire.connect(cluster, user="e2e_again", password="secret") as old:
        old.run("SELECT 1")
        connection.execute("DROP ROLE e2e_again")
        connection.execute("CREATE ROLE e2e_again LOGIN PASSWORD 'other'")
        try:
            connection.execute("CREATE TABLE e2e_of_new_role (v int)")
            connection.execute("GRANT SELECT ON e2e_of_new_role TO e2e_again")
            with wire.connect(cluster, user="e2e_again", password="other") as new:
                assert new.value("SELECT count(*) FROM e2e_of_new_role") == "0"
            with pytest.raises((wire.ServerError, wire.Closed)):
                old.run("SELECT count(*) FROM e2e_of_new_role")
        finally:
            connection.execute("DROP TABLE e2e_of_new_role")
            connection.execute("DROP ROLE e2e_again")


def test_dropped_role_is_out(cluster, connection):
    connection.execute("CREATE ROLE e2e_dropped LOGIN PASSWORD 'secret'")
    with wire.connect(cluster, user="e2e_dropped", password="secret") as session:
        session.run("SELECT 1")
    connection.execute("DROP ROLE e2e_dropped")
    assert failure(cluster, "e2e_dropped", "secret")[0] == "28P01"


@pytest.mark.parametrize("name, password", [("MixedCase", "secret"), ("ünï rölé", "pässwörd 数据"), ('quo"te', "it's"),
                                            ("soft\u00adhyphen", "a\u00adb"), ("roman", "\u2168")])
def test_names_and_passwords_that_need_care(cluster, connection, name, password):
    quoted = '"' + name.replace('"', '""') + '"'
    connection.execute(f"CREATE ROLE {quoted} LOGIN PASSWORD " + "'" + password.replace("'", "''") + "'")
    try:
        with psycopg.connect(cluster.dsn(user=name, password=password)) as session:
            assert session.execute("SELECT current_user").fetchone() == (name,)
    finally:
        connection.execute(f"DROP ROLE {quoted}")


@pytest.mark.decan_only
@pytest.mark.slow
def test_failed_logins_are_throttled_but_not_locked(cluster, connection, role):
    started = time.monotonic()
    attempts = refused_early = 0
    while time.monotonic() - started < 5:
        try:
            wire.connect(cluster, user=role, password="wrong").close()
        except wire.ServerError as error:
            refused_early += error.sqlstate != "28P01"
        except wire.Closed:
            refused_early += 1
        attempts += 1
    checked = attempts - refused_early
    assert checked < 60, f"{checked} passwords could be tried in 5 s"
    # Another role from the same address is not shut out, and the throttled role gets in again soon.
    with psycopg.connect(cluster.dsn(connect_timeout=10)) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)
    deadline = time.monotonic() + 90
    while True:
        try:
            wire.connect(cluster, user=role, password="secret").close()
            break
        except (wire.ServerError, wire.Closed):
            assert time.monotonic() < deadline, "still locked out"
            time.sleep(2)

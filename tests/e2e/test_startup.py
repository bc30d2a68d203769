"""The first messages of a connection: proper ones, and those of reliability §2.3 that are not."""

import base64
import socket
import ssl
import struct
import time

import pytest

from support import wire


@pytest.fixture
def dial(cluster):
    """Opens TCP connections that have said nothing yet."""
    opened = []

    def connect(timeout: float = 10) -> wire.Wire:
        opened.append(wire.Wire(cluster.host, cluster.port, timeout))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


def assert_alive(cluster) -> None:
    with wire.connect(cluster) as connection:
        assert connection.value("SELECT 'alive'") == "alive"


def refused(connection: wire.Wire, seconds: float = 5) -> dict | None:
    """The fields of the error that was sent before the server closed; None when it closed without a word."""
    connection.socket.settimeout(seconds)
    fields = None
    try:
        while True:
            kind, body = connection.read()
            assert kind not in "ZDC", f"message {kind!r}: the server went on"
            if kind == "R":
                assert struct.unpack_from("!I", body)[0] != 0, "AuthenticationOk"
            if kind == "E":
                fields = wire.decode_fields(body)
    except (wire.Closed, ValueError):
        return fields


def test_parameters_and_key_are_sent(raw):
    connection = raw(application_name="tests")
    expected = {"server_version", "server_encoding", "client_encoding", "application_name", "DateStyle", "TimeZone",
                "is_superuser", "session_authorization", "IntervalStyle", "integer_datetimes",
                "standard_conforming_strings", "default_transaction_read_only", "in_hot_standby"}
    assert expected <= set(connection.parameters)
    assert connection.parameters["application_name"] == "tests"
    assert connection.pid and len(connection.key) == 4 and connection.status == "I"


def test_every_connection_has_its_own_key(raw):
    keys = {(connection.pid, connection.key) for connection in (raw() for _ in range(20))}
    assert len(keys) == 20


@pytest.mark.decan_only
def test_gss_is_declined_then_tls_is_taken(cluster, dial):
    connection = dial()
    connection.send(wire.GSS_REQUEST)
    assert connection.read_bytes(1) == b"N"
    connection.start_tls()
    connection.login(cluster.user, cluster.password, cluster.database)
    assert connection.value("SELECT 1") == "1"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions(cluster, dial, version):
    connection = dial()
    connection.send(wire.SSL_REQUEST)
    assert connection.read_bytes(1) == b"S"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    connection.socket = context.wrap_socket(connection.socket)
    connection.login(cluster.user, cluster.password, cluster.database)
    assert connection.value("SELECT 1") == "1"


def test_tls_1_1_is_refused(dial):
    connection = dial()
    connection.send(wire.SSL_REQUEST)
    assert connection.read_bytes(1) == b"S"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(connection.socket)


@pytest.mark.parametrize("request_bytes", [wire.SSL_REQUEST, wire.GSS_REQUEST])
def test_extra_bytes_after_encryption_request_close(cluster, dial, request_bytes):
    """CVE-2021-23214: plaintext that a man in the middle put behind the request is never read as part of the session."""
    connection = dial()
    connection.send(request_bytes + wire.startup(user=cluster.user, database=cluster.database))
    connection.socket.settimeout(5)
    try:
        answer = connection.socket.recv(1)
    except ConnectionResetError:
        answer = b""
    if answer == b"S":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            connection.socket = context.wrap_socket(connection.socket)
        except (ssl.SSLError, ConnectionError):
            pass
        else:
            refused(connection)
    elif answer == b"N" and request_bytes == wire.GSS_REQUEST:
        # Declined: going on in plain text is what the client asked for.
        pass
    else:
        assert answer in (b"", b"E", b"G")
    assert_alive(cluster)


def test_ssl_request_twice_is_an_error(cluster, dial):
    connection = dial()
    connection.start_tls()
    connection.send(wire.SSL_REQUEST)
    assert refused(connection) is not None
    assert_alive(cluster)


@pytest.mark.decan_only
def test_ssl_request_twice_in_plain_text_is_closed(cluster, dial):
    connection = dial()
    connection.send(wire.GSS_REQUEST)
    assert connection.read_bytes(1) == b"N"
    connection.send(wire.GSS_REQUEST)
    refused(connection)
    assert_alive(cluster)


def test_second_startup_during_scram_is_fatal(cluster, dial, victim):
    connection = dial()
    connection.send(wire.startup(user=victim.user, database=cluster.database))
    connection.authentication(10)
    connection.send(wire.startup(user=victim.user, database=cluster.database))
    fields = refused(connection)
    assert fields is None or fields["C"] in ("08P01", "28P01")
    assert_alive(cluster)


@pytest.mark.parametrize("what", [wire.query("SELECT 1"), wire.extended("SELECT 1") + wire.SYNC, wire.SYNC, wire.SSL_REQUEST,
                                  wire.message(b"p", b"")])
def test_other_message_instead_of_sasl_is_fatal(cluster, dial, victim, what):
    connection = dial()
    connection.send(wire.startup(user=victim.user, database=cluster.database))
    connection.authentication(10)
    connection.send(what)
    fields = refused(connection)
    assert fields is None or fields["C"] in ("08P01", "28P01")
    assert_alive(cluster)


def test_pipeline_before_authentication_is_not_executed(cluster, dial, victim, numbers):
    """CVE-2022-45347: statements that come along with a login that fails."""
    connection = dial()
    attack = wire.query(f"DELETE FROM {numbers}") + wire.extended(f"DELETE FROM {numbers}") + wire.SYNC
    connection.send(wire.startup(user=victim.user, database=cluster.database) + attack)
    refused(connection)
    assert_still_200(cluster, numbers)


def test_pipeline_after_failed_authentication_is_not_executed(cluster, dial, victim, numbers):
    connection = dial()
    connection.send(wire.startup(user=victim.user, database=cluster.database))
    connection.authentication(10)
    scram = wire.Scram("not the password")
    connection.send(wire.sasl_initial("SCRAM-SHA-256", scram.first()))
    server_first = connection.authentication(11).decode()
    connection.send(wire.message(b"p", scram.final(server_first)) + wire.query(f"DELETE FROM {numbers}")
                    + wire.extended(f"DELETE FROM {numbers}") + wire.SYNC)
    assert refused(connection)["C"] == "28P01"
    assert_still_200(cluster, numbers)


def assert_still_200(cluster, table: str) -> None:
    with wire.connect(cluster) as connection:
        assert connection.value(f"SELECT count(*) FROM {table}") == "200"


def test_query_pipelined_behind_a_good_login_is_answered(cluster, dial):
    connection = dial()
    connection.send(wire.startup(user=cluster.user, database=cluster.database))
    connection.authentication(10)
    scram = wire.Scram(cluster.password)
    connection.send(wire.sasl_initial("SCRAM-SHA-256", scram.first()))
    server_first = connection.authentication(11).decode()
    connection.send(wire.message(b"p", scram.final(server_first)) + wire.query("SELECT 'early'"))
    connection.authentication(12)
    connection.authentication(0)
    connection.until_ready()
    assert connection.results()[0].rows == [(b"early",)]


@pytest.mark.parametrize("change", ["nonce", "proof", "no nonce", "no proof", "binding", "empty", "huge nonce", "bad base64",
                                    "negative length", "overflow length", "unknown mechanism", "header y with plus"])
def test_broken_scram_is_refused(cluster, dial, victim, change):
    connection = dial()
    if change == "header y with plus":
        connection.start_tls()
    connection.send(wire.startup(user=victim.user, database=cluster.database))
    connection.authentication(10)
    scram = wire.Scram(victim.password, nonce="n" * 65536 if change == "huge nonce" else None)
    if change in ("negative length", "overflow length"):
        length = -2 if change == "negative length" else 0x7FFFFFF0
        connection.send(wire.message(b"p", wire.cstring("SCRAM-SHA-256") + struct.pack("!i", length) + scram.first()))
        assert refused(connection) is not None
        assert_alive(cluster)
        return
    if change == "unknown mechanism":
        connection.send(wire.sasl_initial("SCRAM-SHA-1", scram.first()))
        assert refused(connection) is not None
        return
    first = {"no nonce": b"n,,n=", "empty": b"", "header y with plus": scram.first("y,,")}.get(change, scram.first())
    connection.send(wire.sasl_initial("SCRAM-SHA-256", first))
    try:
        server_first = connection.authentication(11).decode()
    except (wire.ServerError, wire.Closed):
        assert change in ("no nonce", "empty", "huge nonce", "header y with plus")
        return
    assert change != "header y with plus", "a client that saw no PLUS although it is offered is being downgraded"
    final = scram.final(server_first, nonce="changed" if change == "nonce" else None,
                        binding="eSws" if change == "binding" else "biws").decode()
    if change == "proof":
        final = final.rsplit(",p=", 1)[0] + ",p=" + base64.b64encode(b"\1" * 32).decode()
    elif change == "no proof":
        final = final.rsplit(",p=", 1)[0]
    elif change == "bad base64":
        final = final.rsplit(",p=", 1)[0] + ",p=***"
    connection.send(wire.message(b"p", final.encode()))
    if change == "huge nonce":
        refused(connection, 2) if connection.closed_within(0.1) else None
    else:
        assert refused(connection)["C"] in ("28P01", "08P01")
    assert_alive(cluster)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 7, 10001, 2**20, 2**31 - 1, 2**31, 2**32 - 1])
def test_startup_of_any_declared_length(cluster, dial, length):
    connection = dial()
    connection.send(struct.pack("!I", length) + struct.pack("!I", wire.PROTOCOL_3_0) + b"user\0x\0\0")
    if length == 10001:
        connection.send(b"a" * 10001)
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.closed_within(12)
    assert_alive(cluster)


@pytest.mark.parametrize("body", [b"", b"user", b"user\0", b"user\0decan", b"\0", b"database\0decan\0\0",
                                  b"user\0decan\0database\0decan\0", b"user\0decan\0\0trailing\0\0", b"user\0\0\0"])
def test_malformed_startup_is_refused(cluster, dial, body):
    connection = dial()
    packet = struct.pack("!I", wire.PROTOCOL_3_0) + body
    connection.send(struct.pack("!I", len(packet) + 4) + packet)
    refused(connection)
    assert_alive(cluster)


def test_many_parameters_and_duplicates(cluster, dial):
    connection = dial()
    body = struct.pack("!I", wire.PROTOCOL_3_0)
    body += b"user\0" + cluster.user.encode() + b"\0database\0" + cluster.database.encode() + b"\0"
    body += b"".join(b"x%d\0y\0" % n for n in range(300)) + b"\0"
    connection.send(struct.pack("!I", len(body) + 4) + body)
    try:
        connection.authentication(10)
    except (wire.ServerError, wire.Closed):
        pass
    assert_alive(cluster)


@pytest.mark.parametrize("version, fatal", [(2 << 16, True), (4 << 16, True), (3 << 16 | 2, False), (3 << 16 | 99, False),
                                            (0, True), (0xFFFFFFFF, True)])
def test_protocol_versions(cluster, dial, version, fatal):
    connection = dial()
    connection.send(wire.startup(version, user=cluster.user, database=cluster.database))
    if fatal:
        fields = refused(connection)
        assert fields is None or fields["C"] in ("0A000", "08P01")
    else:
        kind, body = connection.read()
        if kind == "v":
            (newest, count) = struct.unpack_from("!II", body)
            assert newest in (wire.PROTOCOL_3_0, 3 << 16 | 2) or newest == 0 and count == 0
            kind, body = connection.read()
        assert kind == "R"


def test_unknown_protocol_options_are_negotiated(cluster, dial):
    connection = dial()
    connection.send(wire.startup(**{"user": cluster.user, "database": cluster.database, "_pq_.feature": "on"}))
    kind, body = connection.read()
    assert kind == "v" and b"_pq_.feature" in body
    connection.authentication(10)


def test_cancel_request_inside_a_session_is_fatal(cluster, raw):
    connection = raw()
    connection.send(wire.cancel_request(connection.pid, connection.key))
    connection.socket.settimeout(5)
    try:
        fields = refused(connection)
        assert fields is None or fields["C"] == "08P01"
    except TimeoutError:
        # PostgreSQL reads the leading zero as an unknown message type and the rest as its length: it waits for more or closes.
        pytest.fail("neither refused nor closed")
    assert_alive(cluster)


def test_search_path_in_options_does_not_fool_the_login(cluster):
    for options in ("-csearch_path=evil", "-c search_path=evil,public"):
        with wire.connect(cluster, options=options) as connection:
            assert "evil" in connection.value("SHOW search_path")


@pytest.mark.parametrize("options", ["-c", "-c=", "-cno_such=1", "-c work_mem=nonsense", "-x"])
def test_bad_options_are_refused(cluster, options):
    with pytest.raises((wire.ServerError, wire.Closed)):
        wire.connect(cluster, options=options)
    assert_alive(cluster)


def test_unknown_database(cluster):
    with pytest.raises(wire.ServerError) as caught:
        wire.connect(cluster, database="no_such_database")
    assert caught.value.sqlstate == "3D000" and 'database "no_such_database" does not exist' in str(caught.value)


def test_slow_startup_is_closed_in_time(dial):
    """Slow-loris: somebody who never finishes logging in; PostgreSQL waits 60 s, the spec says 10."""
    connection = dial(timeout=30)
    connection.send(b"\0")
    started = time.monotonic()
    assert connection.closed_within(70)
    assert time.monotonic() - started < 65


test_slow_startup_is_closed_in_time = pytest.mark.slow(test_slow_startup_is_closed_in_time)


def test_startup_byte_by_byte(cluster, dial):
    connection = dial()
    for byte in wire.startup(user=cluster.user, database=cluster.database):
        connection.send(bytes([byte]))
    connection.authentication(10)

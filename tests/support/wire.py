"""A tiny client of the PostgreSQL protocol 3.0 that can also do what no proper client does.

Nothing is hidden: builders make message bytes, `send` puts any bytes on the socket, `read` returns one message. Only the
login is automatic when asked for, and each of its steps can be called alone.
"""

import base64
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSS_REQUEST = struct.pack("!II", 8, 80877104)
PROTOCOL_3_0 = 196608


def cstring(text: str | bytes) -> bytes:
    return (text.encode() if isinstance(text, str) else text) + b"\0"


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def startup(protocol: int = PROTOCOL_3_0, **parameters: str) -> bytes:
    body = struct.pack("!I", protocol)
    body += b"".join(cstring(name) + cstring(value) for name, value in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def cancel_request(pid: int, key: bytes) -> bytes:
    return struct.pack("!III", 12 + len(key), 80877102, pid) + key


def query(sql: str) -> bytes:
    return message(b"Q", cstring(sql))


def parse(name: str, sql: str, types: tuple[int, ...] = ()) -> bytes:
    return message(b"P", cstring(name) + cstring(sql) + struct.pack(f"!H{len(types)}I", len(types), *types))


def bind(portal: str = "", statement: str = "", values: tuple = (), formats: tuple[int, ...] = (),
         results: tuple[int, ...] = ()) -> bytes:
    body = [cstring(portal), cstring(statement), struct.pack(f"!H{len(formats)}h", len(formats), *formats),
            struct.pack("!H", len(values))]
    for value in values:
        if value is None:
            body.append(struct.pack("!i", -1))
        else:
            raw = value.encode() if isinstance(value, str) else value
            body.append(struct.pack("!i", len(raw)) + raw)
    body.append(struct.pack(f"!H{len(results)}h", len(results), *results))
    return message(b"B", b"".join(body))


def describe(kind: bytes, name: str = "") -> bytes:
    return message(b"D", kind + cstring(name))


def execute(portal: str = "", rows: int = 0) -> bytes:
    return message(b"E", cstring(portal) + struct.pack("!I", rows))


def close(kind: bytes, name: str = "") -> bytes:
    return message(b"C", kind + cstring(name))


SYNC = message(b"S")
FLUSH = message(b"H")
TERMINATE = message(b"X")
COPY_DONE = message(b"c")


def copy_data(data: bytes) -> bytes:
    return message(b"d", data)


def copy_fail(reason: str) -> bytes:
    return message(b"f", cstring(reason))


def extended(sql: str, values: tuple = (), *, types: tuple = (), formats: tuple = (), results: tuple = ()) -> bytes:
    """Parse, Bind, Describe, Execute of an unnamed statement, without Sync."""
    return (parse("", sql, types) + bind("", "", values, formats, results) + describe(b"P") + execute())


@dataclass(frozen=True)
class Column:
    name: str
    table: int
    attnum: int
    type: int
    size: int
    modifier: int
    format: int


def decode_columns(body: bytes) -> list[Column]:
    (count,) = struct.unpack_from("!H", body)
    position, columns = 2, []
    for _ in range(count):
        end = body.index(b"\0", position)
        values = struct.unpack_from("!IhIhih", body, end + 1)
        columns.append(Column(body[position:end].decode(), *values))
        position = end + 19
    return columns


def decode_row(body: bytes) -> tuple:
    (count,) = struct.unpack_from("!H", body)
    position, values = 2, []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, position)
        position += 4
        if length < 0:
            values.append(None)
        else:
            values.append(body[position:position + length])
            position += length
    return tuple(values)


def decode_fields(body: bytes) -> dict[str, str]:
    """Fields of an ErrorResponse or NoticeResponse: code letter -> text."""
    fields = {}
    for item in body.split(b"\0"):
        if item:
            fields[chr(item[0])] = item[1:].decode(errors="replace")
    return fields


@dataclass
class Result:
    """What one statement gave: one per CommandComplete, EmptyQueryResponse, PortalSuspended or error."""

    columns: list[Column] | None = None
    rows: list[tuple] = field(default_factory=list)
    tag: str | None = None
    error: dict[str, str] | None = None
    parameters: list[int] | None = None
    copy: bytes | None = None


class Closed(ConnectionError):
    """The server closed the connection."""


class ServerError(RuntimeError):
    def __init__(self, fields: dict[str, str]):
        super().__init__(f"{fields.get('C')}: {fields.get('M')}")
        self.fields = fields
        self.sqlstate = fields.get("C")


class Scram:
    """Client side of SCRAM-SHA-256; `tamper` may change a message before it is sent."""

    def __init__(self, password: str, nonce: str | None = None):
        self.password = password.encode()
        self.nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode()
        self.first_bare = f"n=,r={self.nonce}"
        self.server_signature = b""

    def first(self, header: str = "n,,") -> bytes:
        return (header + self.first_bare).encode()

    def final(self, server_first: str, *, binding: str = "biws", nonce: str | None = None) -> bytes:
        attributes = dict(part.split("=", 1) for part in server_first.split(","))
        salt = base64.b64decode(attributes["s"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password, salt, int(attributes["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c={binding},r={nonce or attributes['r']}"
        text = f"{self.first_bare},{server_first},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), text, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.server_signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), text, "sha256")
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


def sasl_initial(mechanism: str, body: bytes) -> bytes:
    return message(b"p", cstring(mechanism) + struct.pack("!i", len(body)) + body)


class Wire:
    """One connection. Not logged in until login() or cluster-aware connect()."""

    def __init__(self, host: str, port: int, timeout: float = 30):
        self.address = (host, port)
        self.socket = socket.create_connection(self.address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.parameters: dict[str, str] = {}
        self.notices: list[dict[str, str]] = []
        self.notifications: list[tuple[int, str, str]] = []
        self.pid = 0
        self.key = b""
        self.status = ""

    # Bytes.
    def send(self, *parts: bytes) -> None:
        try:
            self.socket.sendall(b"".join(parts))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from error

    def _fill(self, count: int) -> None:
        while len(self.buffer) < count:
            try:
                chunk = self.socket.recv(max(65536, count - len(self.buffer)))
            except ConnectionResetError as error:
                raise Closed(str(error)) from error
            except ssl.SSLEOFError as error:
                raise Closed(str(error)) from error
            if not chunk:
                raise Closed("connection closed by the server")
            self.buffer += chunk

    def read_bytes(self, count: int) -> bytes:
        self._fill(count)
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def read(self) -> tuple[str, bytes]:
        """The next message, whatever it is."""
        self._fill(5)
        kind = chr(self.buffer[0])
        (length,) = struct.unpack_from("!I", self.buffer, 1)
        if length < 4:
            raise ValueError(f"message {kind!r} of length {length}")
        self._fill(1 + length)
        body = bytes(self.buffer[5:1 + length])
        del self.buffer[:1 + length]
        return kind, body

    def closed_within(self, seconds: float) -> bool:
        """Reads and drops what comes until the server closes; False when it does not in time."""
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                self.socket.settimeout(max(0.01, deadline - time.monotonic()))
                if not self.socket.recv(65536):
                    return True
        except (ConnectionResetError, ssl.SSLError):
            return True
        except TimeoutError:
            pass
        return False

    def close(self) -> None:
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    # Login.
    def start_tls(self) -> None:
        self.send(SSL_REQUEST)
        answer = self.read_bytes(1)
        if answer != b"S":
            raise ServerError({"C": "08P01", "M": f"server answered {answer!r} to SSLRequest"})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)

    def expect(self, kind: str) -> bytes:
        got, body = self.read()
        if got == "E":
            raise ServerError(decode_fields(body))
        if got != kind:
            raise ValueError(f"expected message {kind!r}, got {got!r}")
        return body

    def authentication(self, code: int) -> bytes:
        body = self.expect("R")
        (got,) = struct.unpack_from("!I", body)
        if got != code:
            raise ValueError(f"expected authentication {code}, got {got}")
        return body[4:]

    def login(self, user: str, password: str, database: str, **parameters: str) -> "Wire":
        self.send(startup(user=user, database=database, **parameters))
        self.authentication(10)
        scram = Scram(password)
        self.send(sasl_initial("SCRAM-SHA-256", scram.first()))
        server_first = self.authentication(11).decode()
        self.send(message(b"p", scram.final(server_first)))
        final = self.authentication(12).decode()
        if base64.b64decode(final.removeprefix("v=")) != scram.server_signature:
            raise ValueError("the server's signature is wrong")
        self.authentication(0)
        while True:
            kind, body = self.next()
            if kind == "E":
                raise ServerError(decode_fields(body))
            if kind == "Z":
                self.status = body.decode()
                return self

    # Answers.
    def next(self) -> tuple[str, bytes]:
        """The next message that belongs to a statement; parameters, notices and notifications are kept aside."""
        while True:
            kind, body = self.read()
            if kind == "S":
                name, value = body.split(b"\0")[:2]
                self.parameters[name.decode()] = value.decode()
            elif kind == "N":
                self.notices.append(decode_fields(body))
            elif kind == "A":
                channel, payload = body[4:].split(b"\0")[:2]
                self.notifications.append((struct.unpack_from("!I", body)[0], channel.decode(), payload.decode()))
            elif kind == "K":
                (self.pid,) = struct.unpack_from("!I", body)
                self.key = body[4:]
            else:
                return kind, body

    def until_ready(self) -> list[tuple[str, bytes]]:
        """Messages up to ReadyForQuery, which is not part of the list (its status is kept)."""
        messages = []
        while True:
            kind, body = self.next()
            if kind == "Z":
                self.status = body.decode()
                return messages
            messages.append((kind, body))

    def results(self, copy_in: bytes | None = None, copy_sync: bool = False) -> list[Result]:
        """Reads to ReadyForQuery and sorts the messages by statement. COPY FROM STDIN gets `copy_in`.

        A Sync that comes while the server expects COPY data is ignored: `copy_sync` sends another after the data.
        """
        results, current = [], Result()
        while True:
            kind, body = self.next()
            if kind == "Z":
                self.status = body.decode()
                if current != Result():
                    results.append(current)
                return results
            if kind == "T":
                current.columns = decode_columns(body)
            elif kind == "t":
                (count,) = struct.unpack_from("!H", body)
                current.parameters = list(struct.unpack_from(f"!{count}I", body, 2))
            elif kind == "D":
                current.rows.append(decode_row(body))
            elif kind == "G":
                if copy_in is None:
                    self.send(copy_fail("no data"))
                else:
                    self.send(*[copy_data(copy_in[i:i + 8192]) for i in range(0, len(copy_in), 8192)], COPY_DONE)
                if copy_sync:
                    self.send(SYNC)
            elif kind == "H":
                current.copy = b""
            elif kind == "d":
                current.copy = (current.copy or b"") + body
            elif kind in "CEIs":
                if kind == "C":
                    current.tag = body.rstrip(b"\0").decode()
                elif kind == "E":
                    current.error = decode_fields(body)
                else:
                    current.tag = "(empty)" if kind == "I" else "(suspended)"
                results.append(current)
                current = Result()

    def run(self, sql: str) -> Result:
        """One simple query whose error is raised; the last statement's result."""
        self.send(query(sql))
        results = self.results()
        for result in results:
            if result.error:
                raise ServerError(result.error)
        return results[-1] if results else Result()

    def value(self, sql: str) -> str | None:
        value = self.run(sql).rows[0][0]
        return None if value is None else value.decode()


def connect(cluster, *, timeout: float = 30, tls: bool = False, user: str | None = None, password: str | None = None,
            database: str | None = None, **parameters: str) -> Wire:
    """A logged-in connection to a cluster of tests/support/cluster.py."""
    wire = Wire(cluster.host, cluster.port, timeout)
    try:
        if tls:
            wire.start_tls()
        return wire.login(user or cluster.user, cluster.password if password is None else password,
                          database or cluster.database, **parameters)
    except BaseException:
        wire.close()
        raise

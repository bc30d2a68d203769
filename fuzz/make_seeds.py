#!/usr/bin/env python3
"""Writes the hand-made part of the corpus (files named seed_*). Run it after a change of the protocol's messages."""
import pathlib
import struct

ROOT = pathlib.Path(__file__).parent / "corpus"


def i16(value):
    return struct.pack(">H", value & 0xFFFF)


def i32(value):
    return struct.pack(">I", value & 0xFFFFFFFF)


def z(text):
    return (text.encode() if isinstance(text, str) else text) + b"\0"


def message(kind, body=b""):
    return kind.encode() + i32(len(body) + 4) + body


def packet(code, rest=b""):
    return i32(len(rest) + 8) + i32(code) + rest


def value(data):
    return i32(-1) if data is None else i32(len(data)) + data


def field(name, fmt=0):
    return z(name) + i32(16500) + i16(3) + i32(25) + i16(-1) + i32(-1) + i16(fmt)


def bind(formats, values, results, portal="", statement="s"):
    return message("B", z(portal) + z(statement) + i16(len(formats)) + b"".join(map(i16, formats)) +
                   i16(len(values)) + b"".join(map(value, values)) + i16(len(results)) + b"".join(map(i16, results)))


def error(kind, **fields):
    return message(kind, b"".join(name.encode() + z(text) for name, text in fields.items()) + b"\0")


V30, V32 = 3 << 16, 3 << 16 | 2
KEY = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
NONCE = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
VERIFIER = ("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
            "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")

SEEDS = {
    "startup": {
        "psql": packet(V30, z("user") + z("alice") + z("database") + z("shop") + z("application_name") + z("psql") +
                       z("client_encoding") + z("UTF8") + b"\0"),
        "version_32": packet(V32, z("user") + z("a") + z("_pq_.feature") + z("on") + b"\0"),
        "options": packet(V30, z("user") + z("a") + z("options") + z("-c search_path=x") + b"\0"),
        "twice": packet(V30, z("user") + z("a") + z("user") + z("b") + b"\0"),
        "many": packet(V30, b"".join(z(f"k{i}") + z("") for i in range(257)) + b"\0"),
        "no_terminator": packet(V30, z("user") + z("alice")),
        "ssl": packet(80877103),
        "ssl_and_more": packet(80877103) + packet(V30, z("user") + z("m") + b"\0"),
        "gss": packet(80877104),
        "cancel": packet(80877102, i32(4711) + b"abcd"),
        "cancel_long": packet(80877102, i32(4711) + bytes(range(256))),
        "version_2": packet(2 << 16, b"x" * 292),
        "length_3": i32(3), "length_minus_1": i32(-1), "length_10005": i32(10005),
    },
    "client_messages": {
        "simple": message("Q", z("select 1; select 2")),
        "pipeline": message("P", z("s") + z("select $1, $2") + i16(2) + i32(23) + i32(0)) +
                    bind([1, 0], [b"\0\0\0\x05", b"text"], [1]) + message("D", b"P" + z("")) +
                    message("E", z("") + i32(0)) + message("C", b"S" + z("s")) + message("S"),
        "nulls": bind([], [None, b"", b"x"], []), "one_format": bind([1], [b"a", b"b"], [0, 1]),
        "formats_differ": bind([0, 0], [b"a"], []), "bad_format": bind([7], [b"a"], []),
        "wrapped_count": message("B", z("") + z("") + i16(0) + i16(65535) + i16(0)),
        "negative": message("B", z("") + z("") + i16(0) + i16(1) + i32(-2) + i16(0)),
        "copy": message("d", b"a\tb\n") + message("c") + message("f", z("stop")),
        "password": message("p", z("secret")),
        "sasl": message("p", z("SCRAM-SHA-256") + value(b"n,,n=,r=abc")) + message("p", b"c=biws,r=abcdef,p=AAAA"),
        "sasl_none": message("p", z("SCRAM-SHA-256") + i32(-1)),
        "flush_terminate": message("H") + message("X"),
        "length_3": b"Q" + i32(3), "length_min": b"Q" + i32(-2**31), "length_max": b"Q" + i32(2**31 - 1),
    },
    "unit_messages": {
        "rows": message("T", i16(2) + field("a") + field("b", 1)) +
                message("D", i16(2) + value(b"1") + value(None)) + message("D", i16(2) + value(b"") + value(b"xyz")) +
                message("C", z("SELECT 2")) + message("Z", b"I"),
        "login": message("R", i32(10) + z("SCRAM-SHA-256-PLUS") + z("SCRAM-SHA-256") + b"\0") +
                 message("R", i32(11) + b"r=x,s=y,i=1") + message("R", i32(12) + b"v=z") + message("R", i32(0)) +
                 message("S", z("TimeZone") + z("UTC")) + message("K", i32(7) + b"abcd") + message("Z", b"I"),
        "md5": message("R", i32(5) + b"salt"),
        "error": error("E", S="ERROR", V="ERROR", C="23505", M="duplicate key", D="Key (id)=(1) already exists.",
                       s="public", t="t", n="t_pkey", F="nbtinsert.c", L="673", R="_bt_check_unique"),
        "notice": error("N", S="NOTICE", V="NOTICE", C="00000", M="hello"),
        "no_sqlstate": error("E", S="ERROR", M="text"),
        "extended": message("1") + message("t", i16(2) + i32(23) + i32(25)) + message("n") + message("2") +
                    message("3") + message("s") + message("I"),
        "copy_out": message("H", b"\0" + i16(2) + i16(0) + i16(0)) + message("d", b"a\tb\n") + message("c"),
        "copy_in_binary": message("G", b"\1" + i16(1) + i16(1)), "copy_both": message("W", b"\0" + i16(0)),
        "notification": message("A", i32(9) + z("channel") + z("payload")),
        "minus_two": message("D", i16(1) + i32(-2)), "65535_columns": message("D", i16(65535) + b"x"),
        "ready_x": message("Z", b"X"), "relay": message("D", i16(0)) * 3 + message("d", b"x") + b"D" + i32(20) + b"yy",
        "length_3": b"D" + i32(3), "length_min": b"D" + i32(-2**31),
    },
    "scram_server": {
        "good": f"0SCRAM-SHA-256\nn,,n=user,r=rOprNGfwEbeRWgbNEkqO\nc=biws,{NONCE},{KEY}".encode(),
        "no_login": f"2SCRAM-SHA-256\nn,,n=user,r=rOprNGfwEbeRWgbNEkqO\nc=biws,{NONCE},{KEY}".encode(),
        "extension": f"0SCRAM-SHA-256\nn,,n=,r=abc,x=y\nc=biws,r=abc,z=1,{KEY}".encode(),
        "authzid": b"0SCRAM-SHA-256\nn,a=admin,n=,r=abc\n", "mandatory": b"0SCRAM-SHA-256\nn,,m=x,n=,r=abc\n",
        "downgrade": b"1SCRAM-SHA-256\ny,,n=,r=abc\n", "y": b"0SCRAM-SHA-256\ny,,n=,r=abc\nc=eSws",
        "plus": f"1SCRAM-SHA-256-PLUS\np=tls-server-end-point,,n=,r=abc\nc=cD10,r=abc,{KEY}".encode(),
        "other_binding": b"1SCRAM-SHA-256-PLUS\np=tls-unique,,n=,r=abc\n",
    },
    "scram_client": {
        "good": f"0{NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1\nv=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".encode(),
        "tls": f"1{NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096\nv=AAAA".encode(),
        "same_salt": b"2r=rOprNGfwEbeRWgbNEkqOx,s=c2FsdA==,i=1\ne=other-error",
        "iterations": b"0r=rOprNGfwEbeRWgbNEkqOx,s=c2FsdA==,i=2147483648\n",
        "trailing": b"0r=rOprNGfwEbeRWgbNEkqOx,s=c2FsdA==,i=1,x=y\n",
    },
    "secrets": {
        "verifier": VERIFIER.encode(), "md5": b"md5c3ab8ff13720e8ad9047dd39466b3c89", "base64": b"Zm9vYmFyYg==",
        "latin": "cafe\u0301 \u00aa\u00ad".encode(), "hangul": "\u1112\u1161\u11ab".encode(),
        "spaces": "a\u00a0b\u3000c\u200bd".encode(), "hebrew": "\u05d01\u05d1".encode(), "mixed": "\u05d0a\u05d1".encode(),
        "emoji": "a\U0001f600".encode(), "not_utf8": b"\xed\xa0\x80\xff", "long": "\ufdfa".encode() * 8,
    },
}

COPY_TUPLE = i16(3) + value(b"ab") + value(None) + value(b"")
COPY_HEAD = b"PGCOPY\n\377\r\n\0" + i32(0)
SEEDS["copy_split"] = {
    "text": b"\x00\x031\tx\t2\n\\N\ty\\\tz\t\\x41\n\\.\nrest", "text_crlf": b"\x10\x01a\tb\tc\r\n1\t2\t3\r\n\\.\r\n",
    "text_cr": b"\x00\x001\t2\t3\r4\t5\t6\r", "text_mixed": b"\x00\x051\t2\t3\n4\t\r\t6\n", "text_short": b"\x00\x001\t2\n",
    "csv": b"\x01\x021,\"a\"\"b\n\",3\n\\.x,,\n\\.\n", "csv_escape": b"\x31\x04a,b,c\n\"x\\\"y\",,z\n", "csv_open": b"\x01\x00\"a,b\n",
    "csv_dot": b"\x40\x011,.x.,2\n\\..a\r", "binary": b"\x02\x03" + COPY_HEAD + i32(3) + b"ext" + COPY_TUPLE * 2 + i16(-1),
    "binary_cut": b"\x02\x00" + COPY_HEAD + i32(0) + COPY_TUPLE[:-2], "binary_size": b"\x02\x00" + COPY_HEAD + i32(0) + i16(3) + i32(600),
}


def numeric(weight, sign, scale, *digits):
    return i16(len(digits)) + i16(weight) + i16(sign) + i16(scale) + b"".join(map(i16, digits))


def two(a, b):
    return bytes([len(a)]) + a + b


SEEDS["numeric"] = {
    "text": b"t-12345.678e-3", "text_nan": b"tNaN", "text_long": b"t" + b"9" * 80 + b"." + b"1" * 40, "text_inf": b"t-Infinity",
    "equal": two(numeric(0, 0, 2, 1), numeric(0, 0, 0, 1)), "signs": two(numeric(1, 0, 4, 9999, 9999, 5), numeric(1, 0x4000, 0, 1)),
    "special": two(numeric(0, 0xC000, 0), numeric(0, 0xD000, 32)), "padded": two(numeric(3, 0, 0, 0, 0, 7, 0), numeric(1, 0, 0, 7)),
    "wide": two(numeric(30, 0, 0, 1), numeric(-30, 0x4000, 124, 1)),
}

MOODS = i32(1) + i32(0) + i32(50000) + i32(2) + i32(1) + value(b"sad") + value(None)
POINT = i32(3) + i32(23) + value(i32(7)) + i32(50000) + value(b"ok") + i32(50001) + value(MOODS)
POINTS = i32(1) + i32(0) + i32(50002) + i32(2) + i32(1) + value(POINT) + value(POINT)
FIELD = i32(60000) + i16(1) + i32(50001) + i16(-1) + i32(-1) + i16(1)

SEEDS["map_oids"] = {
    "moods": b"\x01" + MOODS, "point": b"\x02" + POINT, "points": b"\x03" + POINTS, "domain": b"\x04" + POINTS,
    "range": b"\x05\x02" + value(POINT) + value(POINT), "half": b"\x05\x08" + value(POINT), "empty": b"\x05\x01",
    "multirange": b"\x06" + i32(1) + value(b"\x12" + value(POINT)), "record": b"\x08" + i32(1) + i32(50002) + value(POINT),
    "records": b"\x09" + i32(1) + i32(0) + i32(2249) + i32(1) + i32(1) + value(POINT), "cut": b"\x03" + POINTS[:-3],
    "description": b"\x10" + i16(2) + z("a") + FIELD + z("") + FIELD, "row": b"\x20" + i16(4) + value(MOODS) + value(POINT) + value(b"x") + value(POINT),
    "tuples": b"\x30" + (i16(3) + value(POINTS) + value(i32(1)) + value(b"\x01")) * 2 + i16(-1),
}

SEEDS["distsql"] = {
    "register": b"REGISTER STORAGE UNIT IF NOT EXISTS ds_0 (HOST='h', PORT=5432, DB='d', USER='u', PASSWORD='p', PROPERTIES('maxPoolSize'=50)), "
                b"ds_1 (URL='jdbc:postgresql://[::1]:5432/d?x=1', USER='u'), CHECK_PRIVILEGES=SELECT,XA;",
    "hash": b"CREATE SHARDING TABLE RULE t (STORAGE_UNITS(ds_0), SHARDING_COLUMNS=a,b, TYPE(NAME='hash_mod', PROPERTIES('sharding-count'='4')))",
    "boundary": b"CREATE SHARDING TABLE RULE t (SHARDING_COLUMN=a, TYPE(NAME='boundary_range', PROPERTIES('sharding-ranges'='-1, 5,10')))",
    "volume": b"CREATE SHARDING TABLE RULE t (SHARDING_COLUMN=a, TYPE(NAME='volume_range', PROPERTIES('range-lower'=1,'range-upper'=30,'sharding-volume'=10)))",
    "interval": b"CREATE SHARDING TABLE RULE t (SHARDING_COLUMN=a, TYPE(NAME='auto_interval', PROPERTIES('datetime-lower'='2024-02-28 00:00:00',"
                b"'datetime-upper'='2024-03-02 00:00:00','sharding-seconds'=86400)))",
    "standard": b"ALTER SHARDING TABLE RULE s.t (DATANODES('ds_${0..1}.t'), TABLE_STRATEGY(TYPE='complex', SHARDING_COLUMNS=a,b, "
                b"SHARDING_ALGORITHM(TYPE(NAME='x'))), KEY_GENERATE_STRATEGY(COLUMN=id, GENERATOR=g), AUDIT_STRATEGY(TYPE(NAME='y'), ALLOW_HINT_DISABLE=true))",
    "options": b"ALTER MIGRATION RULE (READ(WORKER_THREAD=20, RATE_LIMITER(TYPE(NAME='QPS',PROPERTIES('qps'='500')))))",
    "encrypt": b"CREATE ENCRYPT RULE t (COLUMNS((NAME=a, CIPHER=b, ENCRYPT_ALGORITHM(TYPE(NAME='AES')))))",
    "shadow": b"CREATE SHADOW RULE sh (SOURCE=ds, SHADOW=d, t (TYPE(NAME='SQL_HINT')))", "load": b"LOAD SINGLE TABLE ds_0.*.*, *.t",
    "readwrite": b"ALTER READWRITE_SPLITTING RULE rw ENABLE r0 FROM db", "show": b"show /* a /* b */ c */ sharding table nodes \"T\" from db",
    "unloaded": b"SHOW UNLOADED SINGLE TABLES FROM db STORAGE UNIT ds SCHEMA s", "preview": b"PREVIEW SELECT ';' -- x\n;", "kill": b"KILL QUERY '1'",
    "select": b"SELECT 1", "open": b"SHOW SESSIONS LIKE 'a",
}

for target, seeds in SEEDS.items():
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds.items():
        (folder / f"seed_{name}").write_bytes(data)

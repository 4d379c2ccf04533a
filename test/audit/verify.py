#!/usr/bin/env python3
"""Verifies exports of retrAI. Written from docs/verification.md alone, with nothing but Python's standard library, and
openssl for time stamps.

    verify.py FILE [--fingerprint HEX] [--witness KEY … [--quorum N]] [--json]
    verify.py --vectors vectors.json

Exit codes: 0 holds, 1 does not hold, 2 signed by another key than the one given, 3 could not be verified.
It does not know which kinds of records exist, and in which order they make sense, as retrai verify does.
"""

import argparse
import base64
import calendar
import datetime
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib

GENESIS = "0" * 64
# Text that is not JSON in UTF-8, or is nested too deeply.
NOT_READABLE = (ValueError, RecursionError)


class Bad(Exception):
    """Something does not hold; seq is the record that it is about, if it is about one."""

    def __init__(self, message, seq=None):
        super().__init__(message)
        self.seq = seq


def sha256(data):
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


# --- JSON and its canonical form, RFC 8785 ---


def no_name_twice(pairs):
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has a name twice")
    return value


def parse(text):
    """All numbers are IEEE 754 doubles, as in JavaScript."""
    return json.loads(
        text, object_pairs_hook=no_name_twice, parse_int=float, parse_constant=no_constant
    )


def no_constant(name):
    raise ValueError(f"{name} is not JSON")


def number(value):
    """ECMAScript's Number::toString, which RFC 8785 asks for."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = (whole + ("" if fraction == "0" else fraction)).rstrip("0")
    point -= len(digits) - len(digits.lstrip("0"))
    digits = digits.lstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    power = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return sign + digits[0] + ("." + digits[1:] if count > 1 else "") + power


def canonical(value):
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    # Names are sorted by their UTF-16 code units.
    names = sorted(value, key=lambda name: name.encode("utf-16-be"))
    return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in names) + "}"


def written(value):
    """What JavaScript's JSON.stringify writes: names in their order, of which those that are indices come first."""
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if not isinstance(value, dict):
        return canonical(value)
    indices = sorted((name for name in value if is_index(name)), key=int)
    names = [*indices, *(name for name in value if not is_index(name))]
    return "{" + ",".join(f"{canonical(name)}:{written(value[name])}" for name in names) + "}"


def is_index(name):
    return re.fullmatch(r"0|[1-9][0-9]{0,9}", name) is not None and int(name) < 2**32 - 1


# --- Shapes: what statements, records and entries look like ---


def matches(pattern):
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None


def from_least(least):
    return lambda value: isinstance(value, float) and value.is_integer() and least <= value < 2**53


def is_time(value):
    """A day that exists, in UTC and with milliseconds."""
    if not matches(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")(value):
        return False
    try:
        return datetime.datetime.fromisoformat(value[:-1]) is not None
    except ValueError:
        return False


OBJECT = "an object", lambda value: isinstance(value, dict)
TRUTH = "true or false", lambda value: isinstance(value, bool)
TEXT = "a text", lambda value: isinstance(value, str)
ANY_NUMBER = "a number", lambda value: isinstance(value, float)
NUMBER = "a number from 0", lambda value: isinstance(value, float) and value >= 0
FROM_0 = "a whole number from 0", from_least(0)
FROM_1 = "a whole number from 1", from_least(1)
SHA256 = "64 lower-case hex digits", matches(r"[0-9a-f]{64}")
SALT = "32 lower-case hex digits", matches(r"[0-9a-f]{32}")
SIGNATURE = "128 lower-case hex digits", matches(r"[0-9a-f]{128}")
POINTER = "a pointer", matches(r"(?s:/.*)")
TIME = "a time", is_time
TIME_OR_NULL = "a time or null", lambda value: value is None or is_time(value)
VERSION_AND_VARIANT = r"[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}"
UUID = "a UUID", matches(rf"[0-9a-fA-F]{{8}}-[0-9a-fA-F]{{4}}-{VERSION_AND_VARIANT}-[0-9a-fA-F]{{12}}")

# An object with these names, of which those that end with a question mark may be left out.
SEAL = {"type": TEXT, "key": SHA256, "signature": SIGNATURE}
KEY = {"fingerprint": SHA256, "public_key": TEXT, "created": TIME, "retired": TIME_OR_NULL}
PART = {"path": TEXT, "bytes": FROM_0, "sha256": SHA256}
WITHHELD = {"id": SHA256, "path": TEXT, "why": ("masked", lambda value: value == "masked")}
HEAD = {"run_id": TEXT, "length": FROM_1, "head": SHA256}
CHECKPOINT = {
    **SEAL,
    "log_id": UUID,
    "number": FROM_0,
    "runs": FROM_0,
    "root": SHA256,
    "previous": SHA256,
    "unsigned_entries?": {"access": FROM_0, "redactions": FROM_0, "tokens": FROM_0},
    "signed_at": TIME,
}
IN_LOG = {
    "note": TEXT,
    "index": FROM_0,
    "inclusion": [SHA256],
    "checkpoint": CHECKPOINT,
    "leaf": HEAD,
    "run_index": FROM_0,
    "run_path": [SHA256],
}
STATEMENTS = {
    "keys.json": {"keys": [KEY]},
    "log.json": IN_LOG,
    "stamps/log.json": IN_LOG,
    "proof.json": {
        **SEAL,
        "run_id": UUID,
        "length": FROM_1,
        "head": SHA256,
        "last_kind": TEXT,
        "policy_sha256?": SHA256,
        "signed_at": TIME,
    },
    "manifest.json": {
        **SEAL,
        "run_id": UUID,
        "records": FROM_1,
        "exported_at": TIME,
        "parts": [PART],
        "missing_artifacts": [SHA256],
        "files?": {"first_and_last": TRUTH, "withheld": [WITHHELD]},
        "unsigned_redactions?": FROM_0,
    },
}


def problem_of(value, shape, place=""):
    """How a value differs from a shape; None if it does not. A list has the shape of all its items."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{place or 'it'} is not a list"
        return first(problem_of(item, shape[0], f"{place}[{index}]") for index, item in enumerate(value))
    if isinstance(shape, dict):
        return problem_of_object(value, shape, place)
    words, holds = shape
    return None if holds(value) else f"{place or 'it'} is not {words}"


def problem_of_object(value, shape, place):
    if not isinstance(value, dict):
        return f"{place or 'it'} is not an object"
    below = f"{place}." if place else ""
    shapes = {name.rstrip("?"): of_name for name, of_name in shape.items()}
    unknown = first(name for name in value if name not in shapes)
    if unknown is not None:
        return f"{below}{unknown} does not belong there"
    missing = first(name for name in shape if not name.endswith("?") and name not in value)
    if missing is not None:
        return f"{below}{missing} is missing"
    return first(problem_of(item, shapes[name], f"{below}{name}") for name, item in value.items())


def first(values):
    return next((value for value in values if value is not None), None)


# --- Ed25519, RFC 8032 section 5.1, in the plainest way ---

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def add(a, b):
    """Points in extended coordinates."""
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g = 2 * a[3] * b[3] * D % P
    h = 2 * a[2] * b[2] % P
    left, right, up, down = f - e, h - g, h + g, f + e
    return left * right % P, up * down % P, right * up % P, left * down % P


def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar > 0:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def same(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def x_of(y, sign):
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    if square == 0:
        return None if sign else 0
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P != 0:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P != 0:
        return None
    return P - x if (x & 1) != sign else x


def point_of(data):
    y = int.from_bytes(data, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    x = x_of(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, -1, P) % P
BASE_X = x_of(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def has_signed(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    key, r = point_of(public), point_of(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if key is None or r is None or s >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    h = int.from_bytes(digest, "little") % ORDER
    return same(times(s, BASE), add(r, times(h, key)))


# --- Keys and signed statements ---

# The last digit of the key holds two bits of it.
PEM = re.compile(
    r"-----BEGIN PUBLIC KEY-----\n(MCowBQYDK2VwAyEA[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)\n-----END PUBLIC KEY-----\n"
)


def keys_of(published):
    """Public keys (32 bytes) by fingerprints, which are computed and never believed."""
    keys = {}
    for entry in published["keys"]:
        listed = f"keys.json: the key that is listed as {entry['fingerprint']}"
        pem = PEM.fullmatch(entry["public_key"])
        if pem is None:
            raise Bad(f"{listed} is not an Ed25519 key in PEM")
        der = base64.b64decode(pem[1], validate=True)
        if sha256(der) != entry["fingerprint"]:
            raise Bad(f"{listed} has the fingerprint {sha256(der)}")
        keys[entry["fingerprint"]] = der[12:]
    return keys


def check_seal(name, statement, kind, keys):
    unsigned = {key: value for key, value in statement.items() if key != "signature"}
    if unsigned["type"] != kind:
        raise Bad(f"{name}: it is not a {kind}")
    if unsigned["key"] not in keys:
        raise Bad(f"{name}: its key is not known")
    public = keys[unsigned["key"]]
    if not has_signed(public, canonical(unsigned).encode(), bytes.fromhex(statement["signature"])):
        raise Bad(f"{name}: its signature is not good")


# --- Merkle trees, RFC 6962 ---


def leaf_hash(head):
    return hashlib.sha256(b"\0" + canonical(head).encode()).digest()


def split(count):
    return 1 << ((count - 1).bit_length() - 1)


def root_of(leaves):
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = split(len(leaves))
    return hashlib.sha256(b"\1" + root_of(leaves[:middle]) + root_of(leaves[middle:])).digest()


def root_of_path(leaf, index, count, path):
    if count == 1:
        return leaf if index == 0 and not path else None
    if not path:
        return None
    middle = split(count)
    left = index < middle
    below = root_of_path(leaf, index if left else index - middle, middle if left else count - middle, path[:-1])
    if below is None:
        return None
    pair = below + path[-1] if left else path[-1] + below
    return hashlib.sha256(b"\1" + pair).digest()


# --- Notes about the log of checkpoints: C2SP signed-note, tlog-checkpoint and tlog-cosignature ---

SIGNED_BY_LOG, COSIGNED = b"\1", b"\4"
# Whom a reader trusts to have seen a run, and how many of them must have.
NO_WITNESSES = ((), 0)


def key_id(name, kind, public):
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:4]


def witness_key(line):
    """Name and public key (32 bytes) of a witness."""
    name, number, encoded = line.split("+", 2)
    typed = base64.b64decode(encoded, validate=True)
    if typed[:1] != COSIGNED or len(typed) != 33 or key_id(name, COSIGNED, typed[1:]).hex() != number:
        raise ValueError(f"{line} is not the key of a witness")
    return name, typed[1:]


def read_note(note):
    """The text of a note, and its signatures by names and ids of keys."""
    text, below, lines = note.rpartition("\n\n")
    signatures = {}
    for line in lines.removesuffix("\n").split("\n"):
        match = re.fullmatch(r"— (\S+) ([A-Za-z0-9+/]+={0,2})", line)
        if not below or not lines.endswith("\n") or match is None:
            raise Bad("log.json: it holds no signed note")
        data = base64.b64decode(match[2], validate=True)
        signatures.setdefault((match[1], data[:4]), []).append(data[4:])
    return text + "\n", signatures


def signed_note(text, signatures, name, public):
    found = signatures.get((name, key_id(name, SIGNED_BY_LOG, public)), [])
    return found != [] and all(has_signed(public, text.encode(), signature) for signature in found)


def cosigned(text, signatures, name, public):
    found = signatures.get((name, key_id(name, COSIGNED, public)), [])
    return found != [] and all(
        has_signed(public, f"cosignature/v1\ntime {int.from_bytes(one[:8], 'big')}\n{text}".encode(), one[8:])
        for one in found
    )


def check_log(log, run_id, head_at, keys, witnesses, place="log.json"):
    """From the run to its checkpoint, from that to the tree of the note, and who has signed that."""

    def need(condition, message):
        if not condition:
            raise Bad(f"{place}: {message}")

    text, signatures = read_note(log["note"])
    origin, size, root, *_ = text.split("\n")
    checkpoint, leaf = log["checkpoint"], log["leaf"]
    need(re.fullmatch(r"0|[1-9][0-9]*", size), "the size of the tree is not a number")
    need(origin.startswith(f"retrai/{checkpoint['log_id']}/"), "the note is of another log")
    need(any(signed_note(text, signatures, origin, key) for key in keys.values()), "nobody has signed the note")
    path = [bytes.fromhex(step) for step in log["inclusion"]]
    found = root_of_path(leaf_hash(checkpoint), int(log["index"]), int(size), path)
    need(found == base64.b64decode(root), "the checkpoint is not in the tree")
    check_seal(place, checkpoint, "retrai.checkpoint.v1", keys)
    path = [bytes.fromhex(step) for step in log["run_path"]]
    found = root_of_path(leaf_hash(leaf), int(log["run_index"]), int(checkpoint["runs"]), path)
    need(found is not None and found.hex() == checkpoint["root"], "the run is not in the checkpoint")
    need(leaf["run_id"] == run_id, "it is about another run")
    need(head_at(int(leaf["length"])) == leaf["head"], "the checkpoint has other records of the run")
    trusted, quorum = witnesses
    missing = [name for name, public in trusted if not cosigned(text, signatures, name, public)]
    need(len(trusted) - len(missing) >= quorum, f"{' and '.join(missing)} did not sign the note")


def check_stamp(text, token, authority):
    """What is stamped, for people. openssl checks the signature, the certificates, and that their key is for time stamps."""
    if hashlib.sha256(text).digest() not in token:
        raise Bad("stamps/token.der: it is about another text")
    if shutil.which("openssl") is None:
        return "stamped, which only openssl can verify, and it is not here"
    with tempfile.TemporaryDirectory() as folder:

        def file(name, content):
            path = os.path.join(folder, name)
            with open(path, "wb") as opened:
                opened.write(content)
            return path

        note, stamp, trusted = file("note", text), file("token", token), file("authority", authority)

        def openssl(*options):
            return subprocess.run(["openssl", "ts", *options, "-in", stamp, "-token_in"], capture_output=True, text=True)

        shown = re.search(r"^Time stamp: (\w+ +\d+ [\d:]+)(?:\.\d+)? (\d+) GMT$", openssl("-reply", "-text").stdout, re.M)
        if shown is None:
            raise Bad("stamps/token.der: it is not a time stamp")
        moment = calendar.timegm(time.strptime(f"{shown[1]} {shown[2]}", "%b %d %H:%M:%S %Y"))
        trust = ["-CAfile", trusted, "-partial_chain", "-attime", str(moment)]
        if "Verification: OK" not in openssl("-verify", "-data", note, *trust).stdout:
            raise Bad("stamps/token.der: it does not hold by the certificates in the export")
    return f"stamped at {shown[1]} {shown[2]} GMT, by an authority that nobody compared with one that you trust"


# --- Records ---


def map_strings(value, replace, pointer=""):
    """A copy in which every string value is replaced; replace gets its pointer."""
    if isinstance(value, str):
        return replace(value, pointer)
    if isinstance(value, list):
        return [map_strings(item, replace, f"{pointer}/{index}") for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {
            name: map_strings(item, replace, pointer + "/" + name.replace("~", "~0").replace("/", "~1"))
            for name, item in value.items()
        }
    return value


def committed(payload, salt):
    return map_strings(payload, lambda text, pointer: sha256(sha256(pointer + salt) + text))


def committed_remainder(payload, salts, redacted):
    """The same for a record from which strings were redacted."""
    met = set()

    def commitment(text, pointer):
        met.add(pointer)
        if pointer in redacted:
            if text != "[redacted]":
                raise ValueError(f"{pointer} was redacted, and there is a text in its place")
            return redacted[pointer]
        if pointer not in salts:
            raise ValueError(f"{pointer} has no salt")
        return sha256(salts[pointer] + text)

    result = map_strings(payload, commitment)
    if met != set(salts) | set(redacted) or set(salts) & set(redacted):
        raise ValueError("the metadata names strings that the record does not have")
    return result


def commitments(payload, metadata):
    if "redacted" in metadata:
        return committed_remainder(payload, metadata["salts"], metadata["redacted"])
    return committed(payload, metadata["salt"])


def hashed_form(seq, data, metadata):
    meta = {name: value for name, value in metadata.items() if name not in NOT_HASHED}
    payload = commitments(data["payload"], metadata)
    return canonical({**data, **meta, "payload": payload, "seq": float(seq)})


def id_of(digest):
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


NOT_HASHED = {"salt", "salts", "redacted", "hash", "seal"}


def by_pointer(value):
    return isinstance(value, dict) and all(POINTER[1](name) and SHA256[1](value[name]) for name in value)


BY_POINTER = "SHA-256 by pointers", by_pointer
RECORD = {"kind": TEXT, "run_id": UUID, "iteration": FROM_0, "ts": NUMBER, "payload": OBJECT}
ORIGIN = {"hash": SHA256, "ts": NUMBER, "principal?": TEXT}
ENTRY = {
    "kind": TEXT,
    "ts": NUMBER,
    "payload": {
        "run_id": UUID,
        "seq": FROM_0,
        "redacted": BY_POINTER,
        "artifact?": SHA256,
        "objects?": [SHA256],
        "replaced_by?": SHA256,
        "absent?": ("true", lambda value: value is True),
        "reason": TEXT,
        "origin?": ORIGIN,
    },
}
META = {"schema": FROM_0, "command_id": TEXT, "principal?": TEXT, "prev_hash": SHA256, "hash": SHA256}
WHOLE = {**META, "salt": SALT}
REDACTED = {**META, "salts": BY_POINTER, "redacted": BY_POINTER}
# Of an entry of a ledger. Entries of earlier versions are not signed.
ENTRY_META = {**WHOLE, "seal?": {"first": FROM_0, "key": SHA256, "signature": SIGNATURE}}
OF_LINE = {"seq": FROM_0, "id": TEXT, "type": TEXT, "created": ANY_NUMBER}
LINE = [*OF_LINE, "data", "metadata"]


def check_line(raw, shape, seq, need, has_checksum):
    """A line with a record or an entry whose hash is right."""
    need(raw.endswith(b"\n"), "the line is cut off")
    text = raw[:-1].decode()
    if has_checksum:
        prefix = re.match(r'\{"crc32":"([0-9a-f]{8})",', text)
        need(prefix, "the line does not begin with its checksum")
        need(f"{zlib.crc32(raw[20:-1]):08x}" == prefix[1], "the checksum of the line is wrong")
    line = parse(text)
    need(written(line) == text, "the line is not the JSON that is written for what it holds")
    names = (["crc32"] if has_checksum else []) + LINE
    need(isinstance(line, dict) and list(line) == names, "the line has other names than it should")
    data, meta = line["data"], line["metadata"]
    is_redacted = isinstance(meta, dict) and "redacted" in meta
    of_meta = ENTRY_META if shape is ENTRY else REDACTED if is_redacted else WHOLE
    of_line = {"crc32?": TEXT, **OF_LINE, "data": shape, "metadata": of_meta}
    problem = problem_of(line, of_line)
    need(problem is None, problem)
    need(seq is None or line["seq"] == seq, f"record {line['seq']:.0f} is in its place")
    need(meta["schema"] <= 1, "it has a later schema than this verifier knows")
    digest = sha256(hashed_form(line["seq"], data, meta))
    need(digest == meta["hash"], "its contents do not have the hash in its metadata")
    need(line["id"] == id_of(digest), "its id is not made from its hash")
    need(line["type"] == data["kind"], "it is stored as another kind than it names")
    return line


def check_record(raw, seq, run_id, before, has_checksum):
    """Returns the record, if it is valid and in its place."""

    def need(condition, message):
        if not condition:
            raise Bad(message, seq)

    try:
        line = check_line(raw, RECORD, seq, need, has_checksum)
    except NOT_READABLE as error:
        raise Bad(f"the line is not a record: {error}", seq) from error
    need(line["data"]["run_id"] == run_id, "it belongs to another run")
    need(line["metadata"]["prev_hash"] == before, "its prev_hash is not the hash of the record before it")
    return line


def check_entry_seal(entry, keys):
    """An entry of the ledger of redactions is signed by itself, or is of an earlier version."""
    seal, meta = entry["metadata"].get("seal"), entry["metadata"]
    if seal is None:
        return
    if seal["first"] != entry["seq"]:
        raise Bad("redactions.ndjson: a signature covers other entries than its own")
    statement = {"ledger": "redactions", "first": seal["first"], "head": meta["hash"], "key": seal["key"]}
    signed = {"type": "retrai.ledger-entries.v1", **statement, "signature": seal["signature"]}
    check_seal("redactions.ndjson", signed, "retrai.ledger-entries.v1", keys)


class Redactions:
    """Reads redactions.ndjson: entries of a ledger, by which strings were redacted from records."""

    def __init__(self):
        self.entries, self.bad = [], None

    def read(self, lines, has_checksums, keys):
        before = None
        for raw in lines:
            if self.bad is not None:
                continue
            try:
                before = self.check(raw, before, has_checksums)
                check_entry_seal(before, keys)
                self.entries.append(before)
            except Bad as bad:
                self.bad = bad
            except NOT_READABLE as error:
                self.bad = Bad(f"redactions.ndjson: a line is not an entry: {error}")

    def check(self, raw, before, has_checksum):
        def need(condition, message):
            if not condition:
                raise Bad(f"redactions.ndjson: {message}")

        line = check_line(raw, ENTRY, None, need, has_checksum)
        payload = line["data"]["payload"]
        need(line["data"]["kind"] == "redacted", "an entry is of another kind")
        need(before is None or line["seq"] > before["seq"], "entries are out of order")
        if before is not None and line["seq"] == before["seq"] + 1:
            need(line["metadata"]["prev_hash"] == before["metadata"]["hash"], "entries are not linked")
        return line

    def recorded(self, run_id):
        """Commitments of the recorded redactions of a run, by seq and pointer."""
        places = {}
        for payload in (entry["data"]["payload"] for entry in self.entries):
            if payload["run_id"] == run_id:
                for pointer, commitment in payload["redacted"].items():
                    places.setdefault((int(payload["seq"]), pointer), set()).add(commitment)
        return places

    def last_unsigned(self):
        return max((entry["seq"] for entry in self.entries if "seal" not in entry["metadata"]), default=-1)

    def signed_by(self):
        return {entry["metadata"]["seal"]["key"] for entry in self.entries if "seal" in entry["metadata"]}

    def all_of(self, name):
        """A list with what all entries have under a name."""
        return [payload[name] for payload in (entry["data"]["payload"] for entry in self.entries) if name in payload]

    def deleted(self):
        """Artifacts that were deleted with outputs, of any run."""
        return set(self.all_of("artifact"))

    def absent(self):
        """Runs that an import did not bring with all their packs."""
        payloads = [entry["data"]["payload"] for entry in self.entries]
        return {payload["run_id"] for payload in payloads if "absent" in payload}


# What is read of a snapshot.
SNAPSHOT = {"tree": SHA256, "packs": [{"sha256": SHA256, "bytes": FROM_0}]}

# Roles in which a check always differs from the commands of its run.
OF_ONE_CALL = re.compile("report|(empty )?(home|tmp)|(copy of the )?home of the first check")


# What people may still do with the files of a run that has ended.
AFTER_THE_END = ("changes_applied", "files_rolled_back", "copy_discarded")


class Records:
    """Reads records, in one part or several; bad is what is wrong with the first bad record."""

    def __init__(self):
        self.count, self.head, self.last_kind = 0, GENESIS, None
        self.has_ended = False
        self.hashes = []
        self.artifacts, self.redacted, self.bad = {}, {}, None
        # The check that the agent does not see. An export holds it once the run has ended.
        self.hidden = None
        # What the last record says of the goal.
        self.verdict = None
        self.isolation, self.isolated_otherwise = None, 0
        self.packs, self.trees, self.unkept_from = {}, [], math.inf

    def read(self, lines, run_id, has_checksums):
        for raw in lines:
            if self.bad is not None:
                continue
            try:
                line = check_record(raw, self.count, run_id, self.head, has_checksums)
                if self.has_ended and line["data"]["kind"] not in AFTER_THE_END:
                    raise Bad("it comes after run_end", self.count)
                self.note(line["data"]["kind"], line["data"]["payload"])
            except Bad as bad:
                self.bad = bad
                continue
            for pointer, commitment in line["metadata"].get("redacted", {}).items():
                self.redacted[self.count, pointer] = commitment
            self.head, self.last_kind = line["metadata"]["hash"], line["data"]["kind"]
            self.hashes.append(self.head)
            self.count += 1

    def head_at(self, length):
        return self.hashes[length - 1] if length <= self.count else None

    def note(self, kind, payload):
        """Keeps what the rest of the archive is compared with."""
        if (self.count == 0) != (kind == "run_created"):
            raise Bad("a run begins with run_created, and has one", self.count)
        isolation = payload.get("isolation")
        if isolation is not None and problem_of(isolation, OBJECT):
            raise Bad("its isolation is not an object", self.count)
        if kind == "run_created":
            self.isolation = isolation
            self.hidden = (payload["config"].get("accept") or {}).get("sha256")
        elif kind in ("tool_result", "goal_check") and isolation is not None:
            self.isolated_otherwise += not self.is_as_check(kind, isolation)
        if kind == "snapshot":
            if problem := problem_of({name: payload.get(name) for name in SNAPSHOT}, SNAPSHOT):
                raise Bad(problem, self.count)
            self.trees.append((self.count, payload["tree"]))
            for pack in payload["packs"]:
                self.packs.setdefault(pack["sha256"], self.count)
            if "unkept" in payload:
                self.unkept_from = min(self.unkept_from, self.count)
        for name in self.named(kind, payload):
            if problem := problem_of(name, SHA256, "its sha256"):
                raise Bad(problem, self.count)
            self.artifacts.setdefault(name, self.count)
        if kind == "run_end":
            self.verdict, self.has_ended = payload.get("verdict"), True
        if kind == "run_end" and self.hidden is not None:
            self.artifacts[self.hidden] = 0

    @staticmethod
    def named(kind, payload):
        """The whole outputs and lists that a record names by their hash."""
        lists = {
            "tool_result": [payload],
            "goal_check": [{"sha256": payload.get("named_tests")}],
            "snapshot": [payload.get("left_out"), payload.get("protected")],
            "left_out_hashed": [payload.get("entries")],
        }
        found = [one.get("sha256") for one in lists.get(kind, []) if isinstance(one, dict)]
        return [name for name in found if name is not None]

    def is_as_check(self, kind, differing):
        """Whether it is a check that differs only by its report and its home, as all checks do."""
        run = self.isolation or {}

        def same(name):
            def shared(roles):
                return [role for role in roles if not OF_ONE_CALL.fullmatch(role)]

            return name not in differing or shared(differing[name]) == shared(run.get(name, []))

        names = set(differing) <= {"visible", "writable", "policy_sha256"}
        return kind == "goal_check" and names and same("visible") and same("writable")

    def against(self, proof):
        if self.bad is not None or proof is None:
            return [self.bad] if self.bad else []
        length = int(proof["length"])
        if self.count < length:
            return [Bad(f"it is missing: {length} records were signed", self.count)]
        if self.count > length:
            return [Bad(f"only {length} records were signed", length)]
        if self.head != proof["head"]:
            return [Bad("it or some before it were rewritten: its hash is not the signed one", length - 1)]
        if self.last_kind != proof["last_kind"]:
            return [Bad("it is of another kind than was signed", length - 1)]
        if "policy_sha256" in proof and proof["policy_sha256"] != (self.isolation or {}).get("policy_sha256"):
            return [Bad("it has another policy of isolation than was signed", 0)]
        return []


# --- Objects of git, in the SHA-256 object format ---


def object_id(kind, content):
    return sha256(f"{kind} {len(content)}\0".encode() + content)


EMPTY_TREE = object_id("tree", b"")


def objects_of(pack):
    """The kind and content of each object in a pack that has every object whole."""
    body, count = pack[:-32], int.from_bytes(pack[8:12], "big")
    if pack[:8] != b"PACK\0\0\0\2" or hashlib.sha256(body).digest() != pack[-32:]:
        raise ValueError("it is no pack of git")
    at = 12
    for _ in range(count):
        kind = {2: "tree", 3: "blob"}.get(body[at] >> 4 & 7)
        size, shift = body[at] & 15, 4
        while body[at] & 128:
            at += 1
            size, shift = size | (body[at] & 127) << shift, shift + 7
        member = zlib.decompressobj()
        content = member.decompress(body[at + 1 :])
        if kind is None or not member.eof or len(content) != size:
            raise ValueError("an object in it cannot be read")
        at = len(body) - len(member.unused_data)
        yield kind, content
    if at != len(body):
        raise ValueError("it does not end after its last object")


def entries_of(tree):
    """Mode and id by name."""
    entries, at = {}, 0
    while at < len(tree):
        mode, name = tree[at : tree.index(b"\0", at)].split(b" ", 1)
        at += len(mode) + len(name) + 2
        entries[name] = mode.decode(), tree[at : at + 32].hex()
        at += 32
    return entries


class Files:
    """Objects by their ids, which are computed from them."""

    def __init__(self):
        self.trees, self.contents = {EMPTY_TREE: {}}, set()

    def take(self, pack):
        for kind, content in objects_of(pack):
            if kind == "tree":
                self.trees[object_id(kind, content)] = entries_of(content)
            else:
                self.contents.add(object_id(kind, content))

    def reached(self, snapshots):
        """All trees that snapshots have, each with the first record that does, and a path."""
        found = {}
        for seq, tree in snapshots:
            below = [(tree, b"")]
            while below:
                tree, path = below.pop()
                if tree not in found:
                    found[tree] = seq, path
                    entries = self.trees.get(tree, {}).items()
                    below += [(id, path + b"/" + name) for name, (mode, id) in entries if mode == "40000"]
        return found

    def differing(self, before, after, seen):
        """The contents of files that differ between two trees; an unknown tree has none."""
        pairs = [(before, after)]
        while pairs:
            pair = pairs.pop()
            if pair in seen or pair[0] == pair[1]:
                continue
            seen.add(pair)
            old, new = (self.trees.get(tree) for tree in pair)
            if old is None or new is None:
                continue
            for name in {**old, **new}:
                both = [entries.get(name, ("", None)) for entries in (old, new)]
                pairs.append(tuple(id if mode == "40000" else EMPTY_TREE for mode, id in both))
                files = [id for mode, id in both if mode not in ("", "40000")]
                if len(files) == 1 or len(set(files)) == 2:
                    yield from files


# --- The archive ---

FIXED = ["README.txt", "keys.json", "proof.json"]
# Only if a checkpoint covers the run.
LOG = "log.json"
# Only if the time of a checkpoint was stamped: where the run is in the tree then, the token, and the certificates.
STAMPED, TOKEN, AUTHORITY = "stamps/log.json", "stamps/token.der", "stamps/authority.pem"
MANIFEST = "manifest.json"
# Only if something was redacted from the run.
REDACTIONS = "redactions.ndjson"
# Version 1 of exports has one part with all records.
RECORDS_1 = "records.ndjson"
RECORDS_2 = re.compile(r"records/(\d{10})\.ndjson\Z")
PACK = re.compile(r"objects/([0-9a-f]{64})\.pack\Z")


BLOCK = 512
# The system on which zlib wrote it: Unix, Windows or macOS.
SYSTEMS = {3, 10, 19}


class Archive:
    """Reads a .tar.gz that is exactly one gzip member of exactly the bytes that an export has."""

    def __init__(self, file):
        self.file, self.held, self.left = file, b"", 0
        self.member = zlib.decompressobj(wbits=-15)
        self.checksum, self.length = 0, 0
        start = file.read(10)
        if start[:9] != bytes.fromhex("1f8b08000000000000") or start[9:] not in map(bytes, zip(SYSTEMS)):
            raise Bad("the archive does not begin as the gzip file of an export does")

    def more(self):
        """Returns whether there is more. If not, what follows the end is checked."""
        while not self.held and not self.member.eof:
            # The output of the piece with the damage is lost, so pieces are small.
            data = self.file.read(1 << 10)
            if not data:
                raise Bad("the archive ends early")
            self.held = self.member.decompress(data)
            self.checksum, self.length = zlib.crc32(self.held, self.checksum), self.length + len(self.held)
        if not self.held:
            rest = self.member.unused_data + self.file.read(9)
            if len(rest) > 8:
                raise Bad("bytes come after the end of the archive")
            if rest != self.checksum.to_bytes(4, "little") + (self.length % 2**32).to_bytes(4, "little"):
                raise Bad("the checksum or length at the end of the archive is missing or wrong")
        return bool(self.held)

    def some(self, most):
        if not self.more():
            raise Bad("the archive ends early")
        data, self.held = self.held[:most], self.held[most:]
        return data

    def exactly(self, count):
        data = b""
        while len(data) < count:
            data += self.some(count - len(data))
        return data

    def parts(self):
        """Each path with its time and the pieces of its contents, which are to be read before the next."""
        while (block := self.exactly(BLOCK)) != bytes(BLOCK):
            path, size, mtime = header_of(block)
            self.left = size
            yield path, mtime, self.pieces()
            if any(self.exactly(-size % BLOCK)):
                raise Bad(f"something comes between {path} and the next part")
        if any(self.exactly(BLOCK)) or self.more():
            raise Bad("something comes after the last part of the archive")

    def pieces(self):
        while self.left > 0:
            data = self.some(self.left)
            self.left -= len(data)
            yield data


def header_of(block):
    """Path, size and time of a header that is exactly the one of a part of an export."""
    try:
        path = block[:100].rstrip(b"\0").decode("ascii")
        size, mtime = int(block[124:135], 8), int(block[136:147], 8)
    except ValueError as error:
        raise Bad("a header in the archive cannot be read") from error
    header = path.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2
    header += b"%011o\0%011o\0" % (size, mtime) + b" " * 8 + b"0" + bytes(100) + b"ustar\0" + b"00"
    header = header.ljust(BLOCK, b"\0")
    header = header[:148] + b"%06o\0 " % sum(header) + header[156:]
    if header != block:
        raise Bad(f"the header of {path} is not the one of a part of an export")
    return path, size, mtime


class Hashed:
    """A part by its lines, hashed as it is read."""

    def __init__(self, pieces):
        self.pieces, self.digest, self.size = pieces, hashlib.sha256(), 0

    def __iter__(self):
        rest = []
        for piece in self.pieces:
            self.digest.update(piece)
            self.size += len(piece)
            first, *others = piece.split(b"\n")
            rest.append(first)
            for other in others:
                yield b"".join(rest) + b"\n"
                rest = [other]
        if any(rest):
            yield b"".join(rest)

    def all(self):
        return b"".join(self)


class Bundle:
    def __init__(self):
        self.findings, self.seen, self.json, self.records, self.version = [], {}, {}, None, None
        self.redactions, self.times, self.files = Redactions(), set(), Files()
        self.raw, self.stamped = {}, None

    def read(self, path):
        try:
            with open(path, "rb") as file:
                for name, mtime, pieces in Archive(file).parts():
                    self.times.add(mtime)
                    self.take(name, Hashed(pieces))
        except FileNotFoundError:
            raise
        except (OSError, zlib.error) as error:
            self.findings.append(Bad(f"the archive is damaged: {error}"))
        except Bad as bad:
            self.findings.append(bad)

    def take(self, name, part):
        if name in self.seen:
            raise Bad(f"{name} is there twice")
        if self.version is None:
            self.version = 1 if name == MANIFEST else 2
        numbered = RECORDS_2.match(name)
        run_id = (self.json.get("proof.json") or self.json.get(MANIFEST) or {}).get("run_id")
        if (name == RECORDS_1 or numbered) and run_id is not None:
            self.records = self.records or Records()
            if numbered and self.records.bad is None and int(numbered[1]) != self.records.count:
                self.findings.append(Bad(f"{name}: record {self.records.count} comes next"))
            self.records.read(part, run_id, name == RECORDS_1)
        elif name == REDACTIONS:
            self.redactions.read(part, self.version == 1, self.keys())
        elif PACK.match(name):
            self.take_objects(name, part.all())
        elif name in (TOKEN, AUTHORITY):
            self.raw[name] = part.all()
        elif name in STATEMENTS:
            self.json[name] = self.statement(name, part.all())
        else:
            for _ in part:
                pass
        self.seen[name] = (part.size, part.digest.hexdigest())

    def take_objects(self, name, pack):
        try:
            self.files.take(pack)
        except (ValueError, IndexError, zlib.error) as error:
            self.findings.append(Bad(f"{name}: {error}"))

    def keys(self):
        """Those of keys.json; none if it does not hold, which check() reports."""
        try:
            return keys_of(self.json.get("keys.json") or {"keys": []})
        except Bad:
            return {}

    def statement(self, name, content):
        """Its value; None if it is not such a statement."""
        try:
            value = parse(content.decode())
            problem = problem_of(value, STATEMENTS[name])
            if problem is None and (canonical(value) + "\n").encode() != content:
                problem = "it is not written in canonical form"
        except NOT_READABLE:
            problem = "it is not JSON"
        if problem is None:
            return value
        self.findings.append(Bad(f"{name}: {problem}"))
        return None

    def check(self, witnesses=NO_WITNESSES):
        manifest, proof, published = map(self.json.get, (MANIFEST, "proof.json", "keys.json"))
        for name in STATEMENTS:
            if name not in self.seen and name not in (LOG, STAMPED):
                self.findings.append(Bad(f"{name}: it is not in the archive"))
        try:
            keys = {} if published is None else keys_of(published)
            for name, statement, kind in (
                (MANIFEST, manifest, f"retrai.export.v{self.version}"),
                ("proof.json", proof, "retrai.run-proof.v1"),
            ):
                if statement is not None:
                    check_seal(name, statement, kind, keys)
        except Bad as bad:
            self.findings.append(bad)
        if manifest is not None:
            self.check_parts(manifest)
        if manifest is not None and proof is not None:
            if (manifest["run_id"], manifest["records"]) != (proof["run_id"], proof["length"]):
                self.findings.append(Bad("proof.json and manifest.json are about different runs"))
        if not any(name == RECORDS_1 or RECORDS_2.match(name) for name in self.seen):
            self.findings.append(Bad("there are no records", 0))
        if self.records is not None:
            self.findings += self.records.against(proof)
            self.check_artifacts()
            self.check_log(proof, witnesses)
            if manifest is not None and self.records.bad is None:
                self.check_files(manifest)
        self.check_redactions((proof or {}).get("run_id"))

    def check_log(self, proof, witnesses):
        log = self.json.get(LOG)
        if log is None and witnesses[0]:
            self.findings.append(Bad("log.json is missing, so no witness has seen the run"))
        if log is None or proof is None or self.records.bad is not None:
            return
        try:
            check_log(log, proof["run_id"], self.records.head_at, self.keys(), witnesses)
            stamped = self.json.get(STAMPED)
            if stamped is not None and len(self.raw) == 2:
                check_log(stamped, proof["run_id"], self.records.head_at, self.keys(), NO_WITNESSES, STAMPED)
                self.stamped = check_stamp(read_note(stamped["note"])[0].encode(), self.raw[TOKEN], self.raw[AUTHORITY])
        except (Bad, ValueError) as bad:
            self.findings.append(Bad(str(bad)))

    def check_parts(self, manifest):
        listed = {part["path"]: (int(part["bytes"]), part["sha256"]) for part in manifest["parts"]}
        redactions = [path for path in listed if path == REDACTIONS]
        artifacts = [path for path in listed if path.startswith("artifacts/")]
        packs = [path for path in listed if PACK.match(path)]
        if self.version == 1:
            wanted = [*FIXED, *redactions, RECORDS_1, *artifacts, *packs]
            order = [MANIFEST, *listed]
        else:
            log = [path for path in listed if path == LOG]
            stamp = [STAMPED, TOKEN, AUTHORITY] if {STAMPED, TOKEN, AUTHORITY} & listed.keys() else []
            wanted = [*FIXED, *log, *stamp, *filter(RECORDS_2.match, listed), *redactions, *artifacts, *packs]
            order = [*listed, MANIFEST]
        if list(self.seen) != order:
            self.findings.append(Bad("the archive does not hold the parts of its manifest, in their order"))
        if list(listed) != wanted or len(listed) != len(manifest["parts"]):
            self.findings.append(Bad("manifest.json lists other parts than an export has, or one twice"))
        exported_at = datetime.datetime.fromisoformat(manifest["exported_at"][:-1] + "+00:00")
        if self.times != {int(exported_at.timestamp())}:
            self.findings.append(Bad("the parts were not packed when the manifest says"))
        for name, found in self.seen.items():
            if name in listed and listed[name] != found:
                self.findings.append(Bad(f"{name}: its size or SHA-256 is not that of the manifest"))

    def check_artifacts(self):
        for name, seq in self.records.artifacts.items():
            if f"artifacts/{name}" not in self.seen and name in self.redactions.deleted():
                continue
            if self.seen.get(f"artifacts/{name}", (0, None))[1] != name:
                self.findings.append(Bad(f"its artifact {name} is missing or changed", seq))
        for path in self.seen:
            if path.startswith("artifacts/") and path[10:] not in self.records.artifacts:
                if self.records.bad is None:
                    self.findings.append(Bad(f"{path}: no record names it"))

    def check_files(self, manifest):
        """Each tree is there, and each content that differs between snapshots, or it is known why not."""
        stated = manifest.get("files", {"first_and_last": False, "withheld": []})
        known = {one["id"] for one in stated["withheld"]}.union(*self.redactions.all_of("objects"))
        records, seen = self.records, set()
        packs = {*records.packs, *self.redactions.all_of("replaced_by")}
        lost = packs & set(manifest["missing_artifacts"])
        for name in sorted(lost & set(records.packs)):
            self.findings.append(Bad(f"its pack {name} was lost", records.packs[name]))
        for name in filter(PACK.match, self.seen):
            if PACK.match(name)[1] not in packs:
                self.findings.append(Bad(f"{name}: nothing names this pack"))
        is_explained = lost or manifest["run_id"] in self.redactions.absent()
        trees, contents = self.files.reached(records.trees), {}
        pairs = list(zip([tree for _, tree in records.trees], records.trees[1:]))
        if stated["first_and_last"]:
            pairs += [(EMPTY_TREE, snapshot) for snapshot in (*records.trees[:1], *records.trees[-1:])]
        for before, (seq, after) in pairs:
            for id in self.files.differing(before, after, seen):
                contents.setdefault(id, (seq, b"a file"))
        for id, (seq, path) in [*trees.items(), *contents.items()]:
            if id in self.files.trees or id in self.files.contents or id in known:
                continue
            if not is_explained and seq < records.unkept_from:
                self.findings.append(Bad(f"the object {id} of {path.decode(errors='replace')} is missing", seq))
        for id in {*self.files.trees, *self.files.contents} - {EMPTY_TREE, *trees, *contents}:
            self.findings.append(Bad(f"the object {id} does not belong to the run"))

    def check_redactions(self, run_id):
        if self.redactions.bad is not None:
            self.findings.append(self.redactions.bad)
        last, manifest = self.redactions.last_unsigned(), self.json.get(MANIFEST) or {}
        if last >= manifest.get("unsigned_redactions", math.inf):
            self.findings.append(Bad(f"redactions.ndjson: entry {last:.0f} is not signed: it is forged"))
        records, recorded = self.records or Records(), self.redactions.recorded(run_id)
        for (seq, pointer), commitments in recorded.items():
            if seq < records.count and commitments != {records.redacted.get((seq, pointer))}:
                self.findings.append(Bad(f"a redaction of {pointer} is recorded, and was not carried out", seq))
        for (seq, pointer), commitment in records.redacted.items():
            if commitment not in recorded.get((seq, pointer), ()):
                self.findings.append(Bad(f"{pointer} was redacted, and that is not recorded", seq))

    def signed_by(self):
        sealed = {(self.json.get(name) or {}).get("key") for name in (MANIFEST, "proof.json")}
        return sealed | self.redactions.signed_by()


def isolation_of(records, proof):
    policy = records.isolation
    if policy is None:
        return "  it does not say how its commands were isolated"
    otherwise = f"; {records.isolated_otherwise} results differ" if records.isolated_otherwise else ""
    named = ", which the signature names" if "policy_sha256" in proof else ""
    what = f"level {policy['level']}, network {policy['network']}, policy {policy['policy_sha256']}"
    return f"  isolation: {what}{named}{otherwise}"


def verify(path, fingerprints, as_json, witnesses=NO_WITNESSES):
    bundle = Bundle()
    bundle.read(path)
    bundle.check(witnesses)
    seqs = [bad.seq for bad in bundle.findings if bad.seq is not None]
    first = min(seqs) if seqs else None
    holds = not bundle.findings
    if as_json:
        print(json.dumps({"holds": holds, "first_bad_seq": first, "findings": list(map(str, bundle.findings))}))
    elif holds:
        print(f"holds: {bundle.records.count} records, signed by {', '.join(sorted(bundle.signed_by()))}")
        print(isolation_of(bundle.records, bundle.json["proof.json"]))
        if bundle.stamped is not None:
            print(f"  {bundle.stamped}")
        if bundle.records.verdict is not None:
            print(f"  verdict: {json.dumps(bundle.records.verdict)}")
        for (seq, pointer), _ in sorted(bundle.records.redacted.items()):
            print(f"  redacted, as recorded: record {seq}, {pointer}")
    else:
        print("DOES NOT HOLD" + ("" if first is None else f", the first bad record is seq {first}"))
        for bad in bundle.findings:
            print(f"  {'' if bad.seq is None else f'seq {bad.seq}: '}{bad}")
    if not holds:
        return 1
    return 2 if fingerprints and not bundle.signed_by() <= set(fingerprints) else 0


# --- Test vectors ---


def check_vectors(path):
    with open(path, encoding="utf-8") as file:
        vectors = parse(file.read())
    for entry in vectors["numbers"]:
        assert canonical([entry["number"]]) == entry["canonical"], entry
    commitment = vectors["commitment"]
    assert committed(commitment["payload"], commitment["salt"]) == commitment["committed"]
    for entry in vectors["records"]:
        form = hashed_form(entry["seq"], entry["data"], entry["metadata"])
        assert form == entry["canonical"], entry["seq"]
        assert sha256(form) == entry["hash"] and id_of(entry["hash"]) == entry["id"], entry["seq"]
    for entry in vectors["redacted_records"]:
        form = hashed_form(entry["seq"], entry["data"], entry["metadata"])
        assert form == entry["canonical"] and sha256(form) == entry["hash"], entry["seq"]
    for entry in vectors["redactions"]:
        form = hashed_form(entry["seq"], entry["data"], entry["metadata"])
        assert form == entry["canonical"] and sha256(form) == entry["hash"], entry["seq"]
    keys = keys_of(vectors["keys"])
    seal = vectors["seal"]
    assert canonical(seal["statement"]) == seal["canonical"]
    public, signature = keys[seal["statement"]["key"]], bytes.fromhex(seal["signature"])
    assert has_signed(public, seal["canonical"].encode(), signature)
    assert not has_signed(public, seal["canonical"].encode() + b" ", signature)
    check_entry_seal(vectors["sealed_entry"], keys)
    check_merkle(vectors["merkle"], keys)
    print(f"{len(vectors['records'])} records and all other vectors fit")
    return 0


def check_merkle(merkle, keys):
    leaves = [leaf_hash(head) for head in merkle["heads"]]
    assert [leaf.hex() for leaf in leaves] == merkle["leaves"]
    for count, root in enumerate(merkle["roots"]):
        assert root_of(leaves[:count]).hex() == root, count
    previous = GENESIS
    for checkpoint in merkle["checkpoints"]:
        check_seal("checkpoint", checkpoint, "retrai.checkpoint.v1", keys)
        assert checkpoint["previous"] == previous
        assert root_of(leaves[: int(checkpoint["runs"])]).hex() == checkpoint["root"]
        previous = sha256(canonical(checkpoint))
    for proof in merkle["inclusions"]:
        path = [bytes.fromhex(step) for step in proof["path"]]
        checkpoint = proof["checkpoint"]
        leaf = leaf_hash(proof["leaf"])
        root = root_of_path(leaf, int(proof["index"]), int(checkpoint["runs"]), path)
        assert root is not None and root.hex() == checkpoint["root"], proof["index"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--fingerprint", action="append")
    parser.add_argument("--witness", action="append", default=[])
    parser.add_argument("--quorum", type=int)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--vectors")
    options = parser.parse_args()
    try:
        if options.vectors is not None:
            return check_vectors(options.vectors)
        if options.file is None:
            parser.error("name a file")
        witnesses = {witness_key(line) for line in options.witness}
        quorum = len(witnesses) if options.quorum is None else options.quorum
        if quorum > len(witnesses) or options.quorum is not None and quorum < 1:
            raise ValueError("--quorum is no number of the witnesses that --witness names")
        return verify(options.file, options.fingerprint, options.json, (witnesses, quorum))
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Checks a bundle of Telltale with nothing but Python's standard library: verify.py BUNDLE [--key KEY] [--checkpoint FILE]

It shares no code with Telltale: docs/seals.md and docs/bundles.md are what it is written from.
Exit status: 0 verified; 1 not; 2 wrong command line, or a file that cannot be read; 3 consistent, but nothing says whose it is."""
import argparse, base64, datetime, hashlib, json, mmap, os, re, struct, sys, zlib

ENTRIES = ["README.txt", "about.json", "lists.json", "bindings.jsonl", "report.html", "report.json", "witnesses.jsonl", "key.txt", "checkpoint.txt",
           "statements.jsonl", "ledger.jsonl", "rows.jsonl", "rows.csv", "leaves.txt", "leaves.bin", "manifest.txt"]
SHOWN = {"row": "rows.jsonl", "ledger": "ledger.jsonl", "statement": "statements.jsonl"}
KEYS = {keys.split("#")[0]: keys.split() for keys in (  # of lines, in their order: a # is behind those of numbers, a * behind that of pairs
    "row# id# node first# last# count# attempts# as_lookups# device device_name client client_id mac binding# binding_source binding_confidence name type# alias folded# verdict reason "
    "observed_by list line# rule attribution attribution_list attribution_line# vendor product purpose tier region source breaks since confidence software rcode# answered_from transport "
    "ttl# elapsed# upstream imported", "ledger# id# node time# since# until# kind subject detail", "start# time# origin from# previous", "end# time# from#", "removal# time# of why count# ids*", "handover# time# note")}
ABOUT = dict(bundle=int, program=str, made=int, since=int, until=int, device=str, devices=list, redacted=bool, settings_sha256=str)
COLUMNS = "leaf first last count attempts device device_name client name alias type verdict reason list line rule vendor product purpose tier source confidence rcode answered_from".split()
TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 64: "SVCB", 65: "HTTPS", 255: "ANY"}
MAX_TEXT = 1 << 24  # octets of a line, and of a short file
class Bad(Exception): """What is wrong with a bundle."""
def need(condition, what):
    if not condition: raise Bad(what)

# Ed25519 (RFC 8032, 5.1), points in extended coordinates. Nothing here is secret.
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
def point(octets):
    y = int.from_bytes(octets, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if x * x % P != xx: x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != xx or (x == 0 and sign): return None
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P
def add(p, q):
    a, b, c, d = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0]), 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P
def multiply(n, p):
    q = (0, 1, 1, 0)
    while n:
        q, p, n = add(q, p) if n & 1 else q, add(p, p), n >> 1
    return q
BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
def is_signed(key, message, signature):
    s, a = int.from_bytes(signature[32:], "little"), point(key)
    if s >= L or a is None: return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    x, y, z, _ = add(multiply(s, BASE), multiply(k, (P - a[0], a[1], 1, P - a[3])))
    z = pow(z, P - 2, P)
    return signature[:32] == (y * z % P | (x * z % P & 1) << 255).to_bytes(32, "little")

# Keys as NAME+HASH+BASE64, signed notes and checkpoints (C2SP).
def unbase64(text, size, what):
    try: octets = base64.b64decode(text, validate=True)
    except ValueError: octets = b""
    need(len(octets) == size and base64.b64encode(octets).decode() == text, what + " is not base64 of %d octets" % size)
    return octets
def read_key(text):
    parts = text.split("+", 2)
    need(len(parts) == 3 and re.fullmatch("telltale/[0-9a-f]{16}", parts[0]), "%.80r is no key of Telltale: NAME+HASH+BASE64 is" % text)
    octets = unbase64(parts[2], 33, "the key")
    id = hashlib.sha256(parts[0].encode() + b"\n" + octets).digest()[:4]
    need(octets[0] == 1 and id.hex() == parts[1], "the hash of the key %s is not that of its octets: it was copied with a mistake" % parts[0])
    return parts[0], id, octets[1:]
SIGNATURE = re.compile("\u2014 ([^ +\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+) ([A-Za-z0-9+/]{7,}={0,2})")
def read_note(octets, what):  # by the rules of Go's golang.org/x/mod/sumdb/note; notes.json has some that are taken, and some that are not
    text = octets.decode()
    body, gap, rest = text.rpartition("\n\n")
    need(gap and rest.endswith("\n") and len(octets) <= MAX_TEXT and not re.search("[\0-\x09\x0b-\x1f]", text), what + " is no signed note")
    lines = [SIGNATURE.fullmatch(line) for line in rest[:-1].split("\n")]
    need(all(m and len(m[2]) % 4 == 0 for m in lines) and len(lines) <= 100, what + " has a line behind its text that is no signature, or more than 100")
    return body + "\n", [(m[1], s[:4], s[4:]) for m in lines for s in [base64.b64decode(m[2])]]
def is_by(note, key):
    first = [s for name, id, s in note[1] if (name, id) == key[:2]][:1]  # by a name and hash: the others are passed over
    need(all(len(s) == 64 and is_signed(key[2], note[0].encode(), s) for s in first), "a signature by the key %s is wrong" % key[0])
    return len(first) == 1
def read_checkpoint(octets, what):
    note = read_note(octets, what)
    m = re.fullmatch("(telltale/[0-9a-f]{16})\n(0|[1-9][0-9]{0,14})\n([A-Za-z0-9+/=]+)\n", note[0])
    need(m and int(m[2]) <= 1 << 48, what + " is no checkpoint of Telltale")
    note = note[0], [s for s in note[1] if s[0] == m[1]]  # others have signed that they saw it
    return {"origin": m[1], "size": int(m[2]), "root": unbase64(m[3], 32, "the root of " + what), "note": note}

# The container: a zip whose every octet follows from names, order and contents.
def open_zip(data):
    need(data[:4] == b"PK\x03\x04" and len(data) < 1 << 32, "this is no bundle: it does not begin as a zip file does, or is larger than 4 GiB")
    entries, offset, directory = {}, 0, b""
    for name in ENTRIES:
        crc, size = (struct.unpack("<II", data[offset + 14:offset + 22]) if offset + 30 < len(data) else (0, 0))
        head = struct.pack("<IHHHHHIIIHH", 0x04034B50, 10, 0, 0, 0, 33, crc, size, size, len(name), 0) + name.encode()
        need(data[offset:offset + len(head)] == head, "%s is not where and as it must be: the bundle was changed, cut short or packed again, or is of another version" % name)
        directory += struct.pack("<IH", 0x02014B50, 10) + head[4:30] + bytes(10) + struct.pack("<I", offset) + name.encode()
        entries[name] = (offset + len(head), size, crc)
        offset += len(head) + size
    directory += struct.pack("<IIHHIIH", 0x06054B50, 0, len(ENTRIES), len(ENTRIES), len(directory), offset, 0)
    need(data[offset:] == directory, "its directory is not as Telltale writes it: the bundle was changed, cut short or packed again")
    return entries
def check_manifest(data, entries):
    at, size, crc = entries["manifest.txt"]
    text = data[at:at + min(size, MAX_TEXT + 1)]
    need(zlib.crc32(text) == crc, "manifest.txt was changed: it has another sum")
    need(text.startswith(b"telltale bundle 1\n"), "the manifest is none of Telltale's, or of a version that this program does not know")
    note = read_note(text, "the manifest")
    lines = note[0].split("\n")
    need(len(note[1]) == 1 and text.count(b"\n") == len(ENTRIES) + 3 and text.endswith(b" " + base64.b64encode(note[1][0][1] + note[1][0][2]) + b"\n"), "the manifest has too many lines or too few")
    for name, line in zip(ENTRIES, lines[2:-1]):
        at, size, crc = entries[name]
        sha, sum = hashlib.sha256(), 0
        for i in range(at, at + size, MAX_TEXT):
            chunk = data[i:min(i + MAX_TEXT, at + size)]
            sha.update(chunk)
            sum = zlib.crc32(chunk, sum)
        need(sum == crc and line == "%s %d %s" % (sha.hexdigest(), size, name), "%s was changed: it has another sum than the manifest says" % name)
    return lines[1], note
def lines_of(data, entry):
    at, end = entry[0], entry[0] + entry[1]
    while at < end:
        n = data.find(b"\n", at, min(end, at + MAX_TEXT))
        need(n >= 0, "a line has no end, or is too long")
        yield data[at:n]
        at = n + 1

# The tree (RFC 9162): a stack of the roots of whole subtrees.
def push(stack, leaf):
    level = 0
    while stack and stack[-1][0] == level:
        leaf, level = hashlib.sha256(b"\1" + stack.pop()[1] + leaf).digest(), level + 1
    stack.append((level, leaf))
def root_of(stack):
    root = stack[-1][1] if stack else hashlib.sha256().digest()
    for _, left in reversed(stack[:-1]):
        root = hashlib.sha256(b"\1" + left + root).digest()
    return root
def when(ms): return (datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=ms)).isoformat("T", "milliseconds") + "Z"
def csv_field(n, row, column):
    value = n if column == "leaf" else row.get(column, "")
    if column in ("first", "last", "type"):
        value = TYPES.get(row.get("type", 0), "TYPE%d" % row.get("type", 0)) if column == "type" else when(row.get(column, 0))
    s = re.sub("[\0-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", "?", str(value))
    return '"' + ("'" if re.match("[ ']*[-=+@]", s) else "") + s.replace('"', '""') + '"'
def no_doubles(pairs):
    need(len(dict(pairs)) == len(pairs), "an object has a key twice")
    return dict(pairs)
def read_object(octets, what):
    try: value = json.loads(octets.decode(), object_pairs_hook=no_doubles)
    except ValueError: value = None
    need(isinstance(value, dict), what + " is not one JSON object")
    return value

TEXT, NUMBER = r'"[^"\\\x00-\x1f]*(?:\\(?:["\\]|u00[01][0-9a-f])[^"\\\x00-\x1f]*)*"', "(?:0|-?[1-9][0-9]{0,17})"
MEMBER = r'"[a-z_]+":(?:TEXT|NUMBER|\[PAIR(?:,PAIR)*\])'.replace("PAIR", r"\[NUMBER,NUMBER\]").replace("NUMBER", NUMBER).replace("TEXT", TEXT)
FORM = re.compile((r"\{MEMBER(?:,MEMBER)*\}").replace("MEMBER", MEMBER).encode())
def read_line(octets, what):
    """A line in the only form that lines have. All verifiers take the same ones, those of lines.json among them."""
    line = read_object(octets if FORM.fullmatch(octets) else b"", what)
    first = next(iter(line))
    need(first in KEYS and line[first] == 1, what + " is of a kind or version that this program does not know")
    known = [k for k in KEYS[first] if k.strip("#*") in line]  # they come first, in this order, and none is empty
    need(all(k.strip("#*") == got and type(line[got]) is {"#": int, "*": list}.get(k[-1], str) and line[got] for k, got in zip(known, line)), what + " has keys in another order, or values of another kind")
    for ids in ([n for pair in v for n in pair] for v in line.values() if type(v) is list):
        need(all(a < b or a == b and i % 2 == 0 for i, (a, b) in enumerate(zip(ids, ids[1:]))), what + " has numbers that do not ascend")
    return line
LINE = re.compile(rb'\{"leaf":(0|[1-9][0-9]{0,14}),"salt":"([0-9a-f]{64})","line":(\{.*\})\}')
class Log:
    """The sealed log as a bundle shows it, read from its first leaf to its last."""
    def __init__(self, data, entries, about, size):
        self.data, self.entries, self.about, self.compared = data, entries, about, size
        self.stack, self.keys, self.previous, self.counts, self.claimed, self.native = [], [], None, {}, {}, 0
        self.size, self.root, self.rows_before, self.first, self.last, self.off = 0, None, 0, None, 0, []
        self.files = {kind: lines_of(data, entries[name]) for kind, name in SHOWN.items()}
        self.csv = lines_of(data, entries["rows.csv"])
        self.stamps = data[entries["witnesses.jsonl"][0]:sum(entries["witnesses.jsonl"][:2])].count(b',"timestamp":"')
        need(next(self.csv, None) == ",".join(COLUMNS).encode(), "rows.csv does not begin with its columns")
    def read(self):
        at, size, _ = self.entries["leaves.bin"]
        for line in lines_of(self.data, self.entries["leaves.txt"]):
            m = re.fullmatch(rb"(0|[1-9][0-9]{0,14}) ([1-9][0-9]{0,14}) (row|ledger|statement|outside|withheld|deleted ([1-9][0-9]{0,14}))", line)
            need(m and int(m[1]) == self.size, "leaves.txt does not go on where it was")
            what, count = m[3].split()[0].decode(), int(m[2])
            need((self.size + count) * 32 <= size, "leaves.txt says of more leaves than there are")
            self.counts[what] = self.counts.get(what, 0) + count
            if m[4]:
                need(int(m[4]) >= self.size + count, "leaves are said to be deleted before they were written")
                self.claimed[int(m[4])] = self.claimed.get(int(m[4]), 0) + count
                need(len(self.claimed) <= 1 << 20, "leaves.txt names more deletions than there can be")
            for i in range(count):
                leaf = self.data[at + 32 * self.size:at + 32 * self.size + 32]
                if what in SHOWN: self.shown(self.size, leaf, what)
                push(self.stack, leaf)
                self.size += 1
                if self.size == self.compared: self.root, self.rows_before = root_of(self.stack), self.counts.get("row", 0) - (count - 1 - i if what == "row" else 0)
        need(self.size * 32 == size, "leaves.txt says of fewer leaves than there are")
        for kind, rest in list(self.files.items()) + [("row", self.csv)]:
            need(next(rest, None) is None, "there are lines of kind %s that are no leaves: added, doubled or moved" % kind)
        need(not self.claimed, "leaves are said to be deleted by leaves which are no removals")
    def shown(self, n, leaf, kind):
        m = LINE.fullmatch(next(self.files[kind], b""))
        need(m and int(m[1]) == n, "leaf %d is not in %s, or not at its place: a line was removed, doubled or moved" % (n, SHOWN[kind]))
        salt = bytes.fromhex(m[2].decode())
        need(hashlib.sha256(b"\0" + salt + m[3]).digest() == leaf, "leaf %d is not what was sealed: the line in %s was changed" % (n, SHOWN[kind]))
        line = read_line(m[3], "leaf %d" % n)
        first = next(iter(line))
        need((first if first in ("row", "ledger") else "statement") == kind, "leaf %d is of another kind than %s is of" % (n, SHOWN[kind]))
        need(n > 0 or first == "start", "the log does not begin with its start")
        if kind == "row":
            need(self.about["since"] <= line["first"] < self.about["until"], "leaf %d is not of the bundle's period" % n)
            need(0 < line.get("id", 0) < 1 << 53, "leaf %d has a number that cannot be" % n)
            if line.get("imported", "") == "":
                need(line["id"] > self.native, "leaf %d: row %d was put in later, for rows are sealed in the order of their numbers, which were at %d" % (n, line["id"], self.native))
                self.native = line["id"]
            need(0 < line["first"] < 253402300800000 and 0 <= line.get("last", 0) < 253402300800000, "leaf %d has times that cannot be" % n)
            need(not self.about["devices"] or line.get("device", "") in self.about["devices"], "leaf %d is of another device" % n)
            want = ",".join(csv_field(n, line, c) for c in COLUMNS).encode()
            need(next(self.csv, None) == want, "rows.csv is not what rows.jsonl says at leaf %d" % n)
            self.first, self.last = min(self.first or line["first"], line["first"]), max(self.last, line.get("last", 0))
        elif kind == "statement":
            need(salt == bytes(32), "leaf %d is a statement and has a salt" % n)
            need(0 <= line.get("time", 0) < 253402300800000, "leaf %d has a time that cannot be" % n)
            if first == "end": self.off.append([line.get("time", 0), None])  # from when to when sealing was off
            if first == "start" and self.off: self.off[-1][1] = self.off[-1][1] or line.get("time", 0)
            if first in ("start", "end"): self.native = max(self.native, line.get("from", 0) - 1)
            need(len(self.off) <= 1 << 10 and len(self.keys) <= 1 << 10, "leaf %d: sealing was switched off, or keys took over, more often than can be" % n)
            if first == "removal": need(self.claimed.pop(n, 0) <= line.get("count", 0), "more leaves are said to be deleted by leaf %d than it is a removal of" % n)
            elif first == "start" and n == 0 and "previous" in line: self.previous = read_checkpoint(line["previous"].encode(), "the checkpoint before the log's start")
            elif first == "handover": self.handover(n, line.get("note", ""))
    def handover(self, n, text):
        note = read_note(text.encode(), "a hand-over")
        lines = note[0].split("\n")
        need(len(lines) == 6 and lines[0] == "telltale hand-over 1", "leaf %d is no hand-over" % n)
        old, new, size, root = read_key(lines[1]), read_key(lines[2]), n, root_of(self.stack)
        if n == 1 and self.previous: size, root = self.previous["size"], self.previous["root"]
        need(lines[3:5] == [str(size), base64.b64encode(root).decode()], "the hand-over at leaf %d is of another log, or of another place" % n)
        need(is_by(note, new), "the hand-over at leaf %d is not signed by the key that takes over" % n)
        need(not self.keys or self.keys[-1][0] == old, "the hand-over at leaf %d is from a key that did not sign then" % n)
        self.keys = (self.keys or [(old, False, -1)]) + [(new, is_by(note, old), n)]

def verify(data, key=None, checkpoint=None):
    """Returns what is known of a bundle, or raises Bad. key is a key as text, checkpoint the octets of one."""
    entries = open_zip(data)
    origin, manifest = check_manifest(data, entries)
    text = lambda name: data[entries[name][0]:entries[name][0] + min(entries[name][1], MAX_TEXT + 1)]
    own, head = read_key(text("key.txt").decode("latin-1").removesuffix("\n")), read_checkpoint(text("checkpoint.txt"), "its checkpoint")
    need(origin == head["origin"] == own[0], "manifest, checkpoint and key are not of one log")
    need(is_by(manifest, own) and is_by(head["note"], own), "its manifest or its checkpoint is not signed by the log's key")
    about = read_object(text("about.json"), "about.json")
    form = re.sub("[<>&\u2028\u2029]", lambda m: "\\u%04x" % ord(m[0]), json.dumps(about, ensure_ascii=False, allow_nan=False, indent=2)) + "\n"
    need(list(about) == [*ABOUT, "clock", "coverage"] and form.encode() == text("about.json") and all(type(about[k]) is t for k, t in ABOUT.items()) and all(type(d) is str for d in about["devices"]), "about.json is not as Telltale writes it")
    seen = read_checkpoint(checkpoint, "the checkpoint that you gave") if checkpoint is not None else None
    need(not seen or 0 < seen["size"] <= head["size"], "the checkpoint that you gave is later than the bundle, or of an empty log: give an earlier one, or ask for a new bundle")
    log = Log(data, entries, about, seen["size"] if seen else 0)
    log.read()
    need(log.size == head["size"] and root_of(log.stack) == head["root"], "the leaves are not those that its checkpoint is of")
    keys = log.keys or [(own, False, -1)]
    need(keys[-1][0] == own, "its key is not the one that took over last")
    trusted = []
    if key is not None:
        given = read_key(key.strip())
        trusted = [i for i, k in enumerate(keys) if k[0] == given][-1:]
        need(trusted, "it is not signed by the key that you gave, nor by one that took over from it: it is of another log, or somebody else made it")
    if seen:
        need(log.root == seen["root"], "the checkpoint that you gave is of another log: its %d leaves are not the bundle's first ones" % seen["size"])
        ends = [k[2] for k in keys[1:]] + [head["size"]]
        signer = [i for i, k in enumerate(keys) if k[2] < seen["size"] <= ends[i] and is_by(seen["note"], k[0])]
        need(signer, "the checkpoint that you gave is not signed by the key that the log had then")
        trusted += signer
    for _, vouched, n in keys[min(trusted) + 1:] if trusted else []:
        need(vouched, "at leaf %d another key took over without a signature by the one before: nobody vouches for it to who trusts that one" % n)
    return log, own, head, seen
def main():
    p = argparse.ArgumentParser(description="Checks a bundle of Telltale.")
    p.add_argument("bundle")
    p.add_argument("--key", help="the log's key as you know it, NAME+HASH+BASE64, or a file that has it")
    p.add_argument("--checkpoint", help="a file with a checkpoint of the log that you have had since earlier")
    a = p.parse_args()
    try:
        key = open(a.key).read().strip() if a.key and not a.key.startswith("telltale/") and os.path.exists(a.key) else a.key
        need(key is None or read_key(key), "no key")
    except Exception as e: p.error("--key: %s" % e)  # exit status 2
    try:
        with open(a.bundle, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            log, own, head, seen = verify(data, key, None if a.checkpoint is None else open(a.checkpoint, "rb").read())
    except OSError as e: p.error(str(e))  # a file that cannot be read
    except Exception as e: sys.exit("NOT verified: %s" % e)  # exit status 1
    print("Shown: %d rows, %d lines of the ledger, %d statements. Not shown: %d leaves of other times; %d deleted, as the log states; %d withheld."
          % tuple(log.counts.get(k, 0) for k in ("row", "ledger", "statement", "outside", "deleted", "withheld")))
    if log.first is not None: print("The rows are dated %s to %s." % (when(log.first), when(log.last)))
    if log.last > log.about["made"]: print("They are dated later than the bundle, which says that it was made before: one of the clocks was wrong.")
    for begin, end in log.off: print("From %s %s sealing was off: rows of that time are not in it." % (when(begin), "to " + when(end) if end else "on"))
    print("Sealed in a log of %d leaves, by the key\n  %s+%s+%s" % (head["size"], own[0], own[1].hex(), base64.b64encode(b"\1" + own[2]).decode()))
    if log.stamps: print("%d time-stamps of authorities are in witnesses.jsonl: present, and NOT checked here." % log.stamps)
    if seen: print("%d of the rows were sealed before your checkpoint of %d leaves was made." % (log.rows_before, seen["size"]))
    print("NOT proven: that a row was true when it was written; that a connection was made, or what was sent; what withheld leaves say; that nothing\n"
          "is missing which was never sealed, or not yet signed: the report may count it; when it was sealed, but for your checkpoint. Report, lists and bindings are as the key's owner signed them.")
    if a.key is None and a.checkpoint is None:
        print("CONSISTENT, KEY UNKNOWN: nothing here says whose key that is. Get it from its owner by another way, and give it with --key.")
        sys.exit(3)
    print("VERIFIED: what is shown was sealed by the log that you know, and is unchanged since.")
if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Tests of verify.py: python3 test_verify.py. With --batch it is what the tests of package bundle run: on each line of
its input is a JSON object with the path of a bundle, bits to flip, a key and a checkpoint, or with the octets of a line of a
log, and it answers each with a line."""
import base64, contextlib, functools, io, json, os, random, sys, tempfile, unittest, unittest.mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import verify

HERE = os.path.dirname(os.path.abspath(__file__))


def read(name):
    with open(os.path.join(HERE, "example", name), "rb") as f:
        return f.read()


class Signatures(unittest.TestCase):
    def test_vectors_of_rfc_8032(self):
        for key, message, signature in [
            ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
             "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
            ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
             "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
            ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
             "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
        ]:
            key, message, signature = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
            self.assertTrue(verify.is_signed(key, message, signature))
            self.assertFalse(verify.is_signed(key, message + b"x", signature))
            for i in range(0, 512, 37):
                other = bytearray(signature)
                other[i // 8] ^= 1 << i % 8
                self.assertFalse(verify.is_signed(key, message, bytes(other)))

    def test_a_second_form_of_a_signature_is_none(self):
        key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        s = bytes.fromhex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b")
        again = s[:32] + (int.from_bytes(s[32:], "little") + verify.L).to_bytes(32, "little")
        self.assertFalse(verify.is_signed(key, b"", again))


class Bundles(unittest.TestCase):
    def setUp(self):
        self.data, self.key, self.checkpoint = read("bundle.zip"), read("key").decode().strip(), read("checkpoint")

    def refused(self, data, key=None, checkpoint=None, want=""):
        with self.assertRaises(Exception) as e:
            verify.verify(data, key, checkpoint)
        self.assertIn(want, str(e.exception))

    def test_the_example(self):
        log, own, head, seen = verify.verify(self.data, self.key, self.checkpoint)
        self.assertEqual(log.counts["row"] > 0, True)
        self.assertEqual(own, verify.read_key(self.key))
        verify.verify(self.data)

    def test_the_example_says_when_sealing_was_off(self):
        status, said = self.ends(os.path.join(HERE, "example", "bundle.zip"), "--key", self.key)
        self.assertIn("From 2025-11-24T17:12:00.000Z to 2025-11-24T17:14:00.000Z sealing was off: rows of that time are not in it.", said)
        self.assertNotIn("later than the bundle", said)

    def test_rows_later_than_the_bundle_are_told(self):
        result = verify.verify(self.data, self.key)
        result[0].about["made"] = result[0].last - 1
        with unittest.mock.patch.object(verify, "verify", lambda *_: result):
            self.assertIn("later than the bundle", self.ends(os.path.join(HERE, "example", "bundle.zip"), "--key", self.key)[1])

    def test_lines(self):
        """All verifiers take the same lines."""
        with open(os.path.join(HERE, "lines.json"), encoding="utf-8") as f:
            lines = json.load(f)
        for line in lines["taken"]:
            verify.read_line(line.encode(), "the line")
        for what, line in lines["refused"]:
            octets = bytes.fromhex(line[4:]) if line.startswith("hex:") else line.encode()
            with self.assertRaises(verify.Bad, msg=what):
                verify.read_line(octets, "the line")

    def test_notes(self):
        """All verifiers take the same notes."""
        with open(os.path.join(HERE, "notes.json"), encoding="utf-8") as f:
            notes = json.load(f)
        for what, want, text in notes["notes"]:
            try:
                note = verify.read_checkpoint(bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode(), "the note")["note"]
                got = "signed" if verify.is_by(note, verify.read_key(notes["key"])) else "not signed"
            except (verify.Bad, ValueError):
                got = "refused"
            self.assertEqual(got, want, what)

    def test_another_key(self):
        name, _, octets = verify.read_key(self.key)
        other = b"\1" + bytes([octets[0] ^ 1]) + octets[1:]
        id = verify.hashlib.sha256(name.encode() + b"\n" + other).hexdigest()[:8]
        self.refused(self.data, "%s+%s+%s" % (name, id, base64.b64encode(other).decode()), want="not signed by the key that you gave")
        self.refused(self.data, self.key[:-3], want="key")

    def ends(self, *words):
        """The exit status of the program, and what it says."""
        out, before = io.StringIO(), sys.argv
        sys.argv = ["verify.py", *words]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                verify.main()
            return 0, out.getvalue()
        except SystemExit as e:
            return (e.code, out.getvalue()) if type(e.code) is int else (1, out.getvalue() + e.code)
        finally:
            sys.argv = before

    def test_exit_statuses(self):
        good, none, key = (os.path.join(HERE, "example", name) for name in ("bundle.zip", "none", "key"))
        with tempfile.TemporaryDirectory() as dir:
            def put(name, octets):
                with open(os.path.join(dir, name), "wb") as f:
                    f.write(octets)
                return f.name
            for status, words in [
                (0, [good, "--key", self.key]), (0, [good, "--key", key]), (3, [good]),
                (1, [put("cut.zip", self.data[:-100])]), (1, [put("empty.zip", b"")]), (1, [put("text.zip", b"hello"), "--key", self.key]),
                (1, [good, "--checkpoint", put("hello", b"hello")]),
                (2, [good, "--key", "garbage"]), (2, [good, "--key", self.key[:-3]]), (2, [good, "--key", " " + self.key]), (2, [good, "--key", put("key", b"\xff")]),
                (2, [good, "--key", dir]), (2, [good, "--key", ""]), (2, [good, "--key", put("nothing", b"")]), (1, [good, "--checkpoint", put("nothing", b"")]), (2, [none]), (2, [dir]), (2, [good, "--checkpoint", none]), (2, []),
            ]:
                got, said = self.ends(*words)
                self.assertEqual(got, status, (words, said))
                self.assertEqual("NOT verified" in said, status == 1, (words, said))

    def test_a_key_is_no_path(self):
        """Where a file has the path that a key is, the key is meant, and not what somebody wrote into the file."""
        name, _, octets = verify.read_key(self.key)
        other = b"\1" + bytes([octets[0] ^ 1]) + octets[1:]
        other = "%s+%s+%s" % (name, verify.hashlib.sha256(name.encode() + b"\n" + other).hexdigest()[:8], base64.b64encode(other).decode())
        good, before = os.path.abspath(os.path.join(HERE, "example", "bundle.zip")), os.getcwd()
        with tempfile.TemporaryDirectory() as dir:
            os.makedirs(os.path.join(dir, os.path.dirname(other)))
            with open(os.path.join(dir, other), "w") as f:
                f.write(self.key)
            os.chdir(dir)
            try:
                self.assertEqual(self.ends(good, "--key", other)[0], 1)
            finally:
                os.chdir(before)

    def test_damage(self):
        r = random.Random(1)
        for _ in range(300):
            i = r.randrange(8 * len(self.data))
            other = bytearray(self.data)
            other[i // 8] ^= 1 << i % 8
            self.refused(bytes(other))
        for n in [0, 1, 22, len(self.data) // 2, len(self.data) - 1]:
            self.refused(self.data[:n])
        self.refused(self.data + b"\0")


def batch():
    verify.is_signed = functools.lru_cache(None)(verify.is_signed)  # most signatures come again and again
    files = {}
    for line in sys.stdin:
        job = json.loads(line)
        if "line" in job:
            try:
                verify.read_line(base64.b64decode(job["line"]), "the line")
                print("verified", flush=True)
            except verify.Bad as e:
                print("no: %s" % e, flush=True)
            continue
        if "note" in job:
            try:
                by = verify.is_by(verify.read_checkpoint(base64.b64decode(job["note"]), "the note")["note"], verify.read_key(job["key"]))
                print("signed" if by else "not signed", flush=True)
            except Exception as e:
                print("no: " + " ".join(str(e).split()), flush=True)
            continue
        if job["path"] not in files:
            files.clear()
            with open(job["path"], "rb") as f:
                files[job["path"]] = f.read()
        data = files[job["path"]]
        if job.get("bits"):
            other = bytearray(data)
            for i in job["bits"]:
                other[i // 8] ^= 1 << i % 8
            data = bytes(other)
        try:
            log = verify.verify(data, job.get("key"), base64.b64decode(job["checkpoint"]) if job.get("checkpoint") else None)[0]
            print("verified, %d rows before" % log.rows_before, flush=True)
        except Exception as e:
            print("no: " + " ".join(str(e).split()), flush=True)


if __name__ == "__main__":
    batch() if sys.argv[1:] == ["--batch"] else unittest.main()

package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"telltale/querylog/seal"
)

// signatureBy returns a line that looks like a signature by a key; size octets of it are 0.
func signatureBy(name string, hash []byte, size int) string {
	return "\u2014 " + name + " " + base64.StdEncoding.EncodeToString(append(bytes.Clone(hash), make([]byte, size)...)) + "\n"
}

// hashOf returns the hash of a key, which its signatures begin with.
func hashOf(t testing.TB, public string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Split(public, "+")[1])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// docs/verify/notes.json are notes that all verifiers take, and that all of them refuse. -update writes it.
func TestAllVerifiersTakeTheSameNotes(t *testing.T) {
	l := newLog(t, 1)
	head := string(l.head(t))
	text, own, _ := strings.Cut(head, "\n\n")
	text += "\n\n"
	wrong := signatureBy(origin, hashOf(t, l.key.Public), 64)
	witness := func(name string) string { return signatureBy(name, []byte{1, 2, 3, 4}, 64) }
	type one [3]string // what, how, and the note; octets behind "hex:" where it is no text
	var all struct {
		Key   string `json:"key"`
		Notes []one  `json:"notes"`
	}
	all.Key = l.key.Public
	add := func(how string, pairs ...string) {
		for i := 0; i < len(pairs); i += 2 {
			note := pairs[i+1]
			if !utf8.ValidString(note) {
				note = "hex:" + hex.EncodeToString([]byte(note))
			}
			all.Notes = append(all.Notes, one{pairs[i], how, note})
		}
	}
	last := strings.LastIndex(own, "=")
	add("signed",
		"by the key", head,
		"by a witness, too", head+witness("witness.example/w1"),
		"a wrong signature by the key behind a right one", head+wrong,
		"a witness with another hash and the key's name", text+signatureBy(origin, []byte{1, 2, 3, 4}, 64)+own,
		"a short signature of 5 octets", head+signatureBy("w", []byte{1, 2, 3, 4}, 1),
		"a name with letters beyond ASCII", head+witness("fü"),
		"a name with U+FEFF, which is no space", head+witness("w\ufeff"),
		"a name with U+007F", head+witness("w\x7f"),
		"a name beyond 16 bits", head+witness("w\U0001f600"),
		"100 signatures", head+strings.Repeat(witness("w"), 99),
		"bits that mean nothing at the end of the base64", text+own[:last-1]+string(own[last-1]+1)+own[last:],
	)
	add("not signed",
		"by a witness alone", text+witness("w"),
		"by a key of the same hash and another name", text+signatureBy("telltale/0123456789abcdee", hashOf(t, l.key.Public), 64),
	)
	add("refused",
		"a wrong signature by the key before the right one", text+wrong+own,
		"a signature by the key that is too short", text+signatureBy(origin, hashOf(t, l.key.Public), 63)+own,
		"a signature by the key that is too long", text+signatureBy(origin, hashOf(t, l.key.Public), 65)+own,
		"101 signatures", head+strings.Repeat(witness("w"), 100),
		"no signature", text,
		"no empty line", text[:len(text)-1]+own,
		"no line end", head[:len(head)-1],
		"an empty line at the end", head+"\n",
		"a line that is no signature", head+"hello\n",
		"base64 that is cut", head+"\u2014 w AAA\n",
		"base64 of 4 octets", head+signatureBy("w", []byte{1, 2, 3, 4}, 0),
		"base64 without its padding", head+"\u2014 w AAAAAAA\n",
		"base64 with more padding than it needs", head+"\u2014 w AAAAAAAA====\n",
		"base64 of URLs", head+"\u2014 w AAAA_-AAAAAA\n",
		"a space behind the base64", head+"\u2014 w AAAAAAAA \n",
		"no base64", head+"\u2014 w \n",
		"no name", head+"\u2014  AAAAAAAA\n",
		"a hyphen instead of the dash", head+"- w AAAAAAAA\n",
		"a name with a plus", head+witness("a+b"),
		"a name with U+0085", head+witness("a\u0085b"),
		"a name with U+00A0", head+witness("a\u00a0b"),
		"a name with U+1680", head+witness("a\u1680b"),
		"a name with U+2000", head+witness("a\u2000b"),
		"a name with U+200A", head+witness("a\u200ab"),
		"a name with U+2028", head+witness("a\u2028b"),
		"a name with U+202F", head+witness("a\u202fb"),
		"a name with U+205F", head+witness("a\u205fb"),
		"a name with U+3000", head+witness("a\u3000b"),
		"a tab in a name", head+witness("a\tb"),
		"a line end of two octets", strings.ReplaceAll(head, "\n", "\r\n"),
		"octets that are not UTF-8", head+witness("w\xff"),
		"a surrogate", head+witness("w\xed\xa0\x80"),
		"another origin", "foo\n5\n"+base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n\n"+witness("foo"),
		"a mark of the order of octets before it", "\ufeff"+head,
	)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(&all); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(docs, "notes.json")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := os.ReadFile(path); err != nil || !bytes.Equal(kept, b.Bytes()) {
		t.Errorf("docs/verify/notes.json has other notes; -update writes it (%v)", err)
	}
	others := startOthers(t)
	for _, n := range all.Notes {
		text := octetsOf(t, n[2])
		got := "refused"
		if _, err := openCheckpoint(text, l.key.Public); err == nil {
			got = "signed"
		} else if errors.Is(err, seal.ErrUnknownKey) {
			got = "not signed"
		}
		if got != n[1] {
			t.Errorf("%s: %s, want %s", n[0], got, n[1])
		}
		for _, o := range others {
			if got := o.says(&job{Note: text, Key: l.key.Public}); got != n[1] && (n[1] != "refused" || !strings.HasPrefix(got, "no: ")) {
				t.Errorf("%s: %s says: %s, want %s", n[0], o.what, got, n[1])
			}
		}
	}
}

// Where notes stand in a bundle, all verifiers hold them to the same rules.
func TestAllVerifiersTakeTheSameNotesInBundles(t *testing.T) {
	v := newVerifiers(t)
	l := household(t, 7)
	b := write(t, l.contents())
	head := string(l.heads[len(l.heads)-1])
	gap := strings.Index(head, "\n\n") + 2
	wrong := signatureBy(origin, hashOf(t, l.key.Public), 64)
	for _, c := range []struct {
		name, checkpoint string
		want             bool
	}{
		{"as it was", head, true},
		{"a witness has signed the checkpoint", head + signatureBy("fü", []byte{1, 2, 3, 4}, 64), true},
		{"a wrong signature by the key before the right one", head[:gap] + wrong + head[gap:], false},
		{"a line that is no signature", head + "\u2014 x AAA\n", false},
	} {
		u := unpack(t, b)
		u.contents[checkpointEntry] = []byte(c.checkpoint)
		v.check(c.name, u.pack(t, l.key), Trust{Key: l.key.Public}, c.want)
	}
	begun := newLog(t, 7) // of one key: nothing but key.txt says which
	begun.rows(5)
	begun.head(t)
	for end, want := range map[string]bool{"": true, "\n": true, "\n\n": false, "\r\n": false, " \n": false} {
		u := unpack(t, write(t, begun.contents()))
		u.contents[keyEntry] = []byte(begun.key.Public + end)
		v.check(fmt.Sprintf("the key with %q behind it", end), u.pack(t, begun.key), Trust{}, want)
	}
	u := unpack(t, b)
	u.contents[witnessesEntry] = bytes.Repeat([]byte("x"), maxText+1)
	v.check("more of witnesses than is read", u.pack(t, l.key), Trust{Key: l.key.Public}, true)
	early := string(l.heads[0])
	for n, want := range map[int]bool{99: true, 120: false} {
		v.check(fmt.Sprintf("the checkpoint of before with %d witnesses", n), b, Trust{Checkpoint: []byte(early + strings.Repeat(signatureBy("w", []byte{1, 2, 3, 4}, 64), n))}, want)
	}
	root := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, c := range []struct {
		name, previous string
		want           bool
	}{
		{"the log before", origin + "\n5\n" + root + "\n\n" + signatureBy("fü", []byte{1, 2, 3, 4}, 64), true},
		{"the log before, with a line that is no signature", origin + "\n5\n" + root + "\n\n\u2014 x AAA\n", false},
		{"the log before is none of Telltale's", "foo\n5\n" + root + "\n\n" + signatureBy("foo", []byte{1, 2, 3, 4}, 64), false},
	} {
		begun := newLog(t, 7)
		l := &madeLog{key: begun.key, keys: begun.keys, random: begun.random}
		l.state(&seal.Start{Time: begin, Origin: origin, From: 1, Previous: c.previous})
		l.rows(5)
		l.head(t)
		v.check(c.name, write(t, l.contents()), Trust{Key: l.key.Public}, c.want)
	}
	for _, before := range []string{"", signatureBy(origin, hashOf(t, testKey(t, 7, 0).Public), 64)} {
		l := newLog(t, 7)
		l.rows(5)
		to := testKey(t, 7, 1)
		head := seal.Checkpoint{Size: l.tree.Size(), Root: l.tree.Root()}
		s, err := note.NewSigner(to.Private)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := note.Sign(&note.Note{Text: "telltale hand-over 1\n" + l.key.Public + "\n" + to.Public + head.Text()}, s)
		if err != nil {
			t.Fatal(err)
		}
		l.state(&seal.HandoverLine{Time: begin, Note: string(signed) + before})
		l.key, l.keys = to, append(l.keys, to)
		l.rows(5)
		l.head(t)
		v.check("a hand-over with a wrong signature by the key before: "+before, write(t, l.contents()), Trust{Key: to.Public}, before == "")
	}
}

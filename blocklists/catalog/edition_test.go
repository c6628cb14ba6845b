package catalog

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aead.dev/minisign"
)

// A publisher signs editions.
type publisher struct {
	key    Key
	secret minisign.PrivateKey
}

func newPublisher(t testing.TB) *publisher {
	t.Helper()
	public, secret, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(public.String())
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{key, secret}
}

// sign signs as 'minisign -S' does.
func (p *publisher) sign(packed []byte) []byte {
	r := minisign.NewReader(bytes.NewReader(packed))
	io.Copy(io.Discard, r)
	return r.Sign(p.secret)
}

func (p *publisher) read(packed, signature []byte) (*Edition, error) {
	return ReadEdition(bytes.NewReader(packed), int64(len(packed)), signature, p.key)
}

// acme is a small catalogue, with files in place of, or beside, its own.
func acme(edition string, more map[string]string) fstest.MapFS {
	files := map[string]string{
		"acme.txt": "#@ vendor=Acme tier=telemetry purpose=telemetry claims=states-purpose:acme/list\n" +
			"telemetry.acme.example\nmetrics.acme.example\nlog.acme.example\ncrash.acme.example\n",
		sourcesFile: "acme/list\t2026-11-01\tacme/list\tMIT\thttps://github.com/acme/list/blob/0123456789012345678901234567890123456789/list.txt\n",
		editionFile: edition + "\n",
	}
	maps.Copy(files, more)
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

var today = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func pack(t testing.TB, fsys fs.FS) []byte {
	t.Helper()
	var b bytes.Buffer
	problems, err := Pack(&b, fsys, today)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	return b.Bytes()
}

func TestAnEditionIsReadAsItWasPacked(t *testing.T) {
	p := newPublisher(t)
	if small := acme("2026-11-28", nil); !bytes.Equal(pack(t, small), pack(t, small)) {
		t.Error("the same files make another archive")
	}
	archive := pack(t, FS())
	for what, signature := range map[string][]byte{"minisign -S": p.sign(archive), "minisign -S -l": minisign.Sign(p.secret, archive)} {
		e, err := p.read(archive, signature)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if shipped := Shipped(); e.Name() != shipped.Name() || e.Version() != shipped.Version() || e.IsShipped() {
			t.Errorf("%s: got %s, shipped %v, want %s", what, e, e.IsShipped(), shipped)
		}
	}
	if n := len(archive); n > 2<<20 {
		t.Errorf("the archive has %d octets: everybody fetches it", n)
	}
}

func TestAnEditionWithAMistakeIsNotTakenForReadEntries(t *testing.T) {
	files := acme("2026-11-28", nil)
	for name := range files {
		if strings.HasSuffix(name, ".txt") {
			files[name] = &fstest.MapFile{Data: []byte("||||\n")}
		}
	}
	e := newEdition(files, "2026-11-28")
	for range 2 {
		if c, err := e.Load(); err == nil {
			t.Errorf("got %d entries of a file that cannot be read", len(c.Entries()))
		}
	}
}

func TestWhatIsNotSignedByTheKeyIsNoEdition(t *testing.T) {
	p, other := newPublisher(t), newPublisher(t)
	archive := pack(t, acme("2026-11-28", nil))
	changed := bytes.Clone(archive)
	changed[len(changed)/2] ^= 1
	signature := string(p.sign(archive))
	lines := strings.SplitAfter(signature, "\n")
	for _, c := range []struct {
		what      string
		archive   []byte
		signature string
		want      string
	}{
		{"one octet changed", changed, signature, "its signature does not fit"},
		{"half of it", archive[:len(archive)/2], signature, "its signature does not fit"},
		{"more behind it", append(bytes.Clone(archive), 0), signature, "its signature does not fit"},
		{"another key's", archive, string(other.sign(archive)), "and catalog.key is " + p.key.ID()},
		{"of another edition", archive, string(p.sign(pack(t, acme("2026-11-27", nil)))), "of another edition"},
		{"another comment", archive, lines[0] + lines[1] + "trusted comment: timestamp:1\n" + lines[3], "its signature does not fit"},
		{"no signature", archive, "", "its signature cannot be read"},
		{"a web page", archive, "<!doctype html>\n<html>\n</html>\n\n", "its signature cannot be read"},
		{"half a signature", archive, signature[:len(signature)/2], "its signature cannot be read"},
	} {
		if _, err := p.read(c.archive, []byte(c.signature)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.want)
		}
	}
	for _, text := range []string{"", "abc", other.key.key.String()[1:], "RWQ" + strings.Repeat("A", 200)} {
		if _, err := ParseKey(text); err == nil {
			t.Errorf("%q is taken for a key", text)
		}
	}
}

// archiveOf makes an archive that Pack would not.
func archiveOf(t testing.TB, files ...*zip.FileHeader) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		w, err := z.CreateHeader(f)
		if err != nil {
			t.Fatal(err)
		}
		if f.Comment != "" { // of so many octets
			n := 0
			fmt.Sscan(f.Comment, &n)
			io.CopyN(w, zeros{}, int64(n))
			continue
		}
		io.WriteString(w, "2026-11-28\n")
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAnArchiveLeadsNowhereAndIsBounded(t *testing.T) {
	link := &zip.FileHeader{Name: "link.txt"}
	link.SetMode(fs.ModeSymlink | 0o777)
	many := []*zip.FileHeader{{Name: editionFile}}
	for i := range maxEntries {
		many = append(many, &zip.FileHeader{Name: fmt.Sprintf("a%d.txt", i)})
	}
	lying := archiveOf(t, &zip.FileHeader{Name: editionFile, Method: zip.Deflate}, &zip.FileHeader{Name: "a.txt", Method: zip.Deflate, Comment: "100000"})
	lying = bytes.ReplaceAll(lying, []byte{0xa0, 0x86, 0x01, 0x00}, []byte{0x10, 0, 0, 0}) // says 16 octets, holds 100,000
	for _, c := range []struct {
		what    string
		archive []byte
		want    string
	}{
		{"a way out", archiveOf(t, &zip.FileHeader{Name: editionFile}, &zip.FileHeader{Name: "../../etc/passwd.txt"}), "all files are in the archive itself"},
		{"an absolute path", archiveOf(t, &zip.FileHeader{Name: editionFile}, &zip.FileHeader{Name: "/etc/passwd"}), "all files are in the archive itself"},
		{"a folder", archiveOf(t, &zip.FileHeader{Name: "catalogue/" + editionFile}), "all files are in the archive itself"},
		{"a backslash", archiveOf(t, &zip.FileHeader{Name: editionFile}, &zip.FileHeader{Name: `a\b.txt`}), "all files are in the archive itself"},
		{"a link", archiveOf(t, &zip.FileHeader{Name: editionFile}, link), "link.txt is no regular file"},
		{"a file twice", archiveOf(t, &zip.FileHeader{Name: editionFile}, &zip.FileHeader{Name: "a.txt"}, &zip.FileHeader{Name: "aA.txt"}, &zip.FileHeader{Name: "aa.txt"}), "has two files aa.txt"},
		{"a bomb", archiveOf(t, &zip.FileHeader{Name: editionFile}, &zip.FileHeader{Name: "a.txt", Method: zip.Deflate, Comment: fmt.Sprint(maxText + 1)}), "has more than 67108864 octets"},
		{"too many files", archiveOf(t, many...), "over the limit of 2000"},
		{"no edition", archiveOf(t, &zip.FileHeader{Name: "a.txt"}), "its file edition, which has its name, cannot be read"},
		{"what is no archive", []byte("hello"), "is no archive that 'telltale catalog pack' wrote"},
	} {
		if _, err := unpack(bytes.NewReader(c.archive), int64(len(c.archive))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.want)
		}
	}
	e, err := unpack(bytes.NewReader(lying), int64(len(lying)))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := fs.ReadFile(e.FS(), "a.txt"); err == nil {
		t.Errorf("a file that is longer than its table says is read: %d octets", len(text))
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack(f, acme("2026-11-28", nil)))
	f.Add(archiveOf(f, &zip.FileHeader{Name: editionFile}, &zip.FileHeader{Name: "../a.txt"}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		e, err := unpack(bytes.NewReader(archive), int64(len(archive)))
		if err != nil {
			return
		}
		if checkEditionName(e.Name()) != "" {
			t.Fatalf("an edition is named %q", e.Name())
		}
		total := 0
		names, err := fs.Glob(e.FS(), "*")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") {
				t.Fatalf("a file is named %q", name)
			}
			text, _ := fs.ReadFile(e.FS(), name)
			if total += len(text); total > maxText {
				t.Fatalf("%d octets came of %d", total, len(archive))
			}
		}
	})
}

func TestEditionsAreJudgedByWhatIsInForce(t *testing.T) {
	inForce := newEdition(acme("2026-11-27.2", nil), "2026-11-27.2")
	list := func(names ...string) map[string]string {
		return map[string]string{"acme.txt": "#@ vendor=Acme tier=telemetry purpose=telemetry claims=states-purpose:acme/list\n" + strings.Join(names, ".acme.example\n") + ".acme.example\n"}
	}
	for _, c := range []struct {
		what, name string
		more       map[string]string
		problem    string
		refusal    string
	}{
		{"a later day", "2026-11-28", nil, "", ""},
		{"a later number", "2026-11-27.10", nil, "", ""},
		{"the same", "2026-11-27.2", nil, "", ""},
		{"the same day with another text", "2026-11-27.2", list("telemetry", "metrics", "log", "other"), "has another text", ""},
		{"an earlier number", "2026-11-27.1", nil, "is the edition 2026-11-27.1, older than 2026-11-27.2, which is in force", ""},
		{"no number", "2026-11-27", nil, "older than 2026-11-27.2", ""},
		{"an earlier year", "2025-12-31", nil, "older than", ""},
		{"half as many", "2026-11-28", list("telemetry", "metrics"), "", ""},
		{"less than half", "2026-11-28", list("telemetry"), "", "shrank from 4 entries to 1"},
		{"no blocks any more", "2026-11-28", map[string]string{"acme.txt": "#@ vendor=Acme tier=owner claims=states-purpose:acme/list\n#@ name=a.example\n#@ name=b.example\n#@ name=c.example\n"}, "", "shrank from 4 entries that block to 0"},
		{"a claim without its source", "2026-11-28", map[string]string{sourcesFile: "# lost\n"}, "acme.txt:2: telemetry.acme.example: the source acme/list is not in sources.tsv: add it there", ""},
		{"words of a later program", "2026-11-28", map[string]string{"new.txt": "#@ vendor=New tier=telemetry purpose=mindreading claims=states-purpose:acme/list\nx.new.example\n"},
			"new.txt:2: x.new.example: purpose=mindreading is not in the vocabulary", ""},
		{"a line that is none", "2026-11-28", map[string]string{"new.txt": "%%\n"}, "new.txt:1:", ""},
	} {
		j, err := newEdition(acme(c.name, c.more), c.name).Judge(inForce)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		if (c.problem == "") != (j.Problem == "") || !strings.Contains(j.Problem, c.problem) || j.Refusal != c.refusal {
			t.Errorf("%s: got problem %q, refusal %q, want %q, %q", c.what, j.Problem, j.Refusal, c.problem, c.refusal)
		}
	}
}

func TestWhatIsPackedHasNoMistakes(t *testing.T) {
	for _, c := range []struct {
		what string
		fsys fs.FS
		want string
	}{
		{"no list", fstest.MapFS{editionFile: {Data: []byte("2026-11-28")}}, "*.txt:0: there is no list file"},
		{"no edition", acme("", nil), `edition:1: "" is no name of an edition: write the day`},
		{"a word for an edition", acme("v2", nil), `edition:1: "v2" is no name of an edition`},
		{"a day that there is not", acme("2026-13-01", nil), "is no name of an edition"},
		{"tomorrow, where the sun is earlier", acme("2026-11-29", nil), ""},
		{"a day to come", acme("2026-12-24", nil), "edition:1: 2026-12-24 is in the future"},
		{"a mistake in a list", acme("2026-11-28", map[string]string{sourcesFile: ""}), "acme.txt:2: telemetry.acme.example: the source acme/list is not in sources.tsv"},
		{"a name that cannot be unpacked", acme("2026-11-28", map[string]string{"Ärger.txt": "# nothing\n"}), "Ärger.txt:0: the file's name"},
	} {
		var b bytes.Buffer
		problems, err := Pack(&b, c.fsys, today)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		found := slices.ContainsFunc(problems, func(p Problem) bool { return strings.Contains(p.String(), c.want) })
		if (c.want == "") != (len(problems) == 0) || c.want != "" && !found {
			t.Errorf("%s: got %v, want %q", c.what, problems, c.want)
		}
		if len(problems) > 0 && b.Len() > 0 {
			t.Errorf("%s: an archive is written all the same", c.what)
		}
	}
	if name := Shipped().Name(); checkEditionName(name) != "" {
		t.Errorf("the edition in the program is called %q", name)
	}
	if _, err := os.Stat(editionFile); err != nil {
		t.Error(err)
	}
}

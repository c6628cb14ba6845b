package bundle

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"telltale/querylog/seal"
)

var update = flag.Bool("update", false, "write the example of docs/verify")

const (
	docs    = "../../docs/verify"
	begin   = 1764000000000 // 24 November 2025, 16:00
	minutes = 60_000
)

// A madeLog is a sealed log of a household with two devices.
type madeLog struct {
	key    *seal.Key
	keys   []*seal.Key // that it had, the last is key
	leaves []Leaf
	tree   seal.Tree
	heads  [][]byte // checkpoints on the way
	sizes  []int64
	random *rand.Rand
	change func(line []byte) []byte // of a statement; nil for none
}

func newLog(t testing.TB, seed uint64) *madeLog {
	t.Helper()
	l := &madeLog{random: rand.New(rand.NewPCG(seed, 14))}
	l.key = testKey(t, seed, 0)
	l.keys = []*seal.Key{l.key}
	l.state(&seal.Start{Time: begin, Origin: origin, From: 1})
	return l
}

const origin = "telltale/0123456789abcdef"

// testKey makes a key that is always the same.
func testKey(t testing.TB, seed uint64, n int) *seal.Key {
	t.Helper()
	octets := sha256.Sum256(fmt.Appendf(nil, "key %d %d", seed, n))
	public := ed25519.NewKeyFromSeed(octets[:]).Public().(ed25519.PublicKey)
	key, err := note.NewEd25519VerifierKey(origin, public)
	if err != nil {
		t.Fatal(err)
	}
	hash := strings.Split(key, "+")[1]
	return &seal.Key{Private: "PRIVATE+KEY+" + origin + "+" + hash + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, octets[:]...)), Public: key}
}

func (l *madeLog) add(leaf Leaf) {
	leaf.Hash = seal.LeafHash(&leaf.Salt, leaf.Line)
	l.tree.Add(leaf.Hash)
	l.leaves = append(l.leaves, leaf)
}

func (l *madeLog) salt() (s seal.Salt) {
	for i := range s {
		s[i] = byte(l.random.Uint32())
	}
	return s
}

func (l *madeLog) state(s seal.Statement) {
	line := s.Append(nil)
	if l.change != nil {
		line = l.change(line)
	}
	l.add(Leaf{What: Statement, Line: line})
}

func (l *madeLog) row(r *seal.Row) { l.add(Leaf{What: Row, Salt: l.salt(), Line: r.Append(nil)}) }

func (l *madeLog) event(e *seal.LedgerLine) {
	l.add(Leaf{What: Ledger, Salt: l.salt(), Line: e.Append(nil)})
}

// head signs the head.
func (l *madeLog) head(t testing.TB) []byte {
	t.Helper()
	b, err := sign(l.key, &seal.Checkpoint{Origin: origin, Size: l.tree.Size(), Root: l.tree.Root()})
	if err != nil {
		t.Fatal(err)
	}
	l.heads, l.sizes = append(l.heads, b), append(l.sizes, l.tree.Size())
	return b
}

func sign(k *seal.Key, c *seal.Checkpoint) ([]byte, error) {
	s, err := note.NewSigner(k.Private)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: c.Text()}, s)
}

// rows adds rows of two devices and lines of the ledger.
func (l *madeLog) rows(n int) {
	for range n {
		at := begin + int64(len(l.leaves))*minutes
		id := int64(len(l.leaves))
		if l.random.IntN(12) == 0 {
			l.event(&seal.LedgerLine{ID: id, Node: "home", Time: at, Kind: "upstream-down", Subject: "192.0.2.53", Detail: "it does not answer"})
			continue
		}
		device := []string{"mac:02:00:00:00:00:01", "tv"}[l.random.IntN(2)]
		r := &seal.Row{
			ID: id, Node: "home", First: at, Last: at + 400, Count: uint64(1 + l.random.IntN(40)), Attempts: 1, Device: device, DeviceName: "Anna's \"phone\" ü\u202e",
			Client: []byte("192.168.1.7"), Name: []byte("data.mistat.example"), Type: []uint16{1, 28, 65, 4711}[l.random.IntN(4)], Verdict: "block", Reason: "block", List: "ads", Line: 7,
			Rule: "@@||mistat.example^", Attribution: "rule", AnsweredFrom: "policy", Transport: "udp",
			Annotation: &seal.Annotation{Vendor: "=Example", Purpose: "analytics", Tier: "telemetry", Source: "https://source.example/"},
		}
		l.row(r)
	}
}

// remove deletes the oldest rows that are there, as the log states.
func (l *madeLog) remove(n int) {
	removal := int64(len(l.leaves))
	s := &seal.Removal{Time: begin, Of: seal.KindRow, Why: seal.ByAge}
	for i := range l.leaves {
		if leaf := &l.leaves[i]; leaf.What == Row && int64(n) > s.Count {
			*leaf = Leaf{Hash: leaf.Hash, What: Deleted, Removal: removal}
			s.Count++
			s.IDs = append(s.IDs, [2]int64{int64(i), int64(i)})
		}
	}
	l.state(s)
}

// handOver makes another key sign from here on.
func (l *madeLog) handOver(t testing.TB, seed uint64, vouched bool) {
	t.Helper()
	l.handOverTo(t, testKey(t, seed, len(l.keys)), vouched)
}

func (l *madeLog) handOverTo(t testing.TB, to *seal.Key, vouched bool) {
	t.Helper()
	root := l.tree.Root()
	text := fmt.Sprintf("telltale hand-over 1\n%s\n%s\n%s", l.key.Public, to.Public, (&seal.Checkpoint{Size: l.tree.Size(), Root: root}).Text()[1:])
	var signers []note.Signer
	for _, k := range []*seal.Key{l.key, to} {
		s, err := note.NewSigner(k.Private)
		if err != nil {
			t.Fatal(err)
		}
		if k == to || vouched {
			signers = append(signers, s)
		}
	}
	signed, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	l.state(&seal.HandoverLine{Time: begin, Note: string(signed)})
	l.key = to
	l.keys = append(l.keys, to)
}

// off switches sealing off for two minutes.
func (l *madeLog) off() {
	at := begin + int64(len(l.leaves))*minutes
	l.state(&seal.End{Time: at, From: int64(len(l.leaves))})
	l.state(&seal.Start{Time: at + 2*minutes, Origin: origin, From: int64(len(l.leaves))})
}

// household makes a log with all that a log can have.
func household(t testing.TB, seed uint64) *madeLog {
	t.Helper()
	l := newLog(t, seed)
	l.rows(40)
	l.head(t)
	l.remove(5)
	l.rows(30)
	l.head(t)
	l.off()
	l.handOver(t, seed, true)
	l.rows(30)
	l.head(t)
	return l
}

// contents are those of a bundle of one device and some hours.
func (l *madeLog) contents() *Contents {
	leaves := slices.Clone(l.leaves)
	about := About{Bundle: Format, Program: "telltale test", Made: begin + 120*minutes, Since: begin + 10*minutes, Until: begin + 90*minutes, Device: "tv", Devices: []string{"tv"}, Redacted: true}
	for i := range leaves {
		leaf := &leaves[i]
		if leaf.What != Row {
			continue
		}
		_, row, err := readLine(leaf.Line)
		if err != nil {
			panic(err)
		}
		switch ofTime, ofDevice := about.isOf(row); {
		case !ofTime:
			*leaf = Leaf{Hash: leaf.Hash, What: Outside}
		case !ofDevice:
			*leaf = Leaf{Hash: leaf.Hash, What: Withheld}
		}
	}
	return &Contents{
		About: about, Checkpoint: l.heads[len(l.heads)-1], Key: l.key, Leaves: each(leaves),
		HTML: text("<!doctype html><title>report</title>\n"), Report: text("{}\n"), Lists: text("{}\n"),
	}
}

func each(leaves []Leaf) iter.Seq2[Leaf, error] {
	return func(yield func(Leaf, error) bool) {
		for _, leaf := range leaves {
			if !yield(leaf, nil) {
				return
			}
		}
	}
}

// write writes a bundle and returns its octets.
func write(t testing.TB, c *Contents) []byte {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "bundle.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(f, dir, c); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files are left: %v", left)
	}
	return b
}

func verify(b []byte, trust Trust) (*Result, error) {
	return Verify(bytes.NewReader(b), int64(len(b)), &trust)
}

func TestABundleIsVerified(t *testing.T) {
	l := household(t, 1)
	b := write(t, l.contents())
	for _, c := range []struct {
		name  string
		trust Trust
		known bool
	}{
		{"nothing", Trust{}, false},
		{"the key", Trust{Key: l.key.Public}, true},
		{"the key before", Trust{Key: l.keys[0].Public}, true},
		{"the first checkpoint", Trust{Checkpoint: l.heads[0]}, true},
		{"the second", Trust{Checkpoint: l.heads[1]}, true},
		{"the last", Trust{Checkpoint: l.heads[2]}, true},
		{"both", Trust{Key: l.key.Public, Checkpoint: l.heads[1]}, true},
	} {
		r, err := verify(b, c.trust)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if r.Known != c.known {
			t.Errorf("%s: the key is known: %v", c.name, r.Known)
		}
		var all int64
		for _, n := range r.Counts {
			all += n
		}
		if all != l.tree.Size() || r.Counts[Row] == 0 || r.Counts[Withheld] == 0 || r.Counts[Outside] == 0 || r.Counts[Deleted] != 5 || r.Counts[Ledger] == 0 {
			t.Errorf("%s: leaves %v of %d", c.name, r.Counts, l.tree.Size())
		}
		if len(r.Handovers) != 1 || len(r.Deletions) != 1 || r.Deletions[0] != (Deletion{seal.KindRow, seal.ByAge, 5, 1, l.removal(), l.removal()}) || r.First < r.About.Since || r.Last > r.About.Until+400 {
			t.Errorf("%s: %+v", c.name, r)
		}
		if off := []Off{{begin + 72*minutes, begin + 74*minutes}}; !slices.Equal(r.Off, off) || r.Last > r.About.Made {
			t.Errorf("%s: sealing was off %v, want %v; made %d, the last row %d", c.name, r.Off, off, r.About.Made, r.Last)
		}
	}
	if *update {
		for name, text := range map[string][]byte{"bundle.zip": b, "key": []byte(l.key.Public + "\n"), "checkpoint": l.heads[1]} {
			if err := errors.Join(os.MkdirAll(filepath.Join(docs, "example"), 0o755), os.WriteFile(filepath.Join(docs, "example", name), text, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	old, err := os.ReadFile(filepath.Join(docs, "example", "bundle.zip"))
	if err != nil || !bytes.Equal(old, b) {
		t.Errorf("the example of docs/verify is another: the format has changed; -update writes it (%v)", err)
	}
}

// A bundle that came into the world once is verified by all later versions.
func TestTheExampleIsVerified(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(docs, "example", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r, err := verify(read("bundle.zip"), Trust{Key: strings.TrimSpace(string(read("key"))), Checkpoint: read("checkpoint")})
	if err != nil || !r.Known {
		t.Errorf("%v, %v", r, err)
	}
}

// A batch runs another verifier than this package's.
type batch struct {
	t    testing.TB
	what string
	in   io.WriteCloser
	out  *bufio.Scanner
}

type job struct {
	Path       string `json:"path,omitempty"`
	Line       []byte `json:"line,omitempty"` // instead of a bundle
	Note       []byte `json:"note,omitempty"` // instead of a bundle: a checkpoint, and whether Key has signed it
	Bits       []int  `json:"bits,omitempty"`
	Key        string `json:"key,omitempty"`
	Checkpoint []byte `json:"checkpoint,omitempty"`
}

// startOthers starts verify.py and the console's verifier, those that can run here.
func startOthers(t testing.TB) (all []*batch) {
	t.Helper()
	for _, c := range []struct{ what, program, script, flag string }{
		{"verify.py", "python3", filepath.Join(docs, "test_verify.py"), "--batch"},
		{"the console's verifier", "node", "../../web/ui/e2e/verify_batch.mjs", ""},
	} {
		path, err := exec.LookPath(c.program)
		if err != nil {
			t.Logf("no %s here: %s is not tested", c.program, c.what)
			continue
		}
		all = append(all, startBatch(t, c.what, exec.Command(path, c.script, c.flag)))
	}
	return all
}

func startBatch(t testing.TB, what string, c *exec.Cmd) *batch {
	t.Helper()
	c.Env = append(c.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	})
	v := &batch{t, what, in, bufio.NewScanner(out)}
	v.out.Buffer(nil, 1<<20)
	return v
}

// says returns what the verifier says of a bundle.
func (p *batch) says(j *job) string {
	b, err := json.Marshal(j)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("%s has ended: %v", p.what, p.out.Err())
	}
	return p.out.Text()
}

func TestTheSecondVerifiersOwnTests(t *testing.T) {
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here")
	}
	c := exec.Command(path, filepath.Join(docs, "test_verify.py"))
	c.Env = append(c.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A stranger must be able to read all of it.
func TestTheSecondVerifierIsShort(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(docs, "verify.py"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte("\n")); n > 300 {
		t.Errorf("verify.py has %d lines", n)
	}
}

// All verifiers say the same of each bundle.
type verifiers struct {
	t      testing.TB
	others []*batch
	dir    string
	keep   string // the bundle that the others have read
}

func newVerifiers(t testing.TB) *verifiers {
	return &verifiers{t: t, others: startOthers(t), dir: t.TempDir()}
}

// check wants a bundle verified, or refused.
func (v *verifiers) check(name string, b []byte, trust Trust, want bool) {
	v.t.Helper()
	r, err := verify(b, trust)
	if (err == nil) != want {
		v.t.Errorf("%s: %v", name, err)
	}
	verified := ""
	if err == nil {
		verified = fmt.Sprintf("verified, %d rows before", r.RowsBefore)
	}
	path := filepath.Join(v.dir, fmt.Sprintf("%x.zip", sha256.Sum256(b)))
	if path != v.keep {
		os.Remove(v.keep)
		v.keep = path
		if err := os.WriteFile(path, b, 0o600); err != nil {
			v.t.Fatal(err)
		}
	}
	for _, o := range v.others {
		if got := o.says(&job{Path: path, Key: trust.Key, Checkpoint: trust.Checkpoint}); want && got != verified || !want && !strings.HasPrefix(got, "no: ") {
			v.t.Errorf("%s: %s says: %s, want it verified: %v (%s)", name, o.what, got, want, verified)
		}
	}
}

// The key A was lost, B took over, and A was put back.
func TestAKeyThatWasPutBackIsTrusted(t *testing.T) {
	l := newLog(t, 1)
	l.rows(5)
	l.handOver(t, 1, false)
	l.rows(5)
	l.handOverTo(t, l.keys[0], false)
	l.rows(5)
	l.head(t)
	newVerifiers(t).check("A, B, A", write(t, l.contents()), Trust{Key: l.key.Public}, true)
}

func TestAllVerifiersAgree(t *testing.T) {
	v := newVerifiers(t)
	l := household(t, 1)
	b := write(t, l.contents())
	other := household(t, 2)
	for _, c := range []struct {
		name  string
		trust Trust
		want  bool
	}{
		{"nothing is known", Trust{}, true},
		{"the key", Trust{Key: l.key.Public}, true},
		{"the key before", Trust{Key: l.keys[0].Public}, true},
		{"the first checkpoint", Trust{Checkpoint: l.heads[0]}, true},
		{"the second", Trust{Checkpoint: l.heads[1]}, true},
		{"the last", Trust{Checkpoint: l.heads[2]}, true},
		{"another log's key", Trust{Key: other.key.Public}, false},
		{"another log's checkpoint", Trust{Checkpoint: other.heads[0]}, false},
		{"the right key, another log's checkpoint", Trust{Key: l.key.Public, Checkpoint: other.heads[0]}, false},
		{"no key", Trust{Key: "telltale"}, false},
		{"a key with a mistake", Trust{Key: l.key.Public[:60] + "A" + l.key.Public[61:]}, false},
		{"a checkpoint that is none", Trust{Checkpoint: []byte("hello\n")}, false},
		{"a checkpoint without a signature", Trust{Checkpoint: l.heads[0][:bytes.Index(l.heads[0], []byte("\n\n"))+1]}, false},
		{"a checkpoint whose size was changed", Trust{Checkpoint: bytes.Replace(l.heads[0], []byte("\n41\n"), []byte("\n42\n"), 1)}, false},
	} {
		v.check(c.name, b, c.trust, c.want)
	}
	all := l.contents()
	all.About.Devices, all.Leaves = nil, each(l.leaves)
	all.About.Since, all.About.Until = 1, begin+1000*minutes
	v.check("a bundle of all devices", write(t, all), Trust{Key: l.key.Public}, true)
	all.About.Device, all.About.Program = "<Anna's> \"phone\" & \\ ü\u2028\u007f\u0001\t\n", "\U0001f4f1"
	all.About.Clock, all.About.Coverage = []byte(`{"known":true,"none":{}}`), []byte(`{"gaps":[{"since":-5,"detail":"a < b"},[],""],"share":0.25}`)
	v.check("a bundle with all that is written otherwise in JSON", write(t, all), Trust{Key: l.key.Public}, true)
	between := newLog(t, 7) // a checkpoint between rows that leaves.txt has in one line
	between.rows(8)
	between.head(t)
	between.rows(60)
	between.head(t)
	run := between.contents()
	run.About, run.Leaves = all.About, each(between.leaves)
	b = write(t, run)
	for _, head := range between.heads {
		v.check("a checkpoint between rows", b, Trust{Checkpoint: head}, true)
	}
	if r, err := verify(b, Trust{Checkpoint: between.heads[0]}); err != nil || r.RowsBefore != 8 {
		t.Errorf("%v: %+v, want 8 rows before", err, r)
	}
	early := newLog(t, 1)
	early.rows(40)
	early.head(t)
	if !bytes.Equal(early.heads[0], l.heads[0]) {
		t.Fatal("the same log has another head")
	}
	v.check("a checkpoint that is later than the bundle", write(t, early.contents()), Trust{Checkpoint: l.heads[1]}, false)

	for _, at := range []int64{-1, maxTime} {
		odd := newLog(t, 1)
		odd.state(&seal.End{Time: at, From: 2})
		odd.head(t)
		v.check("sealing ends at a time that cannot be", write(t, odd.contents()), Trust{}, false)
	}

	// A key that signed by itself is vouched for by nobody.
	alone := newLog(t, 1)
	alone.rows(20)
	alone.head(t)
	alone.handOver(t, 1, false)
	alone.rows(20)
	alone.head(t)
	b = write(t, alone.contents())
	v.check("the new key", b, Trust{Key: alone.key.Public}, true)
	v.check("the key before, which has not signed", b, Trust{Key: alone.keys[0].Public}, false)
	v.check("a checkpoint of before", b, Trust{Checkpoint: alone.heads[0]}, false)
	v.check("nothing, with a key that signed by itself", b, Trust{}, true)
}

// A row that somebody had sealed with the log's own key is at its place, with a number of
// before.
func TestARowThatWasPutInLaterIsNamed(t *testing.T) {
	v := newVerifiers(t)
	for _, c := range []struct {
		name     string
		id       int64
		imported string
		off      bool
		want     bool
	}{
		{"the next number", 41, "", false, true},
		{"a number of before", 17, "", false, false},
		{"a number twice", 40, "", false, false},
		{"an imported row", 17, "pihole", false, true},
		{"no number", 0, "", false, false},
		{"a number that is none", 1 << 53, "", false, false},
		{"what was written while sealing was off", 999, "", true, false},
	} {
		l := newLog(t, 1)
		row := seal.Row{First: begin + 20*minutes, Last: begin + 20*minutes, Device: "tv", Name: []byte("data.mistat.example")}
		for row.ID = 1; row.ID <= 40; row.ID++ {
			l.row(&row)
		}
		if c.off {
			l.state(&seal.End{Time: begin, From: 900})
			l.state(&seal.Start{Time: begin, Origin: origin, From: 1000})
		}
		row.ID, row.Imported = c.id, c.imported
		l.row(&row)
		l.head(t)
		b := write(t, l.contents())
		v.check(c.name, b, Trust{Key: l.key.Public}, c.want)
		if _, err := verify(b, Trust{}); !c.want && c.id > 0 && c.id < 1<<53 && !strings.Contains(err.Error(), fmt.Sprintf("leaf %d: row %d was put in later", l.tree.Size()-1, c.id)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What must be a text or a number is one to all verifiers: a list of one text looks like the text to JavaScript, and null
// like nothing to Go.
func TestOtherTypesOfValuesAreRefused(t *testing.T) {
	v := newVerifiers(t)
	for _, c := range []struct{ name, before, after string }{
		{"as they must be", ``, ``},
		{"a hand-over's note in a list", `"note":(".*")`, `"note":[$1]`},
		{"no note", `"note":(".*")`, `"note":null`},
		{"a time that is null", `"time":[0-9]+`, `"time":null`},
		{"the checkpoint of before in a list", `"previous":(".*")`, `"previous":[$1]`},
		{"a number in a list", `"from":([0-9]+)`, `"from":[$1]`},
		{"a number as a text", `"from":([0-9]+)`, `"from":"$1"`},
		{"a number that is true", `"from":([0-9]+)`, `"from":true`},
		{"a number that is null", `"from":([0-9]+)`, `"from":null`},
		{"the last number of a line that is null", `"from":[0-9]+}$`, `"from":null}`},
	} {
		before, changed := newLog(t, 1), regexp.MustCompile(c.before)
		l := &madeLog{key: before.key, keys: before.keys, random: before.random}
		if c.before != "" {
			l.change = func(line []byte) []byte { return changed.ReplaceAll(line, []byte(c.after)) }
		}
		l.state(&seal.Start{Time: begin, Origin: origin, From: 1, Previous: string(before.head(t))})
		l.rows(3)
		l.handOver(t, 1, true)
		l.off()
		l.rows(3)
		l.head(t)
		v.check(c.name, write(t, l.contents()), Trust{Key: l.key.Public}, c.before == "")
	}
}

// Time-stamps of heads of the log are named; those of other logs are not its own, and make it no
// less verified.
func TestTimestampsOfTheLogsHeadsAreNamed(t *testing.T) {
	l, other := household(t, 1), household(t, 2)
	c := l.contents()
	var lines []byte
	for _, s := range []Stamp{
		{Leaves: 41, Note: string(l.heads[0])}, {Leaves: 41, Note: string(other.heads[0])}, {Leaves: 40, Note: string(l.heads[0])}, {Leaves: 41, Note: "hello"},
	} {
		s.Timestamp = []byte("stamp")
		line, err := json.Marshal(&s)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, line...), '\n')
	}
	lines = append(lines, "{\"time\":1,\"answer\":\"seen\"}\nnothing of JSON\n"...)
	c.Witnesses = text(string(lines))
	b := write(t, c)
	newVerifiers(t).check("with time-stamps", b, Trust{Key: l.key.Public}, true)
	r, err := verify(b, Trust{})
	if err != nil || len(r.Stamps) != 1 || r.Stamps[0].Note != string(l.heads[0]) || r.Witnesses != 5 {
		t.Fatalf("%v: %+v, and %d statements", err, r.Stamps, r.Witnesses)
	}
	given, err := verify(b, Trust{Checkpoint: l.heads[0]})
	if err != nil || r.Stamps[0].RowsBefore != given.RowsBefore || given.RowsBefore == 0 {
		t.Errorf("%v: %d rows, want %d", err, r.Stamps[0].RowsBefore, given.RowsBefore)
	}
}

// What a verifier keeps of a bundle that somebody made up does not grow with it.
func TestStatementsWithoutEndAreRefused(t *testing.T) {
	v := newVerifiers(t)
	for _, more := range []int{0, 1} {
		l := newLog(t, 1)
		for range maxOff + more {
			l.state(&seal.End{Time: begin})
		}
		l.head(t)
		v.check("sealing is switched off again and again", write(t, l.contents()), Trust{}, more == 0)
	}
	l := newLog(t, 1)
	for n := range 3 * maxDeletions { // of a log that has more kinds of deletions than ours
		at := int64(len(l.leaves))
		l.add(Leaf{What: Deleted, Removal: at + 1})
		l.state(&seal.Removal{Time: begin, Of: seal.KindRow, Why: fmt.Sprint(n), Count: 1, IDs: [][2]int64{{at, at}}})
	}
	l.head(t)
	r, err := verify(write(t, l.contents()), Trust{})
	if err != nil || len(r.Deletions) != maxDeletions || r.Deletions[maxDeletions-1].Leaves != 2*maxDeletions+1 {
		t.Errorf("%v: %+v", err, r)
	}
}

func TestNoCopyWithAFlippedBitIsVerified(t *testing.T) { flipBits(t, 300) }

// flipBits makes so many copies with one bit flipped at a random place. None may verify.
func flipBits(t *testing.T, n int) {
	l := household(t, 3)
	b := write(t, l.contents())
	path := filepath.Join(t.TempDir(), "bundle.zip")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	others := startOthers(t)
	r := rand.New(rand.NewPCG(3, 3))
	c := bytes.Clone(b)
	for range n {
		bit := r.IntN(8 * len(b))
		c[bit/8] ^= 1 << (bit % 8)
		for _, trust := range []Trust{{Key: l.key.Public}, {}} {
			if _, err := verify(c, trust); err == nil {
				t.Errorf("bit %d: verified", bit)
			}
		}
		c[bit/8] ^= 1 << (bit % 8)
		for _, o := range others {
			if got := o.says(&job{Path: path, Bits: []int{bit}}); !strings.HasPrefix(got, "no: ") {
				t.Errorf("bit %d: %s says: %s", bit, o.what, got)
			}
		}
	}
}

// unpacked is a bundle as somebody has it who wants to change it: they can pack it again
// and write a manifest, and sign with a key of their own.
type unpacked struct {
	names    []string
	contents map[string][]byte
}

func unpack(t testing.TB, b []byte) *unpacked {
	t.Helper()
	all, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	u := &unpacked{contents: map[string][]byte{}}
	for i := 0; i < len(all); i += 2 {
		u.names = append(u.names, all[i])
		u.contents[all[i]] = []byte(all[i+1])
	}
	return u
}

// pack packs it with sums that are right. Where key is nil, the manifest keeps the
// signature that it had.
func (u *unpacked) pack(t testing.TB, key *seal.Key) []byte {
	t.Helper()
	old := string(u.contents[manifestEntry])
	head, signature := strings.SplitAfterN(old, "\n", 3)[:2], old[strings.LastIndex(old, "\n\n"):]
	manifest := strings.Join(head, "")
	var all []string
	for _, name := range u.names {
		if name == manifestEntry {
			continue
		}
		sum := sha256.New()
		sum.Write(u.contents[name])
		manifest += manifestLine(sum, int64(len(u.contents[name])), name)
		all = append(all, name, string(u.contents[name]))
	}
	signed := []byte(manifest + signature[1:])
	if key != nil {
		s, err := note.NewSigner(key.Private)
		if err == nil {
			signed, err = note.Sign(&note.Note{Text: manifest}, s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return pack(t, append(all, manifestEntry, string(signed))...)
}

// changeLines removes, doubles or moves a line of an entry.
func changeLines(r *rand.Rand, b []byte) (what string, changed []byte) {
	lines := bytes.SplitAfter(b, []byte("\n"))
	lines = lines[:len(lines)-1]
	i, j := r.IntN(len(lines)), r.IntN(len(lines))
	switch r.IntN(4) {
	case 0:
		what, lines = "removed", slices.Delete(lines, i, i+1)
	case 1:
		what, lines = "doubled", slices.Insert(lines, i, lines[i])
	case 2:
		what = "exchanged"
		lines[i], lines[j] = lines[j], lines[i]
	default:
		what = "moved"
		line := lines[i]
		lines = slices.Insert(slices.Delete(lines, i, i+1), min(j, len(lines)-1), line)
	}
	return what, bytes.Join(lines, nil)
}

func TestNoBundleWithRowsMovedIsVerified(t *testing.T) { moveLines(t, 25) }

// moveLines makes so many bundles with lines removed, doubled and re-ordered. None may
// verify, whoever packs it again, and were it the owner with the log's key.
func moveLines(t *testing.T, n int) {
	l := household(t, 4)
	b := write(t, l.contents())
	v := newVerifiers(t)
	v.check("packed again as it was", unpack(t, b).pack(t, l.key), Trust{Key: l.key.Public}, true)
	v.check("packed again with the old signature", unpack(t, b).pack(t, nil), Trust{Key: l.key.Public}, true)
	r := rand.New(rand.NewPCG(4, 4))
	for done := 0; done < n; {
		u := unpack(t, b)
		entry := []string{rowsEntry, rowsEntry, ledgerEntry, csvEntry, statementsEntry, accountEntry}[r.IntN(6)]
		what, changed := changeLines(r, u.contents[entry])
		if bytes.Equal(changed, u.contents[entry]) {
			continue
		}
		done++
		u.contents[entry] = changed
		name := fmt.Sprintf("a line of %s %s", entry, what)
		v.check(name+", old signature", u.pack(t, nil), Trust{Key: l.key.Public}, false)
		v.check(name+", signed by the owner", u.pack(t, l.key), Trust{Key: l.key.Public}, false)
		v.check(name+", nothing known", u.pack(t, l.key), Trust{}, false)
	}
}

func TestNoForkIsVerified(t *testing.T) { forkLogs(t, 4) }

// forkLogs makes so many logs that were forked and signed with keys of their own. None may
// verify against the log's keys or an earlier checkpoint.
func forkLogs(t *testing.T, n int) {
	l := household(t, 5)
	v := newVerifiers(t)
	r := rand.New(rand.NewPCG(5, 5))
	for i := range n {
		fork := l.fork(t, uint64(100+i), r)
		b := write(t, fork.contents())
		v.check("a fork by its own key", b, Trust{Key: fork.key.Public}, true)
		v.check("a fork", b, Trust{Key: l.key.Public}, false)
		v.check("a fork, by the first key", b, Trust{Key: l.keys[0].Public}, false)
		v.check("a fork, by a checkpoint", b, Trust{Checkpoint: l.heads[0]}, false)
		v.check("a fork, by a later checkpoint", b, Trust{Checkpoint: l.heads[1]}, false)
	}
}

// fork copies a log up to some leaf, changes what comes from there on, and signs all
// with keys of its own.
func (l *madeLog) fork(t testing.TB, seed uint64, r *rand.Rand) *madeLog {
	f := &madeLog{random: l.random, key: testKey(t, seed, 0)}
	f.keys = []*seal.Key{f.key}
	from := 1 + r.IntN(len(l.leaves)-1)
	for i, leaf := range l.leaves {
		if i >= from && leaf.What == Row && r.IntN(3) == 0 {
			leaf.Line = bytes.Replace(leaf.Line, []byte("mistat"), []byte("nothing"), 1)
		}
		if bytes.HasPrefix(leaf.Line, []byte(`{"handover"`)) {
			f.handOver(t, seed, true)
			continue
		}
		if leaf.What == Deleted {
			f.tree.Add(leaf.Hash)
			f.leaves = append(f.leaves, leaf)
			continue
		}
		f.add(leaf)
	}
	f.head(t)
	return f
}

func TestBadBundlesAreRefused(t *testing.T) {
	l := household(t, 6)
	b := write(t, l.contents())
	v := newVerifiers(t)
	known := Trust{Key: l.key.Public}
	change := func(entry, old, new string) func(u *unpacked) {
		return func(u *unpacked) {
			if !bytes.Contains(u.contents[entry], []byte(old)) {
				t.Fatalf("%s has no %q", entry, old)
			}
			u.contents[entry] = bytes.Replace(u.contents[entry], []byte(old), []byte(new), 1)
		}
	}
	for _, c := range []struct {
		name   string
		change func(u *unpacked)
	}{
		{"a name is another", change(rowsEntry, "mistat", "nothing")},
		{"a key twice in about.json", change(aboutEntry, `"since"`, `"since":1,"since"`)},
		{"another period", change(aboutEntry, fmt.Sprint(int64(begin+10*minutes)), fmt.Sprint(int64(begin+60*minutes)))},
		{"white space behind about.json", func(u *unpacked) { u.contents[aboutEntry] = append(u.contents[aboutEntry], '\n') }},
		{"no line end behind about.json", func(u *unpacked) { u.contents[aboutEntry] = bytes.TrimSpace(u.contents[aboutEntry]) }},
		{"white space in about.json", change(aboutEntry, `"redacted": `, `"redacted":  `)},
		{"another escape in about.json", change(aboutEntry, `"device": "tv"`, `"device": "\u0074v"`)},
		{"half a character in about.json", change(aboutEntry, `"device": "tv"`, `"device": "\ud800"`)},
		{"a character that has an escape in about.json", change(aboutEntry, `"device": "tv"`, `"device": "<"`)},
		{"a key less in about.json", change(aboutEntry, `  "device": "tv",
`, "")},
		{"keys of about.json in another order", change(aboutEntry, `"clock": null,
  "coverage": null`, `"coverage": null,
  "clock": null`)},
		{"a key more in about.json", change(aboutEntry, `"clock"`, `"weather": null,
  "clock"`)},
		{"a number that is a text in about.json", change(aboutEntry, `"bundle": 1`, `"bundle": "1"`)},
		{"a text that is a number in about.json", change(aboutEntry, `"program": "telltale test"`, `"program": 1`)},
		{"another device", change(aboutEntry, `"tv"
  ]`, `"radio"
  ]`)},
		{"a newer version", change(manifestEntry, "telltale bundle 1", "telltale bundle 2")},
		{"no version", change(manifestEntry, "telltale bundle 1", "telltale bundle x")},
		{"an entry more", func(u *unpacked) {
			u.names = slices.Insert(u.names, 3, "more.txt")
			u.contents["more.txt"] = []byte("hello")
		}},
		{"an entry less", func(u *unpacked) { u.names = slices.Delete(u.names, 3, 4) }},
		{"entries exchanged", func(u *unpacked) { u.names[3], u.names[4] = u.names[4], u.names[3] }},
		{"leaves said to be withheld that were deleted", change(accountEntry, fmt.Sprintf("deleted %d", l.removal()), "withheld")},
		{"devices that are no list", change(aboutEntry, `[
    "tv"
  ]`, "null")},
		{"a device that is a number", change(aboutEntry, `    "tv"
  ]`, `    "tv",
    5
  ]`)},
		{"leaves more", func(u *unpacked) { u.contents[leavesEntry] = append(u.contents[leavesEntry], make([]byte, 32)...) }},
		{"a part of a leaf more", func(u *unpacked) { u.contents[leavesEntry] = append(u.contents[leavesEntry], 1) }},
		{"a leaf less", func(u *unpacked) {
			u.contents[leavesEntry] = u.contents[leavesEntry][:len(u.contents[leavesEntry])-32]
		}},
		{"a leaf of another line", func(u *unpacked) { u.contents[leavesEntry][33]++ }},
		{"no end of the last line", func(u *unpacked) {
			u.contents[rowsEntry] = bytes.TrimSuffix(u.contents[rowsEntry], []byte("\n"))
		}},
		{"an empty line", func(u *unpacked) { u.contents[rowsEntry] = append(u.contents[rowsEntry], '\n') }},
		{"another key in key.txt", func(u *unpacked) { u.contents[keyEntry] = []byte(l.keys[0].Public + "\n") }},
		{"an earlier checkpoint", func(u *unpacked) { u.contents[checkpointEntry] = l.heads[0] }},
		{"rows without their CSV", func(u *unpacked) { u.contents[csvEntry] = nil }},
	} {
		u := unpack(t, b)
		c.change(u)
		if strings.HasPrefix(c.name, "leaves said") { // which no verifier can know
			v.check(c.name, u.pack(t, l.key), known, true)
			continue
		}
		packed := u.pack(t, l.key)
		v.check(c.name, packed, known, false)
		v.check(c.name+", nothing known", packed, Trust{}, false)
	}

	// Leaves that no removal accounts for cannot be said to be deleted.
	c := l.contents()
	leaves := slices.Clone(l.leaves)
	for i := range leaves {
		if leaves[i].What == Row {
			leaves[i] = Leaf{Hash: leaves[i].Hash, What: Deleted, Removal: l.removal()}
			if int64(i) > l.removal() {
				leaves[i].Removal = int64(len(leaves)) - 1
			}
		}
	}
	c.Leaves = each(leaves)
	v.check("more deleted than the log states", write(t, c), known, false)
}

// removal is the leaf of the log's first removal.
func (l *madeLog) removal() int64 {
	return int64(slices.IndexFunc(l.leaves, func(leaf Leaf) bool { return bytes.HasPrefix(leaf.Line, []byte(`{"removal"`)) }))
}

func TestANewerBundleIsCalledSo(t *testing.T) {
	l := household(t, 7)
	u := unpack(t, write(t, l.contents()))
	u.names = append(u.names[:3:3], "more.txt", manifestEntry)
	u.contents["more.txt"] = nil
	u.contents[manifestEntry] = bytes.Replace(u.contents[manifestEntry], []byte("bundle 1"), []byte("bundle 2"), 1)
	if _, err := verify(u.pack(t, l.key), Trust{}); !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
}

func TestALogThatIsNotWhatItsHeadSaysIsNotWritten(t *testing.T) {
	l := household(t, 8)
	for name, change := range map[string]func(c *Contents){
		"an earlier checkpoint": func(c *Contents) { c.Checkpoint = l.heads[0] },
		"a line changed": func(c *Contents) {
			leaves := slices.Clone(l.leaves)
			i := slices.IndexFunc(leaves, func(leaf Leaf) bool { return leaf.What == Row })
			leaves[i].Line = bytes.Replace(leaves[i].Line, []byte("mistat"), []byte("nothing"), 1)
			c.Leaves = each(leaves)
		},
		"a leaf less": func(c *Contents) { c.Leaves = each(l.leaves[:len(l.leaves)-1]) },
		"a log that cannot be read": func(c *Contents) {
			c.Leaves = func(yield func(Leaf, error) bool) { yield(Leaf{}, io.ErrUnexpectedEOF) }
		},
		"a full disk": func(c *Contents) { c.HTML = func(io.Writer) error { return io.ErrShortWrite } },
	} {
		c := l.contents()
		change(c)
		dir := t.TempDir()
		f, err := os.Create(filepath.Join(dir, "bundle.zip"))
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(f, dir, c); err == nil {
			t.Errorf("%s: a bundle is written", name)
		}
		f.Close()
	}
}

// Whatever stands in a bundle, verifying ends without a panic; what is verified is what
// was written.
func FuzzVerify(f *testing.F) {
	l := household(f, 9)
	b := write(f, l.contents())
	f.Add(uint32(0), []byte{}, uint8(255))
	f.Add(uint32(40), []byte(`{"leaf":1,`), uint8(11))
	f.Add(uint32(0), []byte("0 1 row\n"), uint8(13))
	f.Add(uint32(0), []byte("telltale hand-over 1\n"), uint8(9))
	f.Fuzz(func(t *testing.T, at uint32, put []byte, entry uint8) {
		u := unpack(t, b)
		if int(entry) < len(entryNames)-1 {
			have := u.contents[entryNames[entry]]
			i := int(at) % (len(have) + 1)
			u.contents[entryNames[entry]] = append(bytes.Clone(have[:i]), append(put, have[min(len(have), i+len(put)):]...)...)
		}
		packed := u.pack(t, l.key)
		_, err := verify(packed, Trust{Key: l.key.Public})
		free := []string{readmeEntry, listsEntry, bindingsEntry, htmlEntry, reportEntry, witnessesEntry, aboutEntry}
		if err == nil && !bytes.Equal(packed, b) && int(entry) < len(entryNames) && !slices.Contains(free, entryNames[entry]) {
			t.Errorf("%s may be changed", entryNames[entry])
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	l := newLog(b, 10)
	l.rows(20_000)
	l.head(b)
	packed := write(b, l.contents())
	b.SetBytes(int64(len(packed)))
	for b.Loop() {
		if _, err := verify(packed, Trust{Key: l.key.Public}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(binary.Size(packed))/20_000, "octets/leaf")
}

// A name in a bundle is that of a file beside the others, whatever unpacks it.
func TestNamesOfEntries(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, ".": false, "..": false, ".x": false, "x": true, "report.html": true, "a..b": true, "A-z_9.json": true, "a/b": false, "/a": false, `a\b`: false,
		"a b": false, "a:b": false, "ä": false, "a\x00": false, strings.Repeat("x", maxName): true, strings.Repeat("x", maxName+1): false, "." + strings.Repeat("x", maxName+1): false,
	} {
		if got := isName(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

package peerlogs

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is when tests read logs.
var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

var berlin = time.FixedZone("UTC+1", 3600)

func options(format string) Options { return Options{Format: format, Zone: berlin, Now: now} }

// write writes a log that was last changed at now.
func write(t testing.TB, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, now, now); err != nil {
		t.Fatal(err)
	}
	return path
}

// show is a lookup as golden files have it, without what is empty.
func show(l *Lookup) string {
	s := fmt.Sprintf("%d %s %s", l.Position, l.Place, l.Time.UTC().Format("2006-01-02T15:04:05.000Z"))
	add := func(key, value string) {
		if value != "" {
			s += " " + key + "=" + fmt.Sprintf("%q", value)
		}
	}
	if l.Client.IsValid() {
		add("client", l.Client.String())
	}
	add("id", l.ClientID)
	add("called", l.ClientName)
	add("name", l.Name.String())
	add("type", fmt.Sprint(l.Type))
	add("verdict", []string{"", "allowed", "blocked", "answered", "not known"}[l.Verdict])
	add("rule", l.Rule)
	if l.Alias.Labels() > 0 {
		add("alias", l.Alias.String())
	}
	if l.Rcode >= 0 {
		add("rcode", fmt.Sprint(l.Rcode))
	}
	add("source", []string{"", "policy", "cache", "upstream", "error", "stale"}[l.Source])
	add("transport", []string{"", "udp", "tcp", "tls", "https", "quic"}[l.Transport])
	if l.Elapsed > 0 {
		add("elapsed", l.Elapsed.String())
	}
	add("upstream", l.Upstream)
	return s
}

// read reads a log to its end: its lookups, and what is no lookup, a line each.
func read(t testing.TB, l Log) (all []string) {
	t.Helper()
	for {
		u, err := l.Next()
		var bad *BadRecord
		switch {
		case err == io.EOF:
			for _, n := range l.Notes() {
				all = append(all, "note: "+n)
			}
			return all
		case errors.As(err, &bad):
			all = append(all, "bad: "+err.Error())
		case err != nil:
			return append(all, "error: "+err.Error())
		default:
			all = append(all, show(u))
		}
	}
}

func readFile(t testing.TB, path string, o Options) []string {
	t.Helper()
	l, err := Open(path, o)
	if err != nil {
		return []string{"error: " + err.Error()}
	}
	defer l.Close()
	return append([]string{"format: " + l.Format().Name}, read(t, l)...)
}

// Each sample is read as its golden file says. Their text is made up by us, in the form
// of the programs' sources.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".golden") || strings.HasSuffix(file, "fuzz") {
			continue
		}
		n++
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(file)
			if strings.HasSuffix(name, ".sql") {
				text, name = database(t, string(text)), "pihole-FTL.db"
			}
			got := strings.Join(readFile(t, write(t, name, text), options("")), "\n") + "\n"
			golden := file + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
	if n < 9 {
		t.Errorf("there are %d samples", n)
	}
}

// database returns a database that statements make.
func database(t testing.TB, sql string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "made.db")
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Exec(sql), c.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Of a log that was cut anywhere, the lookups are the first of those of the whole, with
// the same positions and sums: so a longer version adds the rest.
func TestALongerLogBeginsAsTheShorterOne(t *testing.T) {
	for _, name := range []string{"adguard.json", "dnsmasq.log", "dnsmasq-extra.log", "clients.dnstap", "loopback.pcap", "mixed.pcapng"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/" + name)
			if err != nil {
				t.Fatal(err)
			}
			format := map[string]string{".json": "adguard-home", ".log": "dnsmasq", ".dnstap": "dnstap", ".pcap": "capture", ".pcapng": "capture"}[filepath.Ext(name)]
			whole := prints(t, text, format)
			if len(whole) < 4 {
				t.Fatalf("the sample has %d lookups", len(whole))
			}
			for cut := 1; cut < len(text); cut += 1 + len(text)/150 {
				part := prints(t, text[:cut], format)
				if len(part) > len(whole) {
					t.Fatalf("cut at %d: %d lookups, and the whole has %d", cut, len(part), len(whole))
				}
				for i := range part {
					if part[i] != whole[i] {
						t.Fatalf("cut at %d: got %s, want %s", cut, part[i], whole[i])
					}
				}
			}
		})
	}
}

// prints returns what identifies each lookup of a log, bad ones left out.
func prints(t testing.TB, text []byte, format string) (all []string) {
	t.Helper()
	l, err := Open(write(t, "log", text), options(format))
	if err != nil {
		return nil
	}
	defer l.Close()
	for {
		u, err := l.Next()
		var bad *BadRecord
		switch {
		case errors.As(err, &bad):
		case err != nil:
			return all
		default:
			all = append(all, fmt.Sprintf("%s %d %s %s %s %s %s", l.Key(), u.Position, l.Sum(), u.Time, u.Client, u.Name.String(), u.Place))
		}
	}
}

func TestAPackedLogIsTheSame(t *testing.T) {
	text, err := os.ReadFile("testdata/dnsmasq.log")
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(text)
	z.Close()
	got, want := prints(t, packed.Bytes(), ""), prints(t, text, "")
	if len(got) == 0 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What is no log is said to be none, by what it is.
func TestWhatIsNoLog(t *testing.T) {
	foreign := database(t, `CREATE TABLE moz_places (id INTEGER PRIMARY KEY, url TEXT); INSERT INTO moz_places VALUES (1, 'x')`)
	pihole, err := os.ReadFile("testdata/pihole-6.sql")
	if err != nil {
		t.Fatal(err)
	}
	whole := database(t, string(pihole))
	for _, c := range []struct{ name, text, format, want string }{
		{"querylog.json", "", "", "the file is empty"},
		{"querylog.json", "\x7fELF\x02\x01\x01\x00\x00\x00", "", "it is binary"},
		{"querylog.json", "hello\nworld\n", "", "formats are adguard-home"},
		{"querylog.json", "hello\n", "binder", `there is no format "binder"`},
		{"places.db", string(foreign), "", "not one of Pi-hole"},
		{"pihole-FTL.db", string(whole[:len(whole)/2]), "", "damaged or cut off"},
		{"pihole-FTL.db", "SQLite format 3\x00 and no more of it", "", "damaged or cut off"},
		{"x.dnstap", "\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x04text", "", "not of dnstap"},
		{"x.gz", "\x1f\x8b and no more", "", "gzip"},
	} {
		got := strings.Join(readFile(t, write(t, c.name, []byte(c.text)), options(c.format)), "\n")
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s, want %q in it", c.name, got, c.want)
		}
	}
}

// A line that is no lookup is named, and all others are read.
func TestBadLinesAreNamed(t *testing.T) {
	good := `{"T":"2026-11-19T10:00:00Z","QH":"shop.example","QT":"A","QC":"IN","CP":"","Upstream":"192.0.2.53:53","IP":"192.168.1.7","Result":{},"Elapsed":12000000}`
	for _, c := range []struct{ line, want string }{
		{`{"T":"2026-11-19T10:00:00Z","QH":"shop.exam`, "line 2: this is no line"},
		{"\x00\x01\x02 binary", "line 2: this is no line"},
		{strings.Replace(good, "2026-11-19", "1970-01-01", 1), "line 2: 1970-01-01T10:00:00Z is before 1990"},
		{strings.Replace(good, "2026-11-19", "2031-11-19", 1), "line 2: 2031-11-19T10:00:00Z is still to come"},
		{strings.Replace(good, "shop.example", "a..b", 1), `line 2: "a..b" is no domain name`},
		{strings.Replace(good, `"QT":"A"`, `"QT":"WHAT"`, 1), `line 2: "WHAT" is no record type`},
		{strings.Replace(good, "192.168.1.7", "somebody", 1), `line 2: "somebody" is no address`},
		{`{"T":"2026-11-19T10:00:00Z","QH":"` + strings.Repeat("x", lineMost) + `"}`, "line 2: the line is longer than"},
	} {
		got := readFile(t, write(t, "querylog.json", []byte(good+"\n"+c.line+"\n"+good+"\n")), options(""))
		if len(got) != 4 || !strings.HasPrefix(got[1], "1 line 1 ") || !strings.HasPrefix(got[2], "bad: "+c.want) || !strings.Contains(got[3], " line 3 ") {
			t.Errorf("got %q, want a bad line %q between two lookups", got, c.want)
		}
	}
}

// A row with a quote that is not closed, and one that is too long, are a line each: those
// behind are read.
func TestBadRowsAreNamed(t *testing.T) {
	head := "RowNumber,Timestamp,ClientIpAddress,Protocol,ResponseType,ResponseRtt,RCODE,Domain,Type,Class,Answer\n"
	good := "1,2026-11-19T09:00:00Z,192.168.1.7,Udp,Recursive,12.5,NoError,shop.example,A,IN,192.0.2.1"
	for _, c := range []struct{ line, want string }{
		{`2,"2026-11-19T09:00:00Z,192.168.1.7,Udp`, "line 3: it has 2 fields"},
		{strings.Repeat("x", lineMost+1), "line 3: the line is longer than"},
	} {
		got := readFile(t, write(t, "log.csv", []byte(head+good+"\n"+c.line+"\n\n"+good)), options(""))
		if len(got) != 4 || !strings.Contains(got[1], " line 2 ") || !strings.HasPrefix(got[2], "bad: "+c.want) || !strings.Contains(got[3], " line 5 ") {
			t.Errorf("got %.300q, want a bad line %q between two lookups", got, c.want)
		}
		if got := readFile(t, write(t, "log.csv", []byte(head+good+"\n"+c.line)), options("")); len(got) != 3 || !strings.HasPrefix(got[2], "bad: "+c.want) {
			t.Errorf("got %.300q, want a bad line %q at the end", got, c.want)
		}
	}
}

// A name with octets that control a terminal is one name, escaped.
func TestNamesWithControlCharacters(t *testing.T) {
	line := `{"T":"2026-11-19T10:00:00Z","QH":"a\u001b[31m.example","QT":"A","QC":"IN","IP":"192.168.1.7","Result":{}}` + "\n"
	l, err := Open(write(t, "querylog.json", []byte(line)), options(""))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := l.Next()
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Name.String(); strings.ContainsRune(got, 0x1b) || !strings.Contains(got, `\027`) {
		t.Errorf("got %q", got)
	}
}

// A database that another program has locked is said to be locked, and read when it is
// free again: without a write-ahead log nothing else tells that it is being written.
func TestALockedDatabase(t *testing.T) {
	text, err := os.ReadFile("testdata/pihole-5.sql")
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, "pihole-FTL.db", database(t, string(text)))
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(`PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE`); err != nil {
		t.Fatal(err)
	}
	o := options("")
	o.lockWait = time.Millisecond
	got := strings.Join(readFile(t, path, o), "\n")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, "has the database locked") {
		t.Errorf("got %s", got)
	}
	if got := readFile(t, path, options("")); len(got) < 5 {
		t.Errorf("got %q once it is free", got)
	}
}

// A database whose writer died amid a change is not read as if that were whole.
func TestADatabaseWithAHotJournal(t *testing.T) {
	text, err := os.ReadFile("testdata/pihole-5.sql")
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, "pihole-FTL.db", database(t, string(text)))
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(`PRAGMA cache_size = 1; BEGIN; CREATE TABLE more AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT i, zeroblob(1000) FROM n; DELETE FROM queries`); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "pihole-FTL.db")
	for _, beside := range []string{"", "-journal"} {
		b, err := os.ReadFile(path + beside)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+beside, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(readFile(t, copied, options("")), "\n"); !strings.Contains(got, "was broken off") {
		t.Errorf("got %s", got)
	}
}

// A database with a write-ahead log that nobody has open is read without a file beside it,
// as its directory may be another's.
func TestAClosedDatabaseWithAWriteAheadLog(t *testing.T) {
	text, err := os.ReadFile("testdata/pihole-5.sql")
	if err != nil {
		t.Fatal(err)
	}
	b := database(t, string(text))
	b[18], b[19] = 2, 2
	path := write(t, "pihole-FTL.db", b)
	l, err := Open(path, options(""))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := read(t, l); len(got) < 4 {
		t.Errorf("got %q", got)
	}
	if beside, err := os.ReadDir(filepath.Dir(path)); err != nil || len(beside) != 1 {
		t.Errorf("beside it there are %v, %v", beside, err)
	}
}

// A database goes on behind a position, and a newer version of it says so.
func TestADatabaseGoesOn(t *testing.T) {
	text, err := os.ReadFile("testdata/pihole-6.sql")
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, "pihole-FTL.db", database(t, string(text)+"UPDATE ftl SET value = 99 WHERE id = 0;"))
	l, err := Open(path, options(""))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	whole := read(t, l)
	second := strings.Fields(whole[1])[0]
	var position int64
	fmt.Sscan(strings.Fields(whole[0])[0], &position)
	if err := l.(interface{ After(int64) error }).After(position); err != nil {
		t.Fatal(err)
	}
	rest := read(t, l)
	if len(rest) != len(whole)-1 || strings.Fields(rest[0])[0] != second {
		t.Errorf("got %q behind %d of %q", rest, position, whole)
	}
	if last := whole[len(whole)-1]; !strings.Contains(last, "version 99") {
		t.Errorf("got the note %q", last)
	}
}

// fuzz checks what holds for any file: it is read to its end, positions ascend, and a log
// that is cut begins alike.
func fuzz(f *testing.F, format string, chained bool, samples ...string) {
	for _, s := range samples {
		text, err := os.ReadFile("testdata/" + s)
		if err != nil {
			f.Fatal(err)
		}
		if strings.HasSuffix(s, ".sql") {
			text = database(f, string(text))
		}
		f.Add(text, uint16(len(text)/2))
	}
	f.Fuzz(func(t *testing.T, text []byte, at uint16) {
		if len(text) > 1<<18 {
			return
		}
		l, err := Open(write(t, "log", text), options(format))
		if err != nil {
			return
		}
		last := int64(-1)
		for n := 0; n < 1<<20; n++ {
			u, err := l.Next()
			var bad *BadRecord
			if errors.As(err, &bad) {
				continue
			}
			if err != nil {
				break
			}
			if u.Position < last || chained && u.Position == last || u.Time.Before(oldest) || u.Time.After(now.Add(future)) || len(u.Name.Wire()) == 0 {
				t.Fatalf("got %s behind position %d", show(u), last)
			}
			last = u.Position
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if !chained {
			return
		}
		whole, part := prints(t, text, format), prints(t, text[:min(int(at), len(text))], format)
		for i := range part {
			if i >= len(whole) || part[i] != whole[i] {
				t.Fatalf("cut at %d: got %s as lookup %d of %d", at, part[i], i, len(whole))
			}
		}
	})
}

func FuzzAdGuardHome(f *testing.F) { fuzz(f, "adguard-home", true, "adguard.json") }
func FuzzDnsmasq(f *testing.F) {
	fuzz(f, "dnsmasq", true, "dnsmasq.log", "dnsmasq-extra.log", "pihole.log", "openwrt.log")
}
func FuzzDnstap(f *testing.F)     { fuzz(f, "dnstap", true, "clients.dnstap") }
func FuzzTechnitium(f *testing.F) { fuzz(f, "technitium", false, "technitium.csv") }
func FuzzNextDNS(f *testing.F)    { fuzz(f, "nextdns", false, "nextdns.csv") }
func FuzzPihole(f *testing.F)     { fuzz(f, "pi-hole", false, "pihole-6.sql") }

// What waits for its answer is bounded in octets, too: a log may be made for nothing else.
func TestWhatWaitsIsBounded(t *testing.T) {
	var text strings.Builder
	const lines = 20
	for i := range lines {
		fmt.Fprintf(&text, "Nov 19 10:00:00 dnsmasq[7]: query[A] n%d.example from 192.168.1.7%s\n", i, strings.Repeat(" ", lineMost-100))
	}
	l, err := Open(write(t, "dnsmasq.log", []byte(text.String())), options(""))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for n := range lines {
		if _, err := l.Next(); err != nil {
			t.Fatalf("lookup %d: %v", n, err)
		}
		if held := l.(*dnsmasqLog).held; held > mostHeld {
			t.Fatalf("%d octets wait behind lookup %d", held, n)
		}
	}
	if _, err := l.Next(); err != io.EOF || l.(*dnsmasqLog).held != 0 {
		t.Errorf("got %v at the end, and %d octets that wait", err, l.(*dnsmasqLog).held)
	}
}

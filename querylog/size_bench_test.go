//go:build unix

package querylog

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/devices"
	"telltale/dnswire"
)

// A sizeHome makes up the rows of a household of 25 devices, by a seed: each asks for
// names of its own, of which few are frequent, and for those of the whole home.
type sizeHome struct {
	rng     *rand.Rand
	devices []*devices.Binding
	general []sizeName // of no vendor
	listed  []sizeName
	common  *rand.Zipf // of general
	often   *rand.Zipf // of a device's listed names
	share   int        // of 100 rows, those of listed names
	entry   entry

	lookups, rowsListed int
}

type sizeName struct {
	text       string
	wire       []byte
	annotation *format.Annotation
}

const (
	sizeDevices   = 25
	sizeGeneral   = 20_000 // names
	sizeListed    = 1_000
	sizeOfDevice  = 60 // listed names that a device asks for
	sizeWindow    = 60 // seconds
	sizeVendors   = 40
	sizeFirstTime = 1_760_000_000 // Unix seconds
)

// sizeStart is when the first of so many rows is.
func sizeStart(rows int) int64 {
	if os.Getenv("QUERYLOG_SIZE_NOW") == "" {
		return sizeFirstTime
	}
	perWindow := sizeRowsOfDay * sizeWindow / 86_400
	return (time.Now().Unix()/sizeWindow - int64(rows/perWindow) - 10) * sizeWindow
}

func newSizeHome(share int) *sizeHome {
	h := &sizeHome{rng: rand.New(rand.NewPCG(4, 2)), share: share}
	name := func(text string) []byte {
		n, err := dnswire.ParseName(text)
		if err != nil {
			panic(err)
		}
		return n.Wire()
	}
	for i := range sizeDevices {
		mac := fmt.Sprintf("02:00:00:00:00:%02x", i)
		h.devices = append(h.devices, &devices.Binding{ID: uint64(i + 1), Device: "mac:" + mac, Name: fmt.Sprintf("device %d", i), MAC: mac, Addr: netip.AddrFrom4([4]byte{192, 168, 1, byte(i + 10)}),
			Source: devices.Neighbour, Confidence: devices.High, From: time.Unix(sizeFirstTime, 0)})
	}
	for i := range sizeGeneral {
		text := fmt.Sprintf("edge%d.some-service%d.example.net", i, i%700)
		h.general = append(h.general, sizeName{text, name(text), nil})
	}
	purposes := []string{"analytics", "advertising", "crash-reports", "updates"}
	for i := range sizeListed {
		v, kind := i%sizeVendors, i/sizeVendors%4
		text := fmt.Sprintf("metrics%d.vendor%d.example", i, v)
		h.listed = append(h.listed, sizeName{text, name(text), &format.Annotation{
			Vendor: fmt.Sprintf("Vendor %d", v), Product: fmt.Sprintf("Product %d", kind%2), Purpose: purposes[kind], Tier: []string{"telemetry", "telemetry", "telemetry", "mixed"}[kind],
			Source: fmt.Sprintf("https://vendor%d.example/privacy", v), Confidence: "vendor-documents",
		}})
	}
	h.common, h.often = rand.NewZipf(h.rng, 1.1, 4, sizeGeneral-1), rand.NewZipf(h.rng, 1.2, 3, sizeOfDevice-1)
	return h
}

// window returns so many rows of the seconds from at on.
func (h *sizeHome) window(at int64, rows int) iter.Seq2[int, *entry] {
	return func(yield func(int, *entry) bool) {
		for i := range rows {
			d := h.rng.IntN(len(h.devices))
			e := &h.entry
			*e = entry{Count: 1, Attempts: 1, First: at*1000 + int64(h.rng.IntN(sizeWindow*1000)), Elapsed: 100 + uint32(h.rng.IntN(30_000)), TTL: uint32(h.rng.IntN(3600)),
				Addr: h.devices[d].Addr, Binding: h.devices[d], Type: []uint16{dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypeHTTPS}[h.rng.IntN(3)], Source: FromUpstream, Transport: UDP, Upstream: "one"}
			e.Last = e.First
			for e.Count < 8 && h.rng.IntN(3) == 0 { // lookups that come again within the window
				e.Count++
				e.Last = min(e.Last+int64(h.rng.IntN(2_000)), (at+sizeWindow)*1000-1)
			}
			if h.rng.IntN(100) < h.share {
				k := int(h.often.Uint64()) // names of three vendors
				at := (d*3+k%3)%sizeVendors + k/3*sizeVendors
				n := &h.listed[at]
				e.Name, e.Annotation, e.Level, e.Action, e.Source, e.Upstream = n.wire, n.annotation, blocklists.ByRule, blocklists.Block, FromPolicy, ""
				e.Rule = ruleText{"telemetry", 1 + at, n.text}
				e.Attr = e.Rule
				e.Class = blocklists.ListBlock
				h.rowsListed++
			} else {
				e.Name = h.general[h.common.Uint64()].wire
			}
			h.lookups += int(e.Count)
			if !yield(i, e) {
				return
			}
		}
	}
}

// A sizeTrial is a store that grows, and what is found out of it.
type sizeTrial struct {
	b    *testing.B
	home *sizeHome
	dir  string
	s    *store
	at   int64 // seconds
	rows int
	run  retentionRun
}

// sizeRowsOfDay is how many rows a day has.
const sizeRowsOfDay = 222_222

// BenchmarkStoreAtSize is what a store of so many rows takes and how soon it answers, beside
// the lookups of these rows in Pi-hole's schema, in the sqlite3 that is installed, and in
// AdGuard Home's lines. QUERYLOG_ROWS says how many, QUERYLOG_SIZE_DIR where, and QUERYLOG_SIZE_NOW
// that they are to be of the time up to now.
func BenchmarkStoreAtSize(b *testing.B) {
	rows := 200_000
	if n, err := strconv.Atoi(os.Getenv("QUERYLOG_ROWS")); err == nil {
		rows = n
	}
	root := cmp.Or(os.Getenv("QUERYLOG_SIZE_DIR"), b.TempDir())
	t := &sizeTrial{b: b, home: newSizeHome(20), dir: filepath.Join(root, "telltale"), at: sizeStart(rows)}
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		b.Fatal(err)
	}
	var err error
	if t.s, err = openStore(t.dir); err != nil {
		b.Fatal(err)
	}
	size := int64(0)
	figures := map[string]float64{}
	b.Run("store", func(b *testing.B) {
		if t.rows > 0 {
			t.report(b, figures)
			return // once is enough
		}
		part := min(rows/4, 200_000)
		first := t.fill(part)
		t.fill(rows - 2*part)
		last := t.fill(part)
		begun, longest := cpu(), time.Duration(0)
		for more := true; more; {
			step := cpu()
			if more, err = t.s.sumStep(1_000, math.MaxInt64); err != nil {
				b.Fatal(err)
			}
			longest = max(longest, cpu()-step)
		}
		summed := cpu() - begun
		begun, sets, longestSet := cpu(), 0, time.Duration(0)
		for more := true; more; sets++ {
			step := cpu()
			if more, err = t.s.nameSetStep(); err != nil {
				b.Fatal(err)
			}
			longestSet = max(longestSet, cpu()-step)
		}
		setsMade := cpu() - begun
		octets, err := t.s.number(`SELECT (SELECT coalesce(sum(length(bits)), 0) FROM listed_set) + (SELECT coalesce(sum(length(bits)), 0) FROM unlisted_set)`)
		if err != nil {
			b.Fatal(err)
		}
		if size, err = t.s.size(); err != nil {
			b.Fatal(err)
		}
		figures = map[string]float64{
			"rows": float64(t.rows), "lookups/row": float64(t.home.lookups) / float64(t.rows), "B/row": float64(size) / float64(t.rows),
			"cpu-ns/first-row": first, "cpu-ns/last-row": last, "last/first": last / first,
			"cpu-ns/listed-row-summed": float64(summed) / float64(t.home.rowsListed), "cpu-ms/longest-sum": float64(longest) / 1e6,
			"B-of-sets/row": float64(octets) / float64(t.rows), "cpu-ms/set": float64(setsMade) / float64(sets) / 1e6, "cpu-ms/longest-set": float64(longestSet) / 1e6,
		}
		t.report(b, figures)
	})
	defer t.s.close()
	for _, q := range sizeQuestions(t.at) {
		b.Run("ask-"+q.what, func(b *testing.B) { t.ask(b, &q) })
	}
	b.Run("retention", once(t.retain))
	b.Run("pi-hole", once(func(b *testing.B) map[string]float64 { return t.peer(b, rows, size, newPiholeTrial(root)) }))
	b.Run("adguard-home", once(func(b *testing.B) map[string]float64 { return t.peer(b, rows, size, newLinesTrial(root)) }))
}

// once measures one time, however often the benchmark runs it.
func once(measure func(*testing.B) map[string]float64) func(*testing.B) {
	var figures map[string]float64
	return func(b *testing.B) {
		if figures == nil {
			figures = measure(b)
		}
		(*sizeTrial)(nil).report(b, figures)
	}
}

func (*sizeTrial) report(b *testing.B, figures map[string]float64) {
	b.ReportMetric(0, "ns/op")
	for unit, v := range figures {
		b.ReportMetric(v, unit)
	}
}

// fill stores so many rows, and returns the processor time of each in nanoseconds.
func (t *sizeTrial) fill(rows int) float64 {
	begun, stored := cpu(), 0
	for windows := 0; stored < rows; windows++ {
		n := min(sizeRowsOfDay*sizeWindow/86_400, rows-stored)
		_, _, err := t.s.commit(&windowData{number: t.at, node: "home", clock: clockMark{steady: t.at * 1000, wall: t.at * 1000}, entries: t.home.window(t.at, n)})
		if err == nil && windows%60 == 0 { // as retention does each hour
			err = t.s.exec(`DELETE FROM total_name WHERE total < ?`, totalID(t.at/3600-namesKept, 0))
		}
		if err != nil {
			t.b.Fatal(err)
		}
		stored += n
		t.at += sizeWindow
	}
	t.rows += stored
	return float64(cpu()-begun) / float64(stored)
}

// A sizeQuestion is asked of a store and of its peers.
type sizeQuestion struct {
	what string
	f    Filter
	sql  string // of Pi-hole's view
	line string // fixed text in AdGuard Home's lines
}

func sizeQuestions(end int64) []sizeQuestion {
	week := end - 7*86_400
	return []sizeQuestion{
		{"device", Filter{Device: "device 7", Since: time.Unix(week, 0), Limit: 100}, fmt.Sprintf(`client = '192.168.1.17' AND timestamp >= %d`, week), `"IP":"192.168.1.17"`},
		{"vendor", Filter{Vendor: "Vendor 3", Limit: 100}, `domain LIKE '%.vendor3.example'`, `.vendor3.example"`},
		{"frequent-suffix", Filter{Name: ".vendor5.example", Limit: 100}, `domain LIKE '%.vendor5.example'`, `.vendor5.example"`},
		{"rare-suffix", Filter{Name: ".edge19930.some-service330.example.net", Limit: 100}, `domain LIKE '%edge19930.some-service330.example.net'`, `edge19930.some-service330.example.net"`},
		{"no-such-name", Filter{Name: ".nobody.example", Limit: 100}, `domain LIKE '%.nobody.example'`, `.nobody.example"`},
	}
}

func (t *sizeTrial) ask(b *testing.B, q *sizeQuestion) {
	r, err := OpenReader(t.dir)
	if err != nil {
		b.Fatal(err)
	}
	begun, n := cpu(), 0
	for b.Loop() {
		n = 0
		for _, err := range r.Rows(b.Context(), q.f) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
	b.ReportMetric(float64(cpu()-begun)/1e6/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(n), "rows")
}

// retain deletes the oldest tenth of the rows, in steps as retention does.
func (t *sizeTrial) retain(b *testing.B) map[string]float64 {
	end := (sizeFirstTime + (t.at-sizeFirstTime)/10) << rowBits
	longest, steps, deleted := time.Duration(0), 0, int64(0)
	step := func(do func(most int) (int64, error)) {
		t.run.batch = deleteFirst
		for done := false; !done; steps++ {
			begun, most := cpu(), t.run.batch
			n, err := do(most)
			if err != nil {
				b.Fatal(err)
			}
			longest = max(longest, cpu()-begun)
			t.run.adapt(cpu() - begun)
			deleted, done = deleted+n, n < int64(most)
		}
	}
	for _, table := range rowTables {
		step(func(most int) (int64, error) { return t.s.deleteChunk(table, end, most, nil) })
		step(func(most int) (int64, error) { return t.s.deleteNames(table, most) })
	}
	return map[string]float64{"cpu-ms/longest-step": float64(longest) / 1e6, "steps": float64(steps), "deleted": float64(deleted)}
}

// A sizePeer keeps lookups in its own way.
type sizePeer interface {
	begin() error
	add(e *entry, nth int) // the nth lookup of a row
	end() (octets float64, err error)
	command(q *sizeQuestion) *exec.Cmd
	share() int // one of so many lookups is kept
}

func (t *sizeTrial) peer(b *testing.B, rows int, size int64, p sizePeer) map[string]float64 {
	if err := p.begin(); err != nil {
		b.Skip(err)
	}
	h, at, lookups := newSizeHome(20), int64(sizeFirstTime), 0
	for made := 0; made < rows; at += sizeWindow {
		n := min(sizeRowsOfDay*sizeWindow/86_400, rows-made)
		for _, e := range h.window(at, n) {
			for i := range int(e.Count) {
				if lookups++; lookups%p.share() == 0 {
					p.add(e, i)
				}
			}
		}
		made += n
	}
	octets, err := p.end()
	if err != nil {
		b.Fatal(err)
	}
	octets *= float64(p.share())
	figures := map[string]float64{"B/lookup": octets / float64(lookups), "B/lookup-telltale": float64(size) / float64(lookups), "times-the-size": octets / float64(size)}
	for _, q := range sizeQuestions(at) {
		c := p.command(&q)
		out, err := c.Output()
		if err != nil {
			b.Fatalf("%s: %v", q.what, err)
		}
		took := float64((c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Microseconds()) / 1e3
		if bytes.Count(out, []byte("\n")) < 100 { // all was read
			took *= float64(p.share())
		}
		figures["cpu-ms/"+q.what] = took
	}
	return figures
}

// A piholeTrial is a database with Pi-hole's schema.
type piholeTrial struct {
	path string
	cmd  *exec.Cmd
	pipe *os.File
	out  *bufio.Writer
	ids  map[string]int
	n    int
	said strings.Builder
}

func newPiholeTrial(root string) *piholeTrial {
	return &piholeTrial{path: filepath.Join(root, "pihole-FTL.db")}
}

func (p *piholeTrial) share() int { return 1 }

func (p *piholeTrial) begin() error {
	program, err := exec.LookPath("sqlite3")
	if err != nil {
		return err
	}
	schema, err := os.ReadFile("../peerlogs/testdata/pihole-6.sql")
	if err != nil {
		return err
	}
	text, _, _ := strings.Cut(string(schema), "CREATE TABLE ftl")
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	p.pipe, p.out, p.ids = w, bufio.NewWriterSize(w, 1<<16), map[string]int{}
	p.cmd = exec.Command(program, p.path)
	p.cmd.Stderr = &p.said
	p.cmd.ExtraFiles = []*os.File{r}
	p.cmd.Stdin = strings.NewReader("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;\n" + text + piholeIndexes + ".mode csv\n.import /dev/fd/3 query_storage\n")
	return p.cmd.Start()
}

// piholeIndexes are those that Pi-hole makes beside its tables.
const piholeIndexes = `CREATE INDEX idx_queries_timestamps ON query_storage (timestamp);
CREATE UNIQUE INDEX domain_by_id_domain_idx ON domain_by_id (domain);
CREATE UNIQUE INDEX client_by_id_client_idx ON client_by_id (ip, name);
`

func (p *piholeTrial) add(e *entry, nth int) {
	name := string(e.Name)
	id, ok := p.ids[name]
	if !ok {
		id = len(p.ids) + 1
		p.ids[name] = id
	}
	status, forward, list := 2, "1", ""
	if e.Action == blocklists.Block {
		status, forward, list = 1, "", "1"
	}
	p.n++
	fmt.Fprintf(p.out, "%d,%d.%03d,1,%d,%d,%d,%s,,4,0.0%d,0,%s,-1\n", p.n, (e.First+int64(nth))/1000, (e.First+int64(nth))%1000, status, id, e.Addr.As4()[3], forward, e.Elapsed, list)
}

func (p *piholeTrial) end() (float64, error) {
	if err := errors.Join(p.out.Flush(), p.pipe.Close(), p.cmd.Wait()); err != nil {
		said := p.said.String()
		return 0, fmt.Errorf("%w: %s", err, said[:min(len(said), 500)])
	}
	var sql strings.Builder
	sql.WriteString("BEGIN;\n")
	for name, id := range p.ids {
		fmt.Fprintf(&sql, "INSERT INTO domain_by_id VALUES (%d, '%s');\n", id, nameText([]byte(name)))
	}
	for i := range sizeDevices {
		fmt.Fprintf(&sql, "INSERT INTO client_by_id VALUES (%d, '192.168.1.%[1]d', 'device %d');\n", i+10, i)
	}
	sql.WriteString("INSERT INTO forward_by_id VALUES (1, '192.0.2.53#53');\nCOMMIT;\n")
	c := exec.Command("sqlite3", p.path)
	c.Stdin = strings.NewReader(sql.String())
	if out, err := c.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	info, err := os.Stat(p.path)
	if err != nil {
		return 0, err
	}
	return float64(info.Size()), nil
}

func (p *piholeTrial) command(q *sizeQuestion) *exec.Cmd {
	return exec.Command("sqlite3", p.path, `SELECT * FROM queries WHERE `+q.sql+` ORDER BY id DESC LIMIT 100`)
}

// A linesTrial is a file of AdGuard Home's lines. It has one lookup of twenty: sizes, and
// the time to read all, grow with their number.
type linesTrial struct {
	path string
	f    *os.File
	out  *bufio.Writer
}

func newLinesTrial(root string) *linesTrial {
	return &linesTrial{path: filepath.Join(root, "querylog.json")}
}

func (p *linesTrial) share() int { return 20 }

func (p *linesTrial) begin() (err error) {
	p.f, err = os.Create(p.path)
	p.out = bufio.NewWriterSize(p.f, 1<<16)
	return err
}

func (p *linesTrial) add(e *entry, nth int) {
	name := nameText(e.Name)
	message := make([]byte, 12, 64)
	message = append(append(message, e.Name...), 0, byte(e.Type), 0, 1) // the question, then an address
	message = append(message, 0xc0, 12, 0, byte(e.Type), 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1)
	result, upstream := `{}`, `"Upstream":"192.0.2.53:53",`
	if e.Action == blocklists.Block {
		result, upstream = `{"Rules":[{"Text":"||`+name+`^","FilterListID":1}],"Reason":3,"IsFiltered":true}`, ""
	}
	fmt.Fprintf(p.out, `{"T":"%s","QH":"%s","QT":"%s","QC":"IN","CP":"",%s"Answer":"%s","IP":"%s","Result":%s,"Elapsed":%d}`+"\n",
		time.UnixMilli(e.First+int64(nth)).Format(time.RFC3339Nano), name, dnswire.TypeString(e.Type), upstream, base64.StdEncoding.EncodeToString(message), e.Addr, result, e.Elapsed*1000)
}

func (p *linesTrial) end() (float64, error) {
	if err := errors.Join(p.out.Flush(), p.f.Close()); err != nil {
		return 0, err
	}
	info, err := os.Stat(p.path)
	if err != nil {
		return 0, err
	}
	return float64(info.Size()), nil
}

func (p *linesTrial) command(q *sizeQuestion) *exec.Cmd {
	return exec.Command("sh", "-c", `tac "$1" | grep -F -m 100 -e "$2"; true`, "sh", p.path, q.line)
}

// BenchmarkSums is what the lookups of a month cost a report: 30 days of listed names, from noon to noon.
// QUERYLOG_ROWS says how many rows there are.
func BenchmarkSums(b *testing.B) {
	rows := 100_000
	if n, err := strconv.Atoi(os.Getenv("QUERYLOG_ROWS")); err == nil {
		rows = n
	}
	const days = 30
	t := &sizeTrial{b: b, home: newSizeHome(100), dir: cmp.Or(os.Getenv("QUERYLOG_SIZE_DIR"), b.TempDir()), at: sizeFirstTime}
	var err error
	if t.s, err = openStore(t.dir); err != nil {
		b.Fatal(err)
	}
	defer t.s.close()
	if t.s.position == 0 {
		for range days * 1440 {
			_, _, err := t.s.commit(&windowData{number: t.at, node: "home", clock: clockMark{steady: t.at * 1000, wall: t.at * 1000}, entries: t.home.window(t.at, rows/days/1440)})
			if err != nil {
				b.Fatal(err)
			}
			t.at += sizeWindow
		}
		for more := true; more; {
			if more, err = t.s.sumStep(5_000, math.MaxInt64); err != nil {
				b.Fatal(err)
			}
		}
	}
	r, err := OpenReader(t.dir)
	if err != nil {
		b.Fatal(err)
	}
	begun := cpu()
	for b.Loop() {
		n := 0
		for _, err := range r.Sums(b.Context(), SumFilter{Since: time.Unix(sizeFirstTime, 0), Until: time.Unix(sizeFirstTime+days*86_400, 0), Apart: []time.Time{}}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		b.ReportMetric(float64(n), "sums")
	}
	b.ReportMetric(float64(cpu()-begun)/1e6/float64(b.N), "cpu-ms/op")
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"

	"telltale/atomicfile"
	"telltale/bench/zone"
	"telltale/blocklists"
	"telltale/blocklists/catalog"
	"telltale/querylog"
	"telltale/resolver/dnstest"
)

// TestScenarios runs each file of testdata/scenarios through the front door: the
// real serve on a port of its own, with real list files, a real upstream server
// on loopback and real commands. A file has parts, each behind a line "-- name --":
//
//	config.yaml     settings beside those every scenario has; {http} is a web server of the files below http/. With upstreams of its own, {upstream} is the one that every scenario has
//	upstream.zone   what the upstream knows
//	NAME.zone       what another server knows; {NAME.zone} is its address in settings and files. By other ways it is at
//	                {NAME.zone/tls}, /https, /h3 and /quic, on the ports {NAME.zone/tls/port} and so on; {pin} is the key of all
//	upstream.way    how it and the way to it behave, see behave; NAME.way of another server
//	certificate     names and addresses: files tls.pem and tls.key of a certificate for them, which queries by TLS trust
//	steps           what happens, a step a line; "#" begins a comment
//	anything else   a file below the scenario's directory, such as lists/ads.txt
//
// Steps:
//
//	query NAME TYPE [tcp] [tls[=SERVER]] [do] [noedns] [from=ADDR]   ask; what is wanted follows
//	query NAME TYPE https|h3|http|quic[=SERVER] [id=ID] [for=ADDR]   ask by these; ID is in the path, ADDR in X-Forwarded-For
//	query NAME TYPE [mac=MAC] [mactext=TEXT] [subnet=PREFIX] [cpe=TEXT]   with the EDNS options by which forwarders say whose query it is
//	trust                          queries by TLS trust the certificate that the last command printed
//	certificate NAMES              make tls.pem and tls.key anew, and wait until they are in use
//	want RCODE                     the reply's rcode, with no record
//	want NAME TYPE DATA            one of its records; all must be named
//	want ttl N / ede N TEXT / asked N   its TTL; its Extended DNS Error; queries upstream since the last query
//	want unheard                   the upstream was never asked for the name asked last
//	log KEY=VALUE ...              the log has a row for the name asked last, or that of name=, with these fields
//	file PART PATH                 write a part to a file, which is never there half
//	remove PATH                    remove a file
//	catalogue FOLDER N             write the shipped catalogue into a folder as an edition that is later by N; {edition+1} and {edition+2} are names of such, {edition} that of the shipped one
//	{geo}                          the directory of small address databases
//	sign PATH                      write PATH.minisig with a key of the scenario's own; {key} is its public key, {other} another one
//	eventually                     repeat the last query until the wants that follow it hold, or the run or get that follows until its outs do; or wait until the nowheres that follow it hold
//	run ARGS                       run a command; out TEXT wants TEXT in its output, out !TEXT not, exit N its status; {dir} is the scenario's directory, {http} its web server
//	token                          keep the first line that the last command printed as a token
//	web METHOD PATH [bearer] [host=NAME] [from=ORIGIN] [+KEY=VALUE ...]   ask the API at web.listen, with the token and with JSON of these keys; out is its answer, exit its status
//	keep rows / same rows          remember all rows of the log; they are the same still
//	get PATH [host=NAME]           ask the listener of metrics for a path; out TEXT wants TEXT in what it says, exit N is its status
//	nowhere TEXT                   no file of the data directory has the text in it; somewhere TEXT: one has
//	end NAME.zone                  stop another server
//	mute / unmute                  the upstream answers nothing from then on, or answers again
//	stop                           stop the server: commands find none from then on
//	restart                        stop it, and start it again
//	call NAME                      call what the test that runs the scenario gave by this name
//	past PART                      the server's log is that of the made-up home of docs/household.md, whose last days these were, see past
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			runScenario(t, file, string(text))
		})
	}
}

// A part is one of a scenario's files.
type part struct {
	text string
	line int // of its first line in the scenario
}

func partsOf(text string) map[string]part {
	parts := map[string]part{}
	name, n := "", 0
	for line := range strings.Lines(text) {
		n++
		if s := strings.TrimRight(line, "\n"); strings.HasPrefix(s, "-- ") && strings.HasSuffix(s, " --") {
			name = strings.TrimSpace(s[3 : len(s)-3])
			parts[name] = part{line: n + 1}
			continue
		}
		if name != "" {
			p := parts[name]
			p.text += line
			parts[name] = p
		}
	}
	return parts
}

// A scene is one scenario under way.
type scene struct {
	t      *testing.T
	dir    string
	at     string // file and line of the step
	parts  map[string]part
	srv    *testServer
	heard  heardNames
	others map[string]func() // stops each of the other servers
	mute   *atomic.Bool      // whether the upstream answers nothing
	places *strings.Replacer // of what stands for an address or a path
	sign   func(path string) error

	question []string // of the last query
	reply    *dns.Msg
	named    bool // a record of reply was wanted: then all must be
	kept     string
	queries  int // that the server asked its upstreams before the last query
	out      string
	exit     int
	token    string // of the API

	calls map[string]func()
}

// web asks the API from the network.
func (s *scene) web(args []string) error {
	at := s.srv.app.network.addrs()
	if len(at) == 0 {
		return errors.New("web.listen is not set")
	}
	fields := map[string]any{}
	for _, w := range args[2:] {
		if key, value, ok := strings.Cut(w, "="); ok && key[0] == '+' {
			fields[key[1:]] = value
			if n, err := strconv.Atoi(value); err == nil {
				fields[key[1:]] = n
			}
		}
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	r, err := http.NewRequest(args[0], "http://"+at[0].String()+args[1], bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	for _, w := range args[2:] {
		if w[0] == '+' {
			continue
		}
		switch name, value, _ := strings.Cut(w, "="); name {
		case "bearer":
			r.Header.Set("Authorization", "Bearer "+s.token)
		case "host":
			r.Host = value
		case "from":
			r.Header.Set("Origin", value)
		default:
			return fmt.Errorf("no way to ask with %q", w)
		}
	}
	r.Close = true
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	s.out, s.exit = string(text), resp.StatusCode
	return err
}

func runScenario(t *testing.T, file, text string, calls ...map[string]func()) {
	s := &scene{t: t, dir: t.TempDir(), parts: partsOf(text)}
	if len(calls) > 0 {
		s.calls = calls[0]
	}
	handle, err := zone.Parse(s.parts["upstream.zone"].text)
	if err != nil {
		t.Fatal(err)
	}
	handle = behave(t, handle, strings.Fields(s.parts["upstream.way"].text))
	var mute atomic.Bool
	s.mute = &mute
	upstream, stop, err := zone.Serve(netip.MustParseAddrPort("127.0.0.1:0"), dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype != dns.TypeHINFO && q.Question[0].Name != "." { // a probe
			s.heard.add(q.Question[0])
		}
		if !mute.Load() {
			handle(w, q)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	web := httptest.NewServer(fileServer(filepath.Join(s.dir, "http")))
	defer web.Close()
	keys := newSigningKeys(t)
	s.sign = keys.sign
	databases, err := filepath.Abs("../../evidence/geo/testdata")
	if err != nil {
		t.Fatal(err)
	}
	places := []string{"{http}", web.URL, "{geo}", databases, "{upstream}", upstream.String(), "{key}", keys.public, "{other}", keys.other,
		"{edition}", catalog.Shipped().Name(), "{edition+1}", laterEdition(1), "{edition+2}", laterEdition(2)}
	s.others = map[string]func(){}
	var key *dnstest.Certificate
	for name, p := range s.parts {
		if strings.HasSuffix(name, ".zone") && name != "upstream.zone" {
			addr, stop := serveZone(t, p.text, s.parts[strings.TrimSuffix(name, ".zone")+".way"].text)
			t.Cleanup(stop)
			s.others[name] = stop
			places = append(places, "{"+name+"}", addr.String())
			if strings.Contains(text, "{"+name+"/") {
				if key == nil {
					key = dnstest.NewCertificate(t, time.Now().Add(24*time.Hour), "dns.example")
					places = append(places, "{pin}", key.Pin())
				}
				places = append(places, serveEncrypted(t, key, name, p.text)...)
			}
		}
	}
	s.places = strings.NewReplacer(places...)
	for name, p := range s.parts {
		if strings.Contains(name, "/") {
			s.write(name, p.text)
		}
	}
	var trusted *x509.CertPool
	if p, ok := s.parts["certificate"]; ok {
		trusted = s.certify(strings.Fields(p.text))
	}
	settings := s.places.Replace(s.parts["config.yaml"].text)
	if strings.HasPrefix(settings, "upstreams:") || strings.Contains(settings, "\nupstreams:") {
		upstream = netip.AddrPort{}
	}
	s.srv = startTestServer(t, s.dir, upstream, settings)
	s.srv.trusted = trusted
	steps := s.parts["steps"]
	lines := strings.Split(steps.text, "\n")
	for i := 0; i < len(lines); i++ {
		s.at = fmt.Sprintf("%s:%d", file, steps.line+i)
		words := fields(lines[i])
		if len(words) == 0 {
			continue
		}
		if words[0] == "eventually" {
			i = s.eventually(lines, i+1)
			continue
		}
		if err := s.step(words); err != nil {
			t.Fatalf("%s: %v", s.at, err)
		}
	}
}

// serveZone starts a server that knows the records of text, and behaves as way says.
func serveZone(t *testing.T, text, way string) (addr netip.AddrPort, stop func()) {
	t.Helper()
	handle, err := zone.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	addr, end, err := zone.Serve(netip.MustParseAddrPort("127.0.0.1:0"), behave(t, handle, strings.Fields(way)))
	if err != nil {
		t.Fatal(err)
	}
	return addr, sync.OnceFunc(end)
}

// serveEncrypted starts servers that know the records of text, by each encrypted way, and returns
// what stands for them. Their certificate, of no authority, is c.
func serveEncrypted(t *testing.T, c *dnstest.Certificate, name, text string) (places []string) {
	t.Helper()
	handle, err := zone.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(query []byte) []byte {
		var q dns.Msg
		if err := q.Unpack(query); err != nil {
			return nil
		}
		reply, err := wholeReply(handle, nil, &q).Pack()
		if err != nil {
			return nil
		}
		return reply
	}
	byTLS := dnstest.StartStream(t, c, dnstest.EachQuery(func(_ net.Conn, query []byte, send func([]byte)) { send(answer(query)) }))
	respond := func(w http.ResponseWriter, _ *http.Request, query []byte) { dnstest.WriteReply(w, answer(query)) }
	byHTTPS, byHTTP3 := dnstest.StartHTTPS(t, c, respond), dnstest.StartHTTP3(t, c, respond)
	byQUIC := dnstest.StartQUIC(t, c, func(_ *quic.Conn, query []byte) []byte { return answer(query) })
	for way, addr := range map[string]netip.AddrPort{"tls": byTLS.Addr, "https": byHTTPS.Addr, "h3": byHTTP3.Addr, "quic": byQUIC.Addr} {
		places = append(places, "{"+name+"/"+way+"}", addr.String(), "{"+name+"/"+way+"/port}", strconv.Itoa(int(addr.Port())))
	}
	return places
}

// behave lets an upstream, or the way to it, behave as words say:
//
//	drops-edns       queries with EDNS by UDP are not answered
//	drops-long       replies of more than 512 octets by UDP get lost, unless no more was offered: then they are truncated
//	oversize         long replies are sent whole by UDP
//	slow DURATION    it takes so long
//	loses N          of so many packets the last one gets lost each time
//	refuses-probes   questions for loops are refused
//	wants-capitals   questions without capitals are refused, but for those for the root
//	says RCODE       to all questions but those for loops and for the root
func behave(t *testing.T, handle dns.HandlerFunc, words []string) dns.HandlerFunc {
	for i := 0; i < len(words); i++ {
		next := handle
		switch words[i] {
		case "drops-edns":
			handle = func(w dns.ResponseWriter, q *dns.Msg) {
				if q.IsEdns0() == nil || isStream(w) {
					next(w, q)
				}
			}
		case "drops-long":
			handle = func(w dns.ResponseWriter, q *dns.Msg) {
				m := wholeReply(next, w, q)
				if !isStream(w) && m.Len() > dns.MinMsgSize {
					if opt := q.IsEdns0(); opt != nil && opt.UDPSize() > dns.MinMsgSize {
						return
					}
					m.Truncate(dns.MinMsgSize)
				}
				w.WriteMsg(m)
			}
		case "oversize":
			handle = func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(wholeReply(next, w, q)) }
		case "refuses-probes":
			handle = func(w dns.ResponseWriter, q *dns.Msg) {
				if q.Question[0].Qtype == dns.TypeHINFO {
					w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
					return
				}
				next(w, q)
			}
		case "wants-capitals":
			handle = func(w dns.ResponseWriter, q *dns.Msg) {
				if name := q.Question[0].Name; name != "." && name == strings.ToLower(name) {
					w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
					return
				}
				next(w, q)
			}
		case "says":
			i++
			code, ok := dns.StringToRcode[words[i]]
			if !ok {
				t.Fatalf("%q is no response code", words[i])
			}
			handle = func(w dns.ResponseWriter, q *dns.Msg) {
				if q.Question[0].Qtype == dns.TypeHINFO || q.Question[0].Name == "." {
					next(w, q)
					return
				}
				w.WriteMsg(new(dns.Msg).SetRcode(q, code))
			}
		case "slow":
			i++
			d, err := time.ParseDuration(words[i])
			if err != nil {
				t.Fatal(err)
			}
			handle = func(w dns.ResponseWriter, q *dns.Msg) {
				time.Sleep(d)
				next(w, q)
			}
		case "loses":
			i++
			n, err := strconv.ParseInt(words[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			var packets atomic.Int64
			handle = func(w dns.ResponseWriter, q *dns.Msg) {
				if isStream(w) || packets.Add(1)%n != 0 {
					next(w, q)
				}
			}
		default:
			t.Fatalf("an upstream does not know how to %q", words[i])
		}
	}
	return handle
}

func isStream(w dns.ResponseWriter) bool { return w.LocalAddr().Network() == "tcp" }

// A replyCatcher is a connection over which replies of any length go, which keeps
// the one that is written.
type replyCatcher struct {
	dns.ResponseWriter
	reply *dns.Msg
}

func (c *replyCatcher) LocalAddr() net.Addr { return &net.TCPAddr{} }

func (c *replyCatcher) WriteMsg(m *dns.Msg) error {
	c.reply = m
	return nil
}

// wholeReply returns what handle replies to q, however long.
func wholeReply(handle dns.HandlerFunc, w dns.ResponseWriter, q *dns.Msg) *dns.Msg {
	c := &replyCatcher{ResponseWriter: w}
	handle(c, q)
	return c.reply
}

// fileServer serves files with an ETag of their content: what http.FileServer
// tells by is a time in seconds, in which a test changes a file more than once.
func fileServer(dir string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, err := os.ReadFile(filepath.Join(dir, filepath.Base(r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprint(crc32.ChecksumIEEE(text))))
		http.ServeContent(w, r, r.URL.Path, time.Time{}, bytes.NewReader(text))
	}
}

// fields splits a step into words; quotes hold words together.
func fields(line string) []string {
	var words []string
	var b strings.Builder
	quoted, open := false, false
	for _, r := range line + " " {
		switch {
		case r == '"':
			quoted, open = !quoted, true
		case r == '#' && !quoted && !open:
			return words
		case (r == ' ' || r == '\t') && !quoted:
			if open {
				words = append(words, b.String())
			}
			b.Reset()
			open = false
		default:
			b.WriteRune(r)
			open = true
		}
	}
	return words
}

// patience is how long a test waits for what must come; only a failure takes it.
const patience = 2 * time.Minute

// recorded returns how many lookups the log has taken, or left out by itself.
func (s *scene) recorded() uint64 {
	if s.srv.app.log == nil {
		return 0
	}
	st := s.srv.app.log.Stats()
	return st.Appended + st.OptedOut + st.GivenUp
}

// asksUpstream returns how many queries the server has asked its upstreams, each once
// however often it was sent.
func (s *scene) asksUpstream() (n int) {
	for _, u := range s.srv.app.server.Upstreams() {
		n += int(u.Queries)
	}
	return n
}

// A heardNames is what an upstream was asked for. A query that is answered late is sent again, and
// that may come when the next one is under way: on a slow machine packets are no queries.
type heardNames struct {
	mu     sync.Mutex
	before map[dns.Question]bool // before the last query
	since  map[dns.Question]bool
}

func (h *heardNames) add(q dns.Question) {
	h.mu.Lock()
	defer h.mu.Unlock()
	q.Name = strings.ToLower(q.Name)
	if h.since == nil {
		h.since = map[dns.Question]bool{}
	}
	h.since[q] = true
}

// begin says that a query is about to be asked.
func (h *heardNames) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.before == nil {
		h.before = map[dns.Question]bool{}
	}
	maps.Copy(h.before, h.since)
	clear(h.since)
}

// sinceBegin returns for how many questions the upstream was asked since then. What it was
// asked before counts again if the server says that it has asked so many queries.
func (h *heardNames) sinceBegin(queries int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := 0
	for q := range h.since {
		if !h.before[q] {
			first++
		}
	}
	return first + min(len(h.since)-first, max(queries-first, 0))
}

// ever reports whether the upstream was asked for a name.
func (h *heardNames) ever(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	name = strings.ToLower(dns.Fqdn(name))
	for _, all := range []map[dns.Question]bool{h.before, h.since} {
		for q := range all {
			if q.Name == name {
				return true
			}
		}
	}
	return false
}

// eventually repeats the last query, or the command in the line that follows, until the
// wants or outs in lines[from:] hold, and returns the line of the last of them. Where
// nowheres are there, it repeats nothing.
func (s *scene) eventually(lines []string, from int) (last int) {
	s.t.Helper()
	repeated, holds := s.question, "want"
	switch words := fields(lines[from]); {
	case len(words) == 0:
	case words[0] == "run" || words[0] == "get":
		repeated, holds = words, "out"
		if err := s.step(repeated); err != nil {
			s.t.Fatal(err)
		}
		from++
	case words[0] == "nowhere":
		repeated, holds = nil, "nowhere"
	}
	end := time.Now().Add(patience)
	for {
		var err error
		for last = from; last < len(lines); last++ {
			words := fields(lines[last])
			if len(words) == 0 || words[0] != holds {
				break
			}
			if err = s.step(words); err != nil {
				break
			}
		}
		if err == nil {
			return last - 1
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s: never: %v", s.at, err)
		}
		time.Sleep(20 * time.Millisecond)
		if repeated == nil {
			continue
		}
		s.named = false
		if err := s.step(repeated); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestEventuallyWaitsUntilATextIsNowhere(t *testing.T) {
	s := &scene{t: t, dir: t.TempDir(), places: strings.NewReplacer()}
	s.write("data/a", "a word")
	go os.Remove(filepath.Join(s.dir, "data/a"))
	last := s.eventually([]string{"nowhere word", "nowhere other", "run status"}, 0)
	if in := filesWith(t, filepath.Join(s.dir, "data"), "word"); last != 1 || len(in) > 0 {
		t.Errorf("went on behind line %d while the text is in %q", last, in)
	}
}

func (s *scene) write(path, text string) {
	s.t.Helper()
	path = filepath.Join(s.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := atomicfile.Replace(path, []byte(s.places.Replace(text)), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func TestAFileOfAScenarioIsNeverThereHalf(t *testing.T) {
	s := &scene{t: t, dir: t.TempDir(), places: strings.NewReplacer()}
	s.write("lists/a.txt", "old.example")
	reader, err := os.Open(filepath.Join(s.dir, "lists/a.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	s.write("lists/a.txt", "new.example")
	if text, err := io.ReadAll(reader); string(text) != "old.example" || err != nil {
		t.Errorf("who had opened it read %q, %v", text, err)
	}
}

// certify makes a certificate for names and addresses, and returns what trusts it.
func (s *scene) certify(names []string) *x509.CertPool {
	s.t.Helper()
	c := dnstest.NewCertificate(s.t, time.Now().Add(5*24*time.Hour), names...)
	for file, text := range map[string]string{"tls.pem": c.Cert, "tls.key": c.Key} {
		if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return c.Roots
}

func (s *scene) step(words []string) error {
	s.t.Helper()
	words = slices.Clone(words)
	for i := range words {
		words[i] = s.places.Replace(words[i])
	}
	switch args := words[1:]; words[0] {
	case "query":
		if s.named && len(s.reply.Answer) > 0 {
			return fmt.Errorf("the last reply has records that no step wants: %v", s.reply.Answer)
		}
		s.named = false
		s.question, s.queries = words, s.asksUpstream()
		s.heard.begin()
		var err error
		recorded := s.recorded()
		s.reply, err = s.srv.ask(args)
		// The record of an answer comes a moment after it, and some have none.
		// Counted are sleeps and not time, in which a machine may stand still.
		for n := 0; err == nil && s.srv.app.log != nil && s.recorded() == recorded && n < 500; n++ {
			time.Sleep(time.Millisecond)
		}
		return err
	case "want":
		return s.want(args)
	case "log":
		return s.wantLog(args)
	case "file":
		s.write(args[1], s.parts[args[0]].text)
	case "certificate":
		s.srv.trusted = s.certify(args)
		dnstest.WaitFor(s.t, func() bool { return slices.Equal(s.srv.app.certificateStatus()[0].Names, args) }, func() string { return s.at + ": the certificate is not in use" })
	case "trust":
		s.srv.trusted = x509.NewCertPool()
		if !s.srv.trusted.AppendCertsFromPEM([]byte(s.out)) {
			return fmt.Errorf("no certificate in %q", s.out)
		}
	case "remove":
		return os.Remove(filepath.Join(s.dir, args[0]))
	case "catalogue":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return writeCatalogue(filepath.Join(s.dir, args[0]), laterEdition(n))
	case "sign":
		return s.sign(filepath.Join(s.dir, args[0]))
	case "run":
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "{dir}", s.dir)
		}
		s.out, s.exit = s.srv.run(args...)
	case "token":
		s.token, _, _ = strings.Cut(s.out, "\n")
	case "web":
		return s.web(args)
	case "get":
		s.out, s.exit = s.srv.get(args...)
	case "keep", "same":
		rows := s.rows()
		if words[0] == "same" && rows != s.kept {
			return fmt.Errorf("rows changed from\n%s\nto\n%s", s.kept, rows)
		}
		s.kept = rows
	case "nowhere", "somewhere":
		text := strings.Join(args, " ")
		if in := filesWith(s.t, filepath.Join(s.dir, "data"), text); (len(in) > 0) != (words[0] == "somewhere") {
			return fmt.Errorf("%q is in %q", text, in)
		}
	case "end":
		s.others[args[0]]()
	case "mute", "unmute":
		s.mute.Store(words[0] == "mute")
	case "stop":
		s.srv.stop()
	case "call":
		s.calls[args[0]]()
	case "past":
		return s.past(s.parts[args[0]].text)
	case "restart":
		s.srv.stop()
		s.srv.start()
	case "out":
		text, without := strings.CutPrefix(strings.Join(args, " "), "!")
		if strings.Contains(s.out, text) == without {
			return fmt.Errorf("output\n%s\nwant %q in it: %v", s.out, text, !without)
		}
	case "exit":
		if strconv.Itoa(s.exit) != args[0] {
			return fmt.Errorf("exit status %d, want %s; output\n%s", s.exit, args[0], s.out)
		}
	default:
		return fmt.Errorf("no step %q", words[0])
	}
	return nil
}

func (s *scene) want(args []string) error {
	switch {
	case args[0] == "ttl":
		for _, rr := range slices.Concat(s.reply.Answer, s.reply.Ns) {
			if got := strconv.Itoa(int(rr.Header().Ttl)); got != args[1] {
				return fmt.Errorf("TTL %s, want %s: %v", got, args[1], rr)
			}
		}
	case args[0] == "asked":
		if got := s.heard.sinceBegin(s.asksUpstream() - s.queries); strconv.Itoa(got) != args[1] {
			return fmt.Errorf("asked upstream %d times, want %s", got, args[1])
		}
	case args[0] == "unheard":
		if s.heard.ever(s.question[1]) {
			return fmt.Errorf("the upstream was asked for %s", s.question[1])
		}
	case args[0] == "ede":
		code, text := edeOf(s.reply)
		if code != args[1] || !strings.Contains(text, strings.Join(args[2:], " ")) {
			return fmt.Errorf("EDE %s %q, want %q", code, text, args[1:])
		}
	case len(args) == 1:
		if got := dns.RcodeToString[s.reply.Rcode]; got != args[0] || len(s.reply.Answer) != 0 {
			return fmt.Errorf("%s with %v, want %s", got, s.reply.Answer, args[0])
		}
	default:
		want := strings.ToLower(strings.Join(args, " "))
		for i, rr := range s.reply.Answer {
			h := rr.Header()
			got := strings.ToLower(fmt.Sprintf("%s %s %s", h.Name, dns.TypeToString[h.Rrtype], strings.TrimPrefix(rr.String(), h.String())))
			got = strings.ReplaceAll(got, `"`, "") // those of a step hold words together
			if got == want {
				s.reply.Answer, s.named = slices.Delete(s.reply.Answer, i, i+1), true
				return nil
			}
		}
		return fmt.Errorf("%s with %v, want %s", dns.RcodeToString[s.reply.Rcode], s.reply.Answer, want)
	}
	return nil
}

// rows returns all rows of the log as they were written, a line of JSON each.
func (s *scene) rows() string {
	s.t.Helper()
	s.srv.app.log.Flush()
	r, err := querylog.OpenReader(filepath.Join(s.dir, "data"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	var b strings.Builder
	for row, err := range r.Rows(context.Background(), querylog.Filter{}) {
		if err != nil {
			s.t.Fatal(err)
		}
		row.Open, row.Store = false, "" // which its window's end sets
		text, _ := json.Marshal(row)
		fmt.Fprintf(&b, "%s\n", text)
	}
	return b.String()
}

// filesWith returns the files below a directory that have a text in them.
func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			found = append(found, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a journal that was stored meanwhile
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return found
}

func edeOf(m *dns.Msg) (code, text string) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return strconv.Itoa(int(e.InfoCode)), e.ExtraText
			}
		}
	}
	return "none", ""
}

// wantLog waits for a row of the name asked last, or of another that args say, that
// has all fields.
func (s *scene) wantLog(args []string) error {
	name := strings.ToLower(strings.TrimSuffix(s.question[1], "."))
	for _, arg := range args {
		if other, ok := strings.CutPrefix(arg, "name="); ok {
			name = other
		}
	}
	var seen string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		seen, _ = s.srv.run("log", "--json", "--limit", "0")
		for line := range strings.Lines(seen) {
			var row map[string]any
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				return fmt.Errorf("log printed %q: %v", line, err)
			}
			if row["name"] != name {
				continue
			}
			all := true
			for _, arg := range args {
				key, value, _ := strings.Cut(arg, "=")
				got, ok := row[key]
				all = all && (ok && fmt.Sprint(got) == value || !ok && value == "")
			}
			if all {
				return nil
			}
		}
	}
	return fmt.Errorf("no row for %s with %q in\n%s", name, args, seen)
}

// A testServer is a serve command that runs in this process.
type testServer struct {
	t     testing.TB
	flags []string
	env   []string
	addr  netip.AddrPort
	app   *app
	api   http.Handler // of the app, where a test asked its routes
	stop  func()

	trusted *x509.CertPool // by queries over TLS
}

// get asks the listener of metrics for a path, by a name that is given as host=NAME. The text
// is without quotes: in steps they hold words together.
func (srv *testServer) get(args ...string) (text string, status int) {
	srv.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+srv.app.metrics.addrs()[0].String()+args[0], nil)
	if err != nil {
		srv.t.Fatal(err)
	}
	if len(args) > 1 {
		r.Host = strings.TrimPrefix(args[1], "host=")
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		srv.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		srv.t.Fatal(err)
	}
	return strings.ReplaceAll(string(body), `"`, ""), resp.StatusCode
}

// testGrowth is GOGC of the servers that run in this process: dozens run at once, and each
// would have the memory of all collected as often as a server by itself does.
const testGrowth = "200"

// compiledNames is what a server leaves in its cache for its next start: the names of the
// shipped lists, compiled. The servers that tests start take it up, as that start would, and
// compile what the test adds alone; those that are processes of their own compile all.
var compiledNames = sync.OnceValues(func() (image []byte, err error) {
	dir, err := os.MkdirTemp("", "compiled")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	e := catalog.Shipped()
	lists, err := blocklists.Open(blocklists.Options{CacheDir: dir, Shipped: e.FS(), Edition: e.Name(), Claims: e.Claims})
	if err != nil {
		return nil, err
	}
	defer lists.Close()
	return os.ReadFile(filepath.Join(dir, "names.image"))
})

// takeCompiledNames puts compiledNames where a server's cache is, if it has none yet.
func (srv *testServer) takeCompiledNames(cache string) {
	srv.t.Helper()
	if _, err := os.Stat(cache); err == nil {
		return
	}
	image, err := compiledNames()
	if err == nil {
		err = os.MkdirAll(cache, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(cache, "names.image"), image, 0o600)
	}
	if err != nil {
		srv.t.Fatal(err)
	}
}

// startTestServer starts serve with its files below dir. more are settings in
// YAML.
func startTestServer(t testing.TB, dir string, upstream netip.AddrPort, more string) *testServer {
	t.Helper()
	cfg := filepath.Join(dir, "telltale.yaml")
	settings := more
	for _, d := range []string{"lists", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(cfg, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	srv := &testServer{t: t, flags: []string{"--config", cfg, "--listen-dns", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data"),
		"--lists-dir", filepath.Join(dir, "lists"), "--node", "test"}, env: []string{"XDG_RUNTIME_DIR=" + dir, "GOGC=" + testGrowth,
		"TELLTALE_IDENTITY_ANNOUNCEMENTS=false"}} // this machine's network is none of a test's business
	srv.takeCompiledNames(filepath.Join(dir, "data", "cache"))
	if upstream.IsValid() {
		srv.flags = append(srv.flags, "--upstreams", upstream.String())
	}
	srv.start()
	t.Cleanup(func() { srv.stop() })
	return srv
}

// start starts the server, again if it was stopped.
func (srv *testServer) start() {
	srv.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var out, errs lockedBuffer
	ready, done := make(chan *app, 1), make(chan error, 1)
	cl := &cli{out: &out, err: &errs, env: srv.env}
	cl.root = cl.newRoot()
	if err := cl.root.PersistentFlags().Parse(srv.flags); err != nil {
		srv.t.Fatal(err)
	}
	go func() { done <- cl.serve(ctx, func(a *app) { ready <- a }) }()
	select {
	case a := <-ready:
		srv.app, srv.addr, srv.api = a, a.server.Addrs()[0], nil
	case err := <-done:
		cancel()
		srv.t.Fatalf("serve: %v\n%s", err, errs.String())
	}
	srv.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			srv.t.Errorf("serve ended with %v", err)
		}
		if srv.t.Failed() {
			srv.t.Logf("the server said:\n%s", errs.String())
		}
	})
}

// run runs another command with the server's settings.
func (srv *testServer) run(args ...string) (out string, exit int) {
	var b lockedBuffer
	line := append(slices.Clone(args), srv.flags...)
	if args[0] == "__complete" { // what stands last is what a person has typed so far; cobra reads flags twice, so that upstreams are named twice
		line = slices.Concat(args[:2], srv.flags[:8], args[2:])
	}
	exit = command(context.Background(), line, &b, &b, srv.env)
	return b.String(), exit
}

// ask sends a query: NAME TYPE, and how, as TestScenarios has it.
func (srv *testServer) ask(args []string) (*dns.Msg, error) {
	typ, ok := dns.StringToType[args[1]]
	if !ok {
		return nil, fmt.Errorf("no type %q", args[1])
	}
	m := new(dns.Msg).SetQuestion(dns.Fqdn(args[0]), typ)
	m.SetEdns0(1232, slices.Contains(args, "do"))
	if slices.Contains(args, "noedns") {
		m.Extra = nil
	}
	addForwarded(m, args[2:])
	if w := encryptedWayOf(args[2:]); w.by != "" {
		return srv.askBy(w, m)
	}
	c, to := dns.Client{Timeout: patience}, srv.addr
	for _, arg := range args[2:] {
		if arg == "tcp" {
			c.Net = "tcp"
		}
		if transport, server, _ := strings.Cut(arg, "="); transport == "tls" {
			c.Net, to = "tcp-tls", srv.app.server.TLSAddrs()[0]
			c.TLSConfig = &tls.Config{RootCAs: srv.trusted, ServerName: cmp.Or(server, to.Addr().String()), NextProtos: []string{"dot"}}
		}
		if from, ok := strings.CutPrefix(arg, "from="); ok {
			c.Dialer = &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}, Timeout: patience}
		}
	}
	r, _, err := c.Exchange(m, to.String())
	return r, err
}

// addForwarded adds to m the options by which a forwarder says whose query it is.
func addForwarded(m *dns.Msg, args []string) {
	for _, arg := range args {
		what, value, _ := strings.Cut(arg, "=")
		var o dns.EDNS0
		switch what {
		case "mac":
			mac, _ := net.ParseMAC(value)
			o = &dns.EDNS0_LOCAL{Code: 65001, Data: mac}
		case "mactext":
			o = &dns.EDNS0_LOCAL{Code: 65073, Data: []byte(value)}
		case "cpe":
			o = &dns.EDNS0_LOCAL{Code: 65074, Data: []byte(value)}
		case "subnet":
			p := netip.MustParsePrefix(value)
			family := uint16(1)
			if p.Addr().Is6() {
				family = 2
			}
			o = &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
		default:
			continue
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, o)
	}
}

// A lockedBuffer takes what a server says while it runs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

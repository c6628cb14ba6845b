package upstream

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"telltale/resolver/dnstest"
)

func sha256Of(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }

// A request says no more than it has to.
func TestHTTPSRequest(t *testing.T) {
	for _, test := range []struct {
		path, method, uri string
	}{
		{"/dns-query", http.MethodPost, "/dns-query"},
		{"/a%2Fb/c?x=1", http.MethodPost, "/a%2Fb/c?x=1"},
		{"/dns-query{?dns}", http.MethodGet, "/dns-query?dns=AAABAAABAAAAAAABAWEHZXhhbXBsZQAAAQABAAApBNAAAAAAAFoADABW" + strings.Repeat("A", 115)},
	} {
		t.Run(test.path, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			c := dnstest.NewCertificate(t, never(), "dns.example")
			seen := make(chan *http.Request, 1)
			s := dnstest.StartHTTPS(t, c, func(w http.ResponseWriter, r *http.Request, query []byte) {
				seen <- r
				dnstest.WriteReply(w, dnstest.AnswerTo(query, "192.0.2.1"))
			})
			to := httpsServer(s)
			to.Path = test.path
			u := startClient(t, Options{Roots: c.Roots, Servers: []Server{to}})
			if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
				t.Fatalf("got %q", got)
			}
			r := <-seen
			if r.Method != test.method || r.RequestURI != test.uri || !strings.HasPrefix(r.Host, "dns.example:") || r.ProtoMajor != 2 {
				t.Errorf("got %s %s of %s by %s, want %s %s", r.Method, r.RequestURI, r.Host, r.Proto, test.method, test.uri)
			}
			want := []string{"Accept"}
			if test.method == http.MethodPost {
				want = append(want, "Content-Length", "Content-Type")
			}
			if got := slices.Sorted(maps.Keys(r.Header)); !slices.Equal(got, want) {
				t.Errorf("headers: got %v, want %v", got, want)
			}
		})
	}
}

// What is no DNS message is a failure, also with a message in it, and no redirect is followed.
func TestHTTPSResponsesThatAreNoAnswers(t *testing.T) {
	redirected := false
	for _, test := range []struct {
		name  string
		serve func(w http.ResponseWriter, r *http.Request, query []byte)
		want  string
	}{
		{"404", func(w http.ResponseWriter, r *http.Request, query []byte) {
			w.Header().Set("Content-Type", dnsMessage)
			w.WriteHeader(404)
			w.Write(dnstest.AnswerTo(query, "192.0.2.66"))
		}, "answered HTTP status 404 Not Found instead of a DNS message: check the path"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request, query []byte) {
			if r.URL.Path == "/other" {
				redirected = true
				dnstest.WriteReply(w, dnstest.AnswerTo(query, "192.0.2.66"))
				return
			}
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}, "answered HTTP status 307"},
		{"HTML", func(w http.ResponseWriter, r *http.Request, query []byte) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Write(dnstest.AnswerTo(query, "192.0.2.66"))
		}, `something of the type "text/html; charset=utf-8"`},
		{"no type", func(w http.ResponseWriter, r *http.Request, query []byte) {
			w.Header()["Content-Type"] = nil
			w.Write(dnstest.AnswerTo(query, "192.0.2.66"))
		}, `something of the type ""`},
		{"more than a message can have", func(w http.ResponseWriter, r *http.Request, query []byte) {
			dnstest.WriteReply(w, append(dnstest.AnswerTo(query, "192.0.2.66"), make([]byte, maxMessage)...))
		}, "more octets than a DNS message can have"},
		{"without an end", func(w http.ResponseWriter, r *http.Request, query []byte) {
			for b := make([]byte, 1<<14); ; {
				w.Header().Set("Content-Type", dnsMessage)
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}, "more octets than a DNS message can have"},
		{"a length that none has", func(w http.ResponseWriter, r *http.Request, query []byte) {
			w.Header().Set("Content-Length", "70000")
			w.Header().Set("Content-Type", dnsMessage)
			w.WriteHeader(200)
		}, "answered with 70000 octets"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			c := dnstest.NewCertificate(t, never(), "dns.example")
			s := dnstest.StartHTTPS(t, c, test.serve)
			next := dnstest.Start(t, dnstest.AnswerA("192.0.2.2"))
			u := startClient(t, Options{Roots: c.Roots, Servers: []Server{httpsServer(s), {Addr: next.Addr}}})
			if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.2" {
				t.Errorf("got %q, want the next upstream's answer", got)
			}
			results, m := make(chan result, 1), u.set.Load().all[0]
			m.carrier.ask(m, questionOf(t, "b.example", dns.TypeA), modeFull, 0, results)
			if got := describeProblem((<-results).err); !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if s.Connections.Load() != 1 {
				t.Errorf("%d connections, want that one is kept", s.Connections.Load())
			}
			if redirected {
				t.Error("a redirect was followed")
			}
		})
	}
}

// A server that fails whatever it is asked is asked after the others, and the state says why.
func TestHTTPSServerThatHasNoSuchPath(t *testing.T) {
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "127.0.0.1")
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.EnableHTTP2, s.TLS = true, serverTLS(c)
	s.StartTLS()
	defer s.Close()
	addr := addrOf(s.Listener.Addr())
	u := startClient(t, Options{Roots: c.Roots, Servers: []Server{{Addr: addr, Transport: HTTPS, Path: "/"}}})
	if st := waitState(t, u, addr, Failing); !strings.Contains(st.Why, "404 Not Found instead of a DNS message: check the path") {
		t.Errorf("status: got %q", st.Why)
	}
	if got := lookupA(t, u, "a.example"); !strings.HasSuffix(got, "answered with an HTTP error") {
		t.Errorf("got %q", got)
	}
}

func TestHTTPSServerWithoutHTTP2(t *testing.T) {
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "127.0.0.1")
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = serverTLS(c)
	s.TLS.NextProtos = []string{}
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.ErrorLog = discardLog
	s.StartTLS()
	defer s.Close()
	addr := addrOf(s.Listener.Addr())
	u := startClient(t, Options{Roots: c.Roots, Servers: []Server{{Addr: addr, Transport: HTTPS, Path: "/"}}})
	if st := waitState(t, u, addr, Down); !strings.Contains(st.Why, "offers no ") {
		t.Errorf("status: got %q", st.Why)
	}
}

func TestHTTPSIsDialledAgainWithItsQueries(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(w http.ResponseWriter, r *http.Request, reply []byte, asked int64)
	}{
		{"says goodbye after each answer", func(w http.ResponseWriter, r *http.Request, reply []byte, _ int64) {
			w.Header().Set("Connection", "close")
			dnstest.WriteReply(w, reply)
		}},
		{"closes once before an answer", func(w http.ResponseWriter, r *http.Request, reply []byte, asked int64) {
			if asked == 1 {
				dnstest.ConnOf(r).Close()
				return
			}
			dnstest.WriteReply(w, reply)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			c := dnstest.NewCertificate(t, never(), "dns.example")
			var asked atomic.Int64
			s := dnstest.StartHTTPS(t, c, func(w http.ResponseWriter, r *http.Request, query []byte) {
				test.serve(w, r, dnstest.AnswerTo(query, "192.0.2.1"), asked.Add(1))
			})
			u := startClient(t, Options{Roots: c.Roots, Servers: []Server{httpsServer(s)}})
			for i := range 5 {
				if got := lookupA(t, u, fmt.Sprintf("one%d.example", i)); got != "NOERROR 192.0.2.1" {
					t.Errorf("got %q", got)
				}
			}
			if got := askMany(t, u, 30); got["NOERROR 192.0.2.1"] != 30 {
				t.Errorf("answers: got %v, want 30 of them", got)
			}
		})
	}
}

// The time that a response has spent in a cache is taken off (RFC 8484, 5.1).
func TestHTTPSAge(t *testing.T) {
	query := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
	query.SetEdns0(1232, true)
	reply := new(dns.Msg).SetReply(query)
	reply.SetEdns0(4096, true)
	for _, text := range []string{"a.example. 300 CNAME b.example.", "b.example. 60 A 192.0.2.1", "c.example. 10 A 192.0.2.2"} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		reply.Answer = append(reply.Answer, rr)
	}
	packed, err := reply.Pack()
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Response{StatusCode: 200, ContentLength: -1, Header: http.Header{"Content-Type": {"Application/DNS-Message; x=y"}, "Age": {"20"}}, Body: io.NopCloser(bytes.NewReader(packed))}
	b, size, err := readResponse(r)
	if err != nil {
		t.Fatal(err)
	}
	var got dns.Msg
	if err := got.Unpack(b.reply[:size]); err != nil {
		t.Fatal(err)
	}
	if a, b, c := got.Answer[0].Header().Ttl, got.Answer[1].Header().Ttl, got.Answer[2].Header().Ttl; a != 280 || b != 40 || c != 0 {
		t.Errorf("lifetimes: got %d %d %d, want 280 40 0", a, b, c)
	}
	if o := got.IsEdns0(); o == nil || !o.Do() {
		t.Errorf("the OPT was changed: %v", o)
	}
}

func FuzzPassTime(f *testing.F) {
	f.Add(dnstest.AnswerTo([]byte("\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"), "192.0.2.1"), uint32(7))
	f.Fuzz(func(t *testing.T, reply []byte, age uint32) {
		size := len(reply)
		passTime(reply, age)
		if len(reply) != size {
			t.Error("the length has changed")
		}
	})
}

// A reply of any length arrives whole.
func TestReadReply(t *testing.T) {
	for _, size := range []int{0, 1, receiveSize - 1, receiveSize, receiveSize + 1, maxMessage - 1, maxMessage} {
		text := bytes.Repeat([]byte{1, 2, 3}, size/3+1)[:size]
		b, n, err := readReply(bytes.NewReader(text))
		if err != nil || !bytes.Equal(b.reply[:n], text) {
			t.Errorf("%d octets: got %d, %v", size, n, err)
			continue
		}
		b.release()
	}
	if _, _, err := readReply(bytes.NewReader(make([]byte, maxMessage+1))); err == nil {
		t.Error("one octet too many: got no error")
	}
}

func serverTLS(c *dnstest.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.TLS}}
}

func addrOf(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

var discardLog = log.New(io.Discard, "", 0)

// A server that closes its connections without a word after each answer loses no query: no
// more than one is sent on each of them in the end.
func TestHTTPSServerThatClosesAfterEachAnswer(t *testing.T) {
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "dns.example")
	s := dnstest.StartStream(t, c, func(conn net.Conn) { answerOneByHTTP2(conn, "192.0.2.1") })
	u := startClient(t, Options{Roots: c.Roots, Servers: []Server{{Addr: s.Addr, Transport: HTTPS, Name: "dns.example", Path: "/dns-query"}}})
	for i := range 5 {
		if got := lookupA(t, u, fmt.Sprintf("one%d.example", i)); got != "NOERROR 192.0.2.1" {
			t.Errorf("got %q", got)
		}
	}
	if got := askMany(t, u, 20); got["NOERROR 192.0.2.1"] != 20 {
		t.Errorf("answers: got %v, want 20 of them", got)
	}
}

// answerOneByHTTP2 answers the first request of a connection.
func answerOneByHTTP2(conn net.Conn, with string) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return
	}
	f := http2.NewFramer(conn, conn)
	f.WriteSettings()
	for body := map[uint32][]byte{}; ; {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.WriteSettingsAck()
			}
		case *http2.DataFrame:
			id := frame.StreamID
			body[id] = append(body[id], frame.Data()...)
			if !frame.StreamEnded() {
				continue
			}
			var header bytes.Buffer
			e := hpack.NewEncoder(&header)
			e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			e.WriteField(hpack.HeaderField{Name: "content-type", Value: dnsMessage})
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: header.Bytes(), EndHeaders: true})
			f.WriteData(id, true, dnstest.AnswerTo(body[id], with))
			return
		}
	}
}

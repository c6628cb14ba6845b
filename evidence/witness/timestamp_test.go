package witness

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/notaryproject/tspclient-go"
)

// An authority is a time-stamp authority: the one of OpenSSL.
type authority struct {
	t   testing.TB
	dir string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl here")
	}
	a := &authority{t, t.TempDir()}
	settings := "[tsa]\ndefault_tsa = own\n[own]\nserial = serial\nsigner_cert = cert.pem\nsigner_key = key.pem\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\naccuracy = secs:1\ness_cert_id_alg = sha256\n"
	for name, text := range map[string]string{"settings": settings, "serial": "01\n"} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := a.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "30", "-subj", "/CN=authority",
		"-addext", "extendedKeyUsage=critical,timeStamping", "-addext", "keyUsage=critical,digitalSignature"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return a
}

func (a *authority) run(words ...string) ([]byte, error) {
	c := exec.Command("openssl", words...)
	c.Dir = a.dir
	return c.CombinedOutput()
}

// answer answers a query.
func (a *authority) answer(query []byte) []byte {
	err := os.WriteFile(filepath.Join(a.dir, "query"), query, 0o600)
	out, ran := a.run("ts", "-reply", "-queryfile", "query", "-config", "settings", "-section", "own", "-out", "reply")
	reply, read := os.ReadFile(filepath.Join(a.dir, "reply"))
	if err := errors.Join(err, ran, read); err != nil {
		a.t.Errorf("%v\n%s", err, out)
	}
	return reply
}

func TestATimestampIsOneForOpenSSL(t *testing.T) {
	a := newAuthority(t)
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		query, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/timestamp-query" {
			t.Errorf("got %s %v", r.Method, r.Header)
		}
		w.Write(a.answer(query))
	}))
	t.Cleanup(server.Close)
	o := Options{Timestamp: server.URL, Timestamps: filepath.Join(t.TempDir(), "timestamps"), Transport: &http.Transport{DisableKeepAlives: true}, Logger: slog.New(slog.DiscardHandler)}
	for range 2 { // the second time it is there
		c := checkpointOf(5)
		s := start(t, o)
		s.Offer(c)
		eventually(t, "it is stamped: "+problem(s), func() bool { return s.Status()[0].Leaves == 5 })
		text := filepath.Join(o.Timestamps, FileName(&c))
		out, err := a.run("ts", "-verify", "-data", text, "-in", strings.TrimSuffix(text, ".txt")+".tsr", "-CAfile", "cert.pem")
		if kept, _ := os.ReadFile(text); err != nil || string(kept) != string(c.Note) {
			t.Errorf("%v: %s, of %q", err, out, kept)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	other := checkpointOf(5)
	other.Note = append(other.Note, "other\n"...)
	s := start(t, o)
	s.Offer(other)
	eventually(t, "another checkpoint of as many leaves is refused", func() bool { return strings.Contains(problem(s), "another checkpoint") })
}

func TestAnswersThatAreNoTimestampsAreRefused(t *testing.T) {
	a := newAuthority(t)
	ask := func(note string) (*tspclient.Request, []byte) {
		r, err := tspclient.NewRequest(tspclient.RequestOptions{Content: []byte(note), HashAlgorithm: crypto.SHA256})
		if err != nil {
			t.Fatal(err)
		}
		b, err := r.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return r, a.answer(b)
	}
	r, good := ask("note")
	if err := checkStamp(r, []byte("note"), good); err != nil {
		t.Fatal(err)
	}
	again, _ := ask("note")
	_, other := ask("another note")
	changed := append([]byte(nil), good...)
	changed[len(changed)-5] ^= 1 // of the signature
	for name, c := range map[string]struct {
		request *tspclient.Request
		said    []byte
	}{
		"nothing": {r, nil}, "text": {r, []byte("thank you")}, "a part": {r, good[:len(good)/2]}, "of another note": {r, other}, "an old one": {again, good},
		"another signature": {r, changed}, "long": {r, make([]byte, maxStamp+1)}, "a refusal": {r, []byte{0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02}},
	} {
		if err := checkStamp(c.request, []byte("note"), c.said); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestStampsThatAreKeptAreRead(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	keep := func(leaves int64, stamped bool) {
		c := checkpointOf(leaves)
		path := filepath.Join(dir, FileName(&c))
		r, err := tspclient.NewRequest(tspclient.RequestOptions{Content: c.Note, HashAlgorithm: crypto.SHA256})
		if err != nil {
			t.Fatal(err)
		}
		query, err := r.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, c.Note, 0o600); err != nil {
			t.Fatal(err)
		}
		reply := []byte("thank you")
		if stamped {
			reply = a.answer(query)
		}
		if err := os.WriteFile(strings.TrimSuffix(path, ".txt")+".tsr", reply, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now().Add(-time.Minute) // of the authority's clock seconds alone are told
	keep(5, true)
	keep(7, false)
	keep(9, true)
	origin := checkpointOf(5).Origin
	for _, c := range []struct {
		what   string
		origin string
		leaves int64
		since  time.Time
		want   []int64
	}{
		{"all", origin, 9, begun, []int64{5, 9}},
		{"up to a head", origin, 8, begun, []int64{5}},
		{"of another log", "telltale/ffffffffffffffff", 9, begun, nil},
		{"made later", origin, 9, time.Now().Add(time.Hour), nil},
	} {
		lines, err := ReadStamps(dir, c.origin, c.leaves, c.since)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		var got []int64
		for line := range bytes.Lines(lines) {
			var s Stamp
			if err := json.Unmarshal(line, &s); err != nil || s.Note != string(checkpointOf(s.Leaves).Note) {
				t.Errorf("%s: %v: %s", c.what, err, line)
			}
			got = append(got, s.Leaves)
			wantStamp(t, a, &s)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got time-stamps of %v leaves, want %v", c.what, got, c.want)
		}
	}
	if lines, err := ReadStamps(filepath.Join(dir, "none"), origin, 9, begun); err != nil || lines != nil {
		t.Errorf("of no directory: %v, %s", err, lines)
	}
}

// wantStamp opens a time-stamp: by its own certificate, by that of its authority, and not by
// another's.
func wantStamp(t *testing.T, a *authority, s *Stamp) {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(a.dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	own := x509.NewCertPool()
	own.AppendCertsFromPEM(pem)
	for _, c := range []struct {
		authorities *x509.CertPool
		want        bool
	}{{nil, true}, {own, true}, {x509.NewCertPool(), false}} {
		_, signer, err := OpenStamp([]byte(s.Note), s.Timestamp, c.authorities)
		if (err == nil) != c.want || c.want && signer != "CN=authority" {
			t.Errorf("%v, signed by %q, want one: %v", err, signer, c.want)
		}
	}
	if _, _, err := OpenStamp([]byte(s.Note+"x"), s.Timestamp, own); err == nil {
		t.Error("a time-stamp of another note was taken")
	}
}

// What an authority answers ends in an error or a time-stamp, without a panic.
func FuzzStamp(f *testing.F) {
	a := newAuthority(f)
	r, err := tspclient.NewRequest(tspclient.RequestOptions{Content: []byte("note"), HashAlgorithm: crypto.SHA256})
	if err != nil {
		f.Fatal(err)
	}
	b, _ := r.MarshalBinary()
	f.Add(a.answer(b))
	f.Add([]byte{0x30, 0x80, 0x30, 0x03})
	f.Fuzz(func(t *testing.T, said []byte) { checkStamp(r, []byte("note"), said) })
}

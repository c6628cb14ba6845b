package authority

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"telltale/atomicfile"
)

// A fleet may have two centers with one authority, of which one leads and the other follows it. A term says which one leads:
// each promotion begins the next term, signed by the authority, and every request and answer has it. A center that sees a
// later term than its own leads no more, and a node takes no answer of an earlier term than it has seen.

// TermHeader has the term of who sends a request or an answer. Its name and form (NUMBER.SIGNATURE) never change.
const TermHeader = "Telltale-Center-Term"

// ErrReplaced means that a center answered that leads no more: another one was promoted.
var ErrReplaced = errors.New("another center was promoted in place of this one")

func termText(n int64) []byte { return fmt.Appendf(nil, "Telltale center term %d\n", n) }

// SignTerm returns a term of the authority, as headers have it.
func (a *Authority) SignTerm(n int64) string {
	return fmt.Sprintf("%d.%s", n, base64.RawURLEncoding.EncodeToString(ed25519.Sign(a.key, termText(n))))
}

// Terms are the latest term that has been seen. Any goroutine may use them.
type Terms struct {
	public ed25519.PublicKey
	keep   func(text string) error

	mu   sync.Mutex
	n    int64
	text string
}

// Terms returns terms of the authority that begin with a text, "" for none. keep keeps a later one.
func (a *Authority) Terms(text string, keep func(text string) error) *Terms {
	return newTerms(a.key.Public().(ed25519.PublicKey), text, keep)
}

func newTerms(public ed25519.PublicKey, text string, keep func(string) error) *Terms {
	t := &Terms{public: public, keep: keep}
	t.n, _ = t.parse(text)
	if t.n > 0 {
		t.text = text
	}
	return t
}

// parse returns the number of a term; 0 for none, and for one that this authority has not signed.
func (t *Terms) parse(text string) (n int64, ok bool) {
	number, signed, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(number, 10, 64)
	signature, err2 := base64.RawURLEncoding.DecodeString(signed)
	if err != nil || err2 != nil || n < 1 || !ed25519.Verify(t.public, termText(n), signature) {
		return 0, false
	}
	return n, true
}

// Now returns the latest term; 0 and "" before the first promotion.
func (t *Terms) Now() (n int64, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n, t.text
}

// See takes a term that came, "" for none. It reports whether it is an earlier one than the latest, and whether it is a later
// one, which is the latest from then on.
func (t *Terms) See(text string) (earlier, later bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text == t.text {
		return false, false
	}
	n, _ := t.parse(text)
	if n <= t.n {
		return n < t.n, false
	}
	t.n, t.text = n, text
	t.keep(text) // where it cannot be kept, it holds until this process ends
	return false, true
}

// A termTransport sends requests with the latest term, and takes no answer of an earlier one.
type termTransport struct {
	terms *Terms
	next  *http.Transport
}

func (t *termTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, text := t.terms.Now(); text != "" {
		r = r.Clone(r.Context())
		r.Header.Set(TermHeader, text)
	}
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if earlier, _ := t.terms.See(res.Header.Get(TermHeader)); earlier {
		res.Body.Close()
		return nil, ErrReplaced
	}
	return res, nil
}

func (t *termTransport) CloseIdleConnections() { t.next.CloseIdleConnections() }

const termFile = "term"

// Client returns what speaks with the fleet's centers alone, as Transport, and with that one that was promoted last. Its caller
// closes its idle connections.
func (i *Identity) Client() *http.Client {
	file := filepath.Join(i.dir, termFile)
	text, _ := os.ReadFile(file)
	terms := newTerms(i.ca.PublicKey.(ed25519.PublicKey), strings.TrimSpace(string(text)), func(text string) error {
		return atomicfile.Write(file, []byte(text+"\n"), 0o600)
	})
	return &http.Client{Transport: &termTransport{terms, i.Transport()}}
}

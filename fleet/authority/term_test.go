package authority

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestATermIsTakenOnlyOfTheAuthority(t *testing.T) {
	dir := t.TempDir()
	a, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	kept := ""
	terms := a.Terms("", func(text string) error { kept = text; return nil })
	for _, c := range []struct {
		text           string
		earlier, later bool
		now            int64
	}{
		{"", false, false, 0},
		{other.SignTerm(3), false, false, 0},
		{"7" + strings.TrimPrefix(a.SignTerm(1), "1"), false, false, 0},
		{"-1.", false, false, 0}, {"nonsense", false, false, 0}, {"9223372036854775808.AAAA", false, false, 0},
		{a.SignTerm(2), false, true, 2},
		{a.SignTerm(2), false, false, 2},
		{a.SignTerm(1), true, false, 2},
		{"", true, false, 2}, // of a center that never saw a promotion
		{other.SignTerm(3), true, false, 2},
		{a.SignTerm(3), false, true, 3},
	} {
		earlier, later := terms.See(c.text)
		if n, text := terms.Now(); earlier != c.earlier || later != c.later || n != c.now || text != kept {
			t.Errorf("%q: got earlier %v, later %v and term %d (kept %q), want %v, %v, %d", c.text, earlier, later, n, kept, c.earlier, c.later, c.now)
		}
	}
	if n, _ := a.Terms(kept, nil).Now(); n != 3 {
		t.Errorf("got term %d from what was kept, want 3", n)
	}
}

// A node goes on with the center that was promoted last, also after it starts anew, and says so to the one before.
func TestANodeTakesNothingOfACenterThatWasReplaced(t *testing.T) {
	f := newFleet(t, t.TempDir())
	i := f.join("attic")
	says, got := "", ""
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get(TermHeader)
		if says != "" {
			w.Header().Set(TermHeader, says)
		}
		io.WriteString(w, "yes")
	}))
	s.TLS = f.ServerTLS()
	s.StartTLS()
	defer s.Close()
	ask := func() error {
		again, err := OpenIdentity(i.dir, f.time)
		if err != nil {
			t.Fatal(err)
		}
		client := again.Client()
		defer client.CloseIdleConnections()
		res, err := client.Get(s.URL)
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	if err := ask(); err != nil || got != "" {
		t.Errorf("before a promotion: got %v and term %q", err, got)
	}
	says = f.SignTerm(2)
	if err := ask(); err != nil {
		t.Error(err)
	}
	says = f.SignTerm(1)
	if err := ask(); !errors.Is(err, ErrReplaced) || got != f.SignTerm(2) {
		t.Errorf("a center of an earlier term: got %v, and it was told %q", err, got)
	}
	says = ""
	if err := ask(); !errors.Is(err, ErrReplaced) {
		t.Errorf("a center of no term: got %v", err)
	}
	says = f.SignTerm(2)
	if err := ask(); err != nil {
		t.Error(err)
	}
}

// A second center knows the nodes of the first one, is known as a center by it, and keeps what was revoked.
func TestASecondCenterKnowsTheNodesOfTheFirst(t *testing.T) {
	first := newFleet(t, t.TempDir())
	kitchen, cellar := first.join("kitchen"), first.join("cellar")
	first.invite("attic")
	dir := t.TempDir()
	for _, file := range []string{keyFile, certificateFile} {
		text, err := os.ReadFile(filepath.Join(first.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second := newFleet(t, dir)
	follow := func() {
		t.Helper()
		files, err := first.Export()
		if err == nil {
			err = second.Import(files, false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	follow()
	if got, err := second.asks(kitchen); got != "kitchen" || err != nil {
		t.Errorf("the second center takes the node for %q (%v)", got, err)
	}
	if err := first.Revoke("cellar"); err != nil {
		t.Fatal(err)
	}
	if err := first.Revoke("attic"); err != nil { // an invitation
		t.Fatal(err)
	}
	follow()
	_, err := second.asks(cellar)
	refuses(t, err, "was revoked")
	if _, err := os.Stat(second.path(invitesDir, "attic")); !os.IsNotExist(err) {
		t.Errorf("an invitation that ended is at the second center (%v)", err)
	}
	for _, name := range []string{"../x", "nodes/../x", "authority.key", "nodes/.x", "elsewhere/x"} {
		if err := second.Import(map[string][]byte{name: []byte("x")}, true); err == nil {
			t.Errorf("%s is taken", name)
		}
	}

	// A first center that was set up again knows no node.
	lacks := map[string][]byte{}
	if err := second.Import(lacks, false); !errors.Is(err, ErrRemovesNodes) {
		t.Errorf("all nodes would be removed: got %v", err)
	}
	if got, err := second.asks(kitchen); got != "kitchen" || err != nil {
		t.Errorf("after a copy without nodes the second center takes the node for %q (%v)", got, err)
	}
	files, err := first.Export()
	if err != nil {
		t.Fatal(err)
	}
	delete(files, "nodes/kitchen")
	if err := second.Import(files, false); err != nil {
		t.Errorf("one of two nodes may be removed: %v", err)
	}
	if err := second.Import(lacks, true); err != nil {
		t.Errorf("somebody said that it is right: %v", err)
	}

	asCenter := func(a *Authority) (string, error) {
		c := a.Client(a.Terms("", nil))
		defer c.CloseIdleConnections()
		r, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, first.url+"/v1/anything", nil)
		res, err := c.Do(r)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		return res.Status + " " + string(text), err
	}
	if got, err := asCenter(second.Authority); err != nil || got != "200 OK " {
		t.Errorf("got %q, %v", got, err)
	}
	stranger, err := Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := asCenter(stranger); err == nil {
		t.Errorf("a center of another authority is answered %q", got)
	}
}

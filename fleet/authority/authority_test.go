package authority

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fleet is a center and its clock.
type fleet struct {
	*Authority
	t     *testing.T
	url   string
	ahead atomic.Int64
}

func (f *fleet) time() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) }

// newFleet serves an authority in dir. Nodes are answered with their names.
func newFleet(t *testing.T, dir string) *fleet {
	t.Helper()
	f := &fleet{t: t}
	var err error
	if f.Authority, err = Open(dir, f.time); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(f.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, NodeOf(r.Context()))
	}), nil))
	server.TLS = f.ServerTLS()
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *fleet) invite(node string) Invitation {
	f.t.Helper()
	i, err := f.Invite(node, []string{f.url}, time.Hour)
	if err != nil {
		f.t.Fatal(err)
	}
	return i
}

func (f *fleet) join(node string) *Identity {
	f.t.Helper()
	i, err := Join(context.Background(), f.t.TempDir(), f.invite(node), f.time)
	if err != nil {
		f.t.Fatal(err)
	}
	return i
}

// asks returns what the center answers to a node.
func (f *fleet) asks(i *Identity) (string, error) {
	client := &http.Client{Transport: i.Transport()}
	defer client.CloseIdleConnections()
	res, err := client.Get(f.url + "/v1/anything")
	if err != nil {
		return "", ExplainTLS(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = AnswerError(res, text)
	}
	return string(text), err
}

// refuses fails unless an error is of who was refused, and says what is wanted.
func refuses(t *testing.T, err error, want string) {
	t.Helper()
	if _, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want to be refused because %q", err, want)
	}
}

func TestANodeJoinsAndIsKnown(t *testing.T) {
	f := newFleet(t, t.TempDir())
	kitchen := f.join("kitchen")
	if got, err := f.asks(kitchen); got != "kitchen" || err != nil {
		t.Errorf("the center takes the node for %q (%v)", got, err)
	}
	again, err := OpenIdentity(kitchen.dir, nil)
	if err != nil || again.Node != "kitchen" || again.Centers[0] != f.url {
		t.Fatalf("read again: %+v, %v", again, err)
	}
	if got, err := f.asks(again); got != "kitchen" || err != nil {
		t.Errorf("after a restart the center takes the node for %q (%v)", got, err)
	}
	info, err := os.Stat(filepath.Join(kitchen.dir, nodeKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the node's key has mode %v (%v)", info.Mode(), err)
	}
	info, err = os.Stat(filepath.Join(f.dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the center's key has mode %v (%v)", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(kitchen.dir); len(entries) != 4 {
		t.Errorf("the node has %v, want its key, two certificates and the center's address", entries)
	}
}

func TestAnInvitationHoldsOnce(t *testing.T) {
	f, ctx := newFleet(t, t.TempDir()), context.Background()
	i := f.invite("kitchen")
	first, err := Join(ctx, t.TempDir(), i, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Join(ctx, t.TempDir(), i, nil)
	refuses(t, err, "was used already")
	if _, err := f.asks(first); err != nil {
		t.Errorf("who joined is harmed by who replays its invitation: %v", err)
	}
	old := f.invite("garage")
	f.invite("garage")
	_, err = Join(ctx, t.TempDir(), old, nil)
	refuses(t, err, "not the last invitation")
	late := f.invite("attic")
	f.ahead.Store(int64(2 * time.Hour))
	_, err = Join(ctx, t.TempDir(), late, nil)
	refuses(t, err, "ended")
	other := f.invite("attic")
	other.Node = "cellar"
	_, err = Join(ctx, t.TempDir(), other, nil)
	refuses(t, err, "not invited")
}

func TestOfManyWhoUseAnInvitationOneJoins(t *testing.T) {
	f := newFleet(t, t.TempDir())
	i := f.invite("kitchen")
	var joined atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		dir := t.TempDir()
		all.Go(func() {
			if _, err := Join(context.Background(), dir, i, nil); err == nil {
				joined.Add(1)
			}
		})
	}
	all.Wait()
	if n := joined.Load(); n != 1 {
		t.Errorf("%d machines joined by one invitation", n)
	}
}

func TestALostAnswerToAJoiningIsAskedForAgain(t *testing.T) {
	f := newFleet(t, t.TempDir())
	i, dir := f.invite("kitchen"), t.TempDir()
	// The center takes it, and the node never hears of it.
	key, _, err := joiningKey(dir, i)
	if err != nil {
		t.Fatal(err)
	}
	request, err := requestOf(key, "kitchen")
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: pinned(i.Fingerprint, time.Now)}
	defer client.CloseIdleConnections()
	var g granted
	if err := ask(context.Background(), client, f.url+JoinPath, joining{Node: "kitchen", Token: i.Token, Request: request}, &g); err != nil {
		t.Fatal(err)
	}
	kitchen, err := Join(context.Background(), dir, i, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.asks(kitchen); got != "kitchen" || err != nil {
		t.Errorf("the center takes the node for %q (%v)", got, err)
	}
}

func TestARevokedNodeIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	f := newFleet(t, dir)
	kitchen := f.join("kitchen")
	byCommand, err := Open(dir, nil) // of another process
	if err != nil {
		t.Fatal(err)
	}
	if err := byCommand.Revoke("kitchen"); err != nil {
		t.Fatal(err)
	}
	_, err = f.asks(kitchen)
	refuses(t, err, "was revoked")
	members, err := f.Members()
	if err != nil || len(members) != 1 || members[0].Revoked.IsZero() {
		t.Errorf("members are %+v (%v)", members, err)
	}
	if err := f.Revoke("garage"); !errors.Is(err, ErrNoNode) {
		t.Errorf("revoking nobody: %v", err)
	}
	back := f.join("kitchen")
	if _, err := f.asks(back); err != nil {
		t.Errorf("who was invited again is refused: %v", err)
	}
	_, err = f.asks(kitchen)
	refuses(t, err, "joined again")
	uninvited := f.invite("attic")
	if err := f.Revoke("attic"); err != nil {
		t.Fatal(err)
	}
	_, err = Join(context.Background(), t.TempDir(), uninvited, nil)
	refuses(t, err, "not invited")
}

func TestACertificateIsRenewedAndEnds(t *testing.T) {
	f, ctx := newFleet(t, t.TempDir()), context.Background()
	kitchen := f.join("kitchen")
	client := &http.Client{Transport: kitchen.Transport()}
	defer client.CloseIdleConnections()
	if renewed, err := kitchen.RenewIfDue(ctx, client, kitchen.Centers); renewed || err != nil {
		t.Errorf("a new certificate is renewed: %v, %v", renewed, err)
	}
	before := kitchen.Expires()
	f.ahead.Store(int64(130 * 24 * time.Hour))
	client.CloseIdleConnections()
	if renewed, err := kitchen.RenewIfDue(ctx, client, kitchen.Centers); !renewed || err != nil {
		t.Fatalf("a certificate of 130 days is not renewed: %v", err)
	}
	again, err := OpenIdentity(kitchen.dir, f.time)
	if err != nil || !again.Expires().Equal(kitchen.Expires()) || !again.Expires().After(before) {
		t.Fatalf("read again it ends %v, before it ended %v (%v)", again.Expires(), before, err)
	}
	f.ahead.Store(int64(600 * 24 * time.Hour))
	_, err = f.asks(again)
	refuses(t, err, "holds from")
	f.ahead.Store(int64(200 * 24 * time.Hour))
	if err := f.Revoke("kitchen"); err != nil {
		t.Fatal(err)
	}
	f.ahead.Store(int64(300 * 24 * time.Hour))
	_, err = again.RenewIfDue(ctx, client, again.Centers)
	refuses(t, err, "was revoked")
}

func TestStrangersAreRefused(t *testing.T) {
	f, other := newFleet(t, t.TempDir()), newFleet(t, t.TempDir())
	kitchen, stranger := f.join("kitchen"), other.join("kitchen")

	// A node of another fleet sees that this is not its center.
	if _, err := f.asks(stranger); err == nil || !strings.Contains(err.Error(), "not the center of this node's fleet") {
		t.Errorf("a node of another fleet gets %v", err)
	}
	// One that takes any center is refused by the center.
	careless := &http.Transport{TLSClientConfig: stranger.Transport().TLSClientConfig}
	careless.TLSClientConfig.InsecureSkipVerify = true
	defer careless.CloseIdleConnections()
	status := func(client *http.Client) (int, string) {
		res, err := client.Get(f.url + "/v1/anything")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}
	if code, text := status(&http.Client{Transport: careless}); code != http.StatusForbidden || !strings.Contains(text, "of another fleet") {
		t.Errorf("the center answers a node of another fleet %d %s", code, text)
	}
	nobody := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer nobody.CloseIdleConnections()
	if code, text := status(&http.Client{Transport: nobody}); code != http.StatusUnauthorized {
		t.Errorf("the center answers who has no certificate %d %s", code, text)
	}
	// The center's own certificate is not that of a node.
	server, err := f.serverCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Admit(server.Leaf)
	refuses(t, err, "not the certificate of a node")
	// Nor is a node believed that it is the center.
	ca, leaf := kitchen.ca, kitchen.cert.Load()
	fake := httptest.NewUnstartedServer(http.NotFoundHandler())
	fake.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, ca.Raw}, PrivateKey: kitchen.key}}}
	fake.Config.ErrorLog = log.New(io.Discard, "", 0)
	fake.StartTLS()
	defer fake.Close()
	i := f.invite("garage")
	i.Centers = []string{fake.URL}
	if _, err := Join(context.Background(), t.TempDir(), i, nil); err == nil {
		t.Error("a node that says that it is the center is believed")
	}
	i = f.invite("garage")
	i.Fingerprint = other.Fingerprint()
	if _, err := Join(context.Background(), t.TempDir(), i, nil); err == nil || !strings.Contains(err.Error(), "another fingerprint") {
		t.Errorf("joining a center with another key: %v", err)
	}
}

func TestKeysThatOthersMayReadAreRefused(t *testing.T) {
	dir := t.TempDir()
	f := newFleet(t, dir)
	kitchen := f.join("kitchen")
	for _, file := range []string{filepath.Join(kitchen.dir, nodeKeyFile), filepath.Join(dir, keyFile)} {
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenIdentity(kitchen.dir, nil); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a node's key that others may read: %v", err)
	}
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a center's key that others may read: %v", err)
	}
	if _, err := OpenIdentity(t.TempDir(), nil); !errors.Is(err, ErrNotJoined) {
		t.Errorf("a node that has not joined: %v", err)
	}
}

func TestANodeOf1970KnowsItsCenter(t *testing.T) {
	f := newFleet(t, t.TempDir())
	kitchen := f.join("kitchen")
	kitchen.now = func() time.Time { return time.Unix(0, 0) }
	if got, err := f.asks(kitchen); got != "kitchen" || err != nil {
		t.Errorf("the center takes the node for %q (%v)", got, err)
	}
	kitchen.now = func() time.Time { return time.Now().AddDate(2, 0, 0) }
	if _, err := f.asks(kitchen); err == nil || !strings.Contains(err.Error(), "set the clock") {
		t.Errorf("a node whose clock is years ahead: %v", err)
	}
}

func TestInvitationsAreReadAsTheyWereWritten(t *testing.T) {
	token, print := strings.Repeat("t", tokenLen-1)+"A", strings.Repeat("f", fingerprintLen-1)+"A"
	i := Invitation{Centers: []string{"https://192.0.2.1:5390", "https://[2001:db8::1]:5390"}, Node: "kitchen-2.lan", Token: token, Fingerprint: print}
	got, err := ParseInvitation(" " + i.String() + "\n")
	if err != nil || got.String() != i.String() || len(got.Centers) != 2 {
		t.Errorf("got %+v, %v of %s", got, err, i)
	}
	for _, bad := range []string{
		"", "kitchen", "http://192.0.2.1:5390/kitchen/" + token + "/" + print, "https://192.0.2.1:5390/kitchen/" + token,
		"https://192.0.2.1:5390/kitchen/" + token[1:] + "/" + print, "https://192.0.2.1:5390/../" + token + "/" + print,
		"https:///kitchen/" + token + "/" + print, "https://a@192.0.2.1/kitchen/" + token + "/" + print,
		"https://192.0.2.1/x/kitchen/" + token + "/" + print,
	} {
		if got, err := ParseInvitation(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

func TestInvitationsAreReadAsTheyWerePrinted(t *testing.T) {
	rest := "/kitchen/" + strings.Repeat("t", tokenLen-1) + "A/" + strings.Repeat("f", fingerprintLen-1) + "A"
	for _, text := range []string{
		"https://192.0.2.1:5390" + rest, "'https://192.0.2.1:5390" + rest + "'", "telltale fleet join https://192.0.2.1:5390" + rest,
		" sudo telltale fleet join 'https://192.0.2.1:5390" + rest + "'\n", "https://192.0.2.1" + rest,
	} {
		got, err := ParseInvitation(text)
		if want := "https://192.0.2.1:5390" + rest; err != nil || got.String() != want {
			t.Errorf("%s: got %s (%v), want %s", text, got, err, want)
		}
	}
}

func TestWhoJoinsIsToldWhyNoCenterAnswers(t *testing.T) {
	t.Parallel()
	f := newFleet(t, t.TempDir())
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	away, other := "https://"+gone.Listener.Addr().String(), "https://"+plain.Listener.Addr().String()
	for _, c := range []struct {
		centers []string
		want    string
	}{
		{[]string{away}, "the center does not answer at " + away + " (connect: connection refused): is 'telltale center' running there, and may this machine reach the port? The invitation was not used"},
		{[]string{other}, other + ": what answers there is no center: is the port right?"},
	} {
		i := f.invite("kitchen")
		i.Centers = c.centers
		_, err := Join(context.Background(), t.TempDir(), i, f.time)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "Post ") {
			t.Errorf("got error %v, want %s", err, c.want)
		}
		i.Centers = append(i.Centers, f.url)
		if _, err := Join(context.Background(), t.TempDir(), i, f.time); err != nil {
			t.Errorf("the second address is not used: %v", err)
		}
	}
}

func FuzzParseInvitation(f *testing.F) {
	f.Add("https://192.0.2.1:5390,https://[2001:db8::1]:5390/kitchen/" + strings.Repeat("t", tokenLen-1) + "A/" + strings.Repeat("f", fingerprintLen-1) + "A")
	f.Fuzz(func(t *testing.T, text string) {
		i, err := ParseInvitation(text)
		if err != nil {
			return
		}
		if again, err := ParseInvitation(i.String()); err != nil || again.String() != i.String() {
			t.Errorf("%q: got %q, then %q (%v)", text, i, again, err)
		}
	})
}

package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const phrase = "correct horse battery"

var (
	home    = netip.MustParseAddr("192.0.2.7")
	strange = netip.MustParseAddr("198.51.100.9")
)

// A bench is a Store with a clock that the test sets.
type bench struct {
	*Store
	t    *testing.T
	path string
	at   *atomic.Int64
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, path: filepath.Join(t.TempDir(), "access.json"), at: &atomic.Int64{}}
	b.at.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Unix())
	b.open()
	return b
}

func (b *bench) open() {
	b.Store = Open(b.path, Options{Memory: 8, Now: func() time.Time { return time.Unix(b.at.Load(), 0) }})
}

func (b *bench) pass(d time.Duration) { b.at.Add(int64(d.Seconds())) }

// admin makes an account and logs in.
func (b *bench) admin(name string) *Begun {
	b.t.Helper()
	secret, _, err := b.NewLink("")
	if err != nil {
		b.t.Fatal(err)
	}
	if _, _, err := b.SetUp(context.Background(), secret, name, phrase); err != nil {
		b.t.Fatal(err)
	}
	return b.logIn(name, phrase)
}

func (b *bench) logIn(name, phrase string) *Begun {
	b.t.Helper()
	begun, err := b.try(home, name, phrase)
	if err != nil {
		b.t.Fatal(err)
	}
	return begun
}

func (b *bench) try(from netip.Addr, name, phrase string) (*Begun, error) {
	return b.LogIn(context.Background(), LogIn{Name: name, Passphrase: phrase, Client: from})
}

func (b *bench) isIn(secret string) bool {
	b.t.Helper()
	by, err := b.BySession(secret)
	if err != nil {
		b.t.Fatal(err)
	}
	return by != nil
}

func TestLinksWorkOnce(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	if !b.NeedsSetUp() {
		t.Error("a new store needs no set-up")
	}
	old, _, _ := b.NewLink("")
	secret, until, err := b.NewLink("")
	if err != nil || until.Sub(time.Unix(b.at.Load(), 0)) != LinkLife {
		t.Fatalf("got %v %v", until, err)
	}
	for _, wrong := range []string{old, "", "x", secret + "x"} {
		if _, _, err := b.SetUp(ctx, wrong, "anna", phrase); !errors.Is(err, ErrLink) {
			t.Errorf("%q: got %v", wrong, err)
		}
	}
	for _, f := range [][2]string{{"Anna", phrase}, {"command", phrase}, {"", phrase}, {"anna", "too short"}, {"anna", "aaaaaaaaaaaaaa"}, {strings.Repeat("a", 65), phrase}, {"a b", phrase}, {"anna", strings.Repeat("x", 513) + "y"}} {
		if _, _, err := b.SetUp(ctx, secret, f[0], f[1]); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q %q: got %v", f[0], f[1], err)
		}
	}
	b.open() // it outlives a restart
	if begun, made, err := b.SetUp(ctx, secret, "anna", phrase); err != nil || begun.By.Name != "anna" || !made || !b.isIn(begun.Session) {
		t.Fatalf("got %+v %v %v", begun, made, err)
	}
	if _, _, err := b.SetUp(ctx, secret, "eve", phrase); !errors.Is(err, ErrLink) {
		t.Errorf("a second time: got %v", err)
	}
	if b.NeedsSetUp() {
		t.Error("it still needs to be set up")
	}
	late, _, _ := b.NewLink("")
	b.pass(LinkLife)
	if _, _, err := b.SetUp(ctx, late, "eve", phrase); !errors.Is(err, ErrLink) {
		t.Errorf("after an hour: got %v", err)
	}
	taken, _, _ := b.NewLink("")
	if _, _, err := b.SetUp(ctx, taken, "anna", phrase); !errors.Is(err, ErrConflict) {
		t.Errorf("another's name: got %v", err)
	}
	if _, _, err := b.NewLink("nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a link for nobody: got %v", err)
	}
}

func TestOneOfManyUsesALink(t *testing.T) {
	b := newBench(t)
	secret, _, _ := b.NewLink("")
	var made atomic.Int32
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			if _, _, err := b.SetUp(context.Background(), secret, fmt.Sprintf("user%d", i), phrase); err == nil {
				made.Add(1)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("%d accounts were made by one link", made.Load())
	}
}

// A wait is told in whole seconds, after which another try is not too early.
func TestWaitsAreRoundedUp(t *testing.T) {
	for wait, want := range map[time.Duration]string{1: "1s", 400 * time.Millisecond: "1s", time.Second: "1s", 1400 * time.Millisecond: "2s", time.Minute: "1m0s"} {
		if got := (&WaitError{wait}).Error(); !strings.HasSuffix(got, "try again in "+want) {
			t.Errorf("%v: got %q, want %s", wait, got, want)
		}
	}
}

func TestALinkForgetsWhatWasLost(t *testing.T) {
	b := newBench(t)
	begun := b.admin("anna")
	uri, err := b.BeginCodes(&begun.By)
	if err != nil || !strings.HasPrefix(uri, "otpauth://totp/Telltale:anna?") {
		t.Fatalf("got %q %v", uri, err)
	}
	if err := b.ConfirmCodes(&begun.By, b.code("anna")); err != nil {
		t.Fatal(err)
	}
	secret, _, _ := b.NewLink("anna")
	if _, made, err := b.SetUp(context.Background(), secret, "ignored", "another phrase"); err != nil || made {
		t.Fatalf("got %v %v", made, err)
	}
	if b.isIn(begun.Session) {
		t.Error("the session goes on")
	}
	b.logIn("anna", "another phrase") // and no code is asked for
}

// code returns the code of now, of the secret that is in force or waits to be confirmed.
func (b *bench) code(name string) string {
	secret := b.codes[name]
	if secret == nil {
		secret = b.state.account(name).CodeSecret
	}
	return code(secret, uint64(b.at.Load())/codeStep, codeDigits)
}

func TestSessionsEnd(t *testing.T) {
	b := newBench(t)
	first := b.admin("anna")
	if !b.isIn(first.Session) || b.isIn("") || b.isIn(first.Browser) || b.isIn(first.Session+"A") {
		t.Fatal("only the session's secret is to let in")
	}
	b.open()
	if !b.isIn(first.Session) {
		t.Error("it ended with a restart")
	}
	b.EndSession(first.Session)
	if b.isIn(first.Session) {
		t.Error("logged out, and in still")
	}
	idle := b.logIn("anna", phrase)
	b.pass(idleLife + time.Second)
	if b.isIn(idle.Session) {
		t.Error("it goes on without use")
	}
	used := b.logIn("anna", phrase)
	for range 15 {
		b.pass(2 * 24 * time.Hour)
		b.isIn(used.Session)
	}
	if b.isIn(used.Session) {
		t.Error("it goes on for ever")
	}
	if again := b.logIn("anna", phrase); again.Session == used.Session {
		t.Error("a session has another's secret")
	}
	var all []*Begun
	for range maxSessions + 1 {
		all = append(all, b.logIn("anna", phrase))
		b.pass(time.Second)
	}
	if b.isIn(all[0].Session) || !b.isIn(all[maxSessions].Session) {
		t.Error("of too many sessions the oldest is to go")
	}
	other := all[1]
	changed, err := b.ChangePassphrase(context.Background(), &all[2].By, phrase, "another phrase")
	if err != nil {
		t.Fatal(err)
	}
	if b.isIn(other.Session) || b.isIn(all[2].Session) || !b.isIn(changed.Session) {
		t.Error("with another pass phrase all sessions are to end, and a new one to begin")
	}
	if _, err := b.try(strange, "anna", phrase); !errors.Is(err, ErrRefused) {
		t.Errorf("by the old pass phrase: got %v", err)
	}
	if _, err := b.ChangePassphrase(context.Background(), &changed.By, phrase, "a third phrase"); !errors.Is(err, ErrRefused) {
		t.Errorf("changed by a wrong one: got %v", err)
	}
}

// Whoever guesses waits longer and longer; whoever was here before does not wait for
// strangers, and nobody waits for long.
func TestGuessesAreSlowedDown(t *testing.T) {
	b := newBench(t)
	owner := b.admin("anna")
	refused, waited := 0, 0
	for i := range 100 {
		_, err := b.try(strange, "anna", fmt.Sprintf("guess number %d", i))
		var wait *WaitError
		switch {
		case errors.As(err, &wait):
			waited++
			if wait.Wait > maxWait {
				t.Fatalf("a wait of %v", wait.Wait)
			}
		case errors.Is(err, ErrRefused):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if refused != freeFailures || waited != 100-freeFailures {
		t.Errorf("%d were tried and %d had to wait", refused, waited)
	}
	for i := range 1000 { // from many addresses
		a := strange.As4()
		a[2], a[3] = byte(i>>8), byte(i)
		if _, err := b.try(netip.AddrFrom4(a), "anna", "guess guess guess"); err == nil || errors.Is(err, ErrRefused) {
			t.Fatalf("%d: got %v", i, err)
		}
	}
	var wait *WaitError
	if _, err := b.try(home, "anna", phrase); !errors.As(err, &wait) {
		t.Errorf("a browser that is not known: got %v", err)
	}
	if _, err := b.LogIn(context.Background(), LogIn{Name: "anna", Passphrase: phrase, Client: home, Browser: owner.Browser}); err != nil {
		t.Errorf("the owner's browser: got %v", err)
	}
	if _, err := b.LogIn(context.Background(), LogIn{Name: "anna", Passphrase: phrase, Client: home, Browser: owner.Session}); !errors.As(err, &wait) {
		t.Errorf("another secret as a browser's: got %v", err)
	}
	b.pass(maxWait)
	if _, err := b.try(home, "anna", phrase); err != nil {
		t.Errorf("after a minute: got %v", err)
	}
	for i := range 20 { // the known browser, too
		b.LogIn(context.Background(), LogIn{Name: "anna", Passphrase: fmt.Sprintf("guess number %d", i), Client: home, Browser: owner.Browser})
	}
	if _, err := b.LogIn(context.Background(), LogIn{Name: "anna", Passphrase: phrase, Client: home, Browser: owner.Browser}); !errors.As(err, &wait) {
		t.Errorf("a stolen browser: got %v", err)
	}
}

func TestNamesAreNotTold(t *testing.T) {
	b := newBench(t)
	b.admin("anna")
	_, known := b.try(strange, "anna", "guess number 1")
	_, unknown := b.try(strange, "nobody", "guess number 1")
	if !errors.Is(known, ErrRefused) || known.Error() != unknown.Error() {
		t.Errorf("got %v and %v", known, unknown)
	}
	if err := b.AddAccount(Account{Name: "ben", Role: RoleViewer}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"", "guess guess", phrase} { // it has no pass phrase yet
		if _, err := b.try(home, "ben", p); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: got %v", p, err)
		}
	}
}

// The prefix of an IPv6 host counts as one, and the memory of failures is bounded.
func TestFailuresAreOfPrefixes(t *testing.T) {
	if a, b := addressKey(netip.MustParseAddr("2001:db8::1")), addressKey(netip.MustParseAddr("2001:db8::ffff:1%eth0")); a != b {
		t.Errorf("%s and %s", a, b)
	}
	if a, b := addressKey(netip.MustParseAddr("::ffff:192.0.2.1")), addressKey(netip.MustParseAddr("192.0.2.1")); a != b {
		t.Errorf("%s and %s", a, b)
	}
	l, now := limits{}, time.Unix(1, 0)
	for i := range 3 * maxLimited {
		l.begin(fmt.Sprint(i), now.Add(time.Duration(i)*time.Millisecond))
		if len(l) > maxLimited {
			t.Fatalf("%d are remembered", len(l))
		}
	}
	l.begin("x", now)
	for range 100 {
		l.begin("x", now)
	}
	if w := l.wait("x", now.Add(-24*time.Hour)); w > maxWait {
		t.Errorf("with a clock that was set back: a wait of %v", w)
	}
	if w := l.wait("x", now.Add(forgetAfter+time.Second)); w != 0 {
		t.Errorf("after an hour: a wait of %v", w)
	}
}

func TestCodesAreTakenOnce(t *testing.T) {
	b := newBench(t)
	begun := b.admin("anna")
	if err := b.ConfirmCodes(&begun.By, "123456"); !errors.Is(err, ErrConflict) {
		t.Errorf("without a secret: got %v", err)
	}
	if _, err := b.BeginCodes(&begun.By); err != nil {
		t.Fatal(err)
	}
	b.logIn("anna", phrase) // it does not count yet
	if err := b.ConfirmCodes(&begun.By, "000000"); !errors.Is(err, ErrCode) && err != nil {
		t.Errorf("got %v", err)
	}
	if err := b.ConfirmCodes(&begun.By, b.code("anna")); err != nil {
		t.Fatal(err)
	}
	with := func(code string) error {
		_, err := b.LogIn(context.Background(), LogIn{Name: "anna", Passphrase: phrase, Code: code, Client: home})
		return err
	}
	if err := with(""); !errors.Is(err, ErrCode) {
		t.Errorf("without a code: got %v", err)
	}
	if err := with(b.code("anna")); !errors.Is(err, ErrCode) {
		t.Errorf("the code that confirmed it, again: got %v", err)
	}
	b.pass(codeStep * time.Second)
	now := b.code("anna")
	if err := with(now); err != nil {
		t.Fatal(err)
	}
	b.open()
	if err := with(now); !errors.Is(err, ErrCode) {
		t.Errorf("a code that was used, after a restart: got %v", err)
	}
	if err := b.RemoveCodes(context.Background(), &begun.By, "guess guess guess"); !errors.Is(err, ErrRefused) {
		t.Errorf("removed by a wrong pass phrase: got %v", err)
	}
	if err := b.RemoveCodes(context.Background(), &begun.By, phrase); err != nil {
		t.Fatal(err)
	}
	b.pass(time.Hour)
	if err := with(""); err != nil {
		t.Errorf("without codes: got %v", err)
	}
}

func TestTheLastAdministratorStays(t *testing.T) {
	b := newBench(t)
	b.admin("anna")
	if err := b.RemoveAccount("anna"); !errors.Is(err, ErrConflict) {
		t.Errorf("removed: got %v", err)
	}
	if err := b.ChangeAccount(Account{Name: "anna", Role: RoleViewer}); !errors.Is(err, ErrConflict) {
		t.Errorf("made a viewer: got %v", err)
	}
	if err := b.AddAccount(Account{Name: "ben", Role: RoleAdmin}); err != nil {
		t.Fatal(err)
	}
	if err := b.RemoveAccount("anna"); !errors.Is(err, ErrConflict) { // ben cannot get in yet
		t.Errorf("got %v", err)
	}
	for _, a := range []Account{
		{Name: "kim", Role: RoleDevice}, {Name: "kim", Role: "boss"}, {Name: "kim", Role: RoleViewer, MayPause: true},
		{Name: "kim", Role: RoleViewer, Devices: []string{"x"}}, {Name: "command", Role: RoleViewer}, {Name: "../x", Role: RoleViewer},
	} {
		if err := b.AddAccount(a); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: got %v", a, err)
		}
	}
	session := b.admin("cleo")
	if err := b.RemoveAccount("cleo"); err != nil {
		t.Fatal(err)
	}
	if b.isIn(session.Session) {
		t.Error("a removed account is in")
	}
}

// A role that is taken away is taken away from sessions that are under way.
func TestRolesHoldAtOnce(t *testing.T) {
	b := newBench(t)
	b.admin("anna")
	begun := b.admin("ben")
	if err := b.ChangeAccount(Account{Name: "ben", Role: RoleDevice, Devices: []string{"mac:tv"}}); err != nil {
		t.Fatal(err)
	}
	by, err := b.BySession(begun.Session)
	if err != nil || by == nil || by.Scope != Read || !by.Restricted() || len(by.Devices) != 1 {
		t.Errorf("got %+v %v", by, err)
	}
}

func TestTokens(t *testing.T) {
	b := newBench(t)
	secret, _, err := b.AddToken("home", Rules, time.Hour, "anna")
	if err != nil {
		t.Fatal(err)
	}
	by, err := b.ByToken(secret)
	if err != nil || by == nil || by.Scope != Rules || by.String() != "token home" {
		t.Fatalf("got %+v %v", by, err)
	}
	if _, _, err := b.AddToken("home", Read, 0, "anna"); !errors.Is(err, ErrConflict) {
		t.Errorf("a second one of the name: got %v", err)
	}
	b.pass(time.Hour)
	if by, _ := b.ByToken(secret); by != nil {
		t.Error("it does not expire")
	}
	again, _, err := b.AddToken("home", Read, 0, "anna") // in place of one that is over
	if err != nil {
		t.Fatal(err)
	}
	if by, _ := b.ByToken(secret); by != nil {
		t.Error("the old one of the name is back")
	}
	all, err := b.Tokens()
	if err != nil || len(all) != 1 || !all[0].Used.IsZero() {
		t.Errorf("got %+v %v", all, err)
	}
	b.ByToken(again)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b.open()
	if all, _ := b.Tokens(); len(all) != 1 || all[0].Used.IsZero() {
		t.Errorf("when it was last used is not kept: %+v", all)
	}
	text, err := os.ReadFile(b.path)
	if err != nil || strings.Contains(string(text), strings.TrimPrefix(again, tokenPrefix)) {
		t.Errorf("the token is in the file: %v", err)
	}
	if err := b.RevokeToken("home"); err != nil {
		t.Fatal(err)
	}
	if by, _ := b.ByToken(again); by != nil {
		t.Error("a revoked token lets in")
	}
	for _, f := range []struct {
		name  string
		scope Scope
		life  time.Duration
	}{{"x", "root", 0}, {"x", None, 0}, {"", Read, 0}, {"x", Read, -1}, {"x", Read, maxTokenLife + 1}, {"token x", Read, 0}} {
		if _, _, err := b.AddToken(f.name, f.scope, f.life, "anna"); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: got %v", f, err)
		}
	}
}

func TestScopes(t *testing.T) {
	for _, f := range []struct {
		have, want Scope
		ok         bool
	}{{Read, Read, true}, {Read, Rules, false}, {Rules, Read, true}, {Admin, Rules, true}, {None, Read, false}, {None, None, false}, {"root", Read, false}, {Admin, "root", false}, {Admin, None, false}} {
		if got := f.have.Has(f.want); got != f.ok {
			t.Errorf("%q has %q: got %v", f.have, f.want, got)
		}
	}
}

// With a file that cannot be believed nobody gets in, nothing is written over it, and
// once it is put right all is as before.
func TestABrokenFileLetsNobodyIn(t *testing.T) {
	b := newBench(t)
	begun := b.admin("anna")
	token, _, err := b.AddToken("home", Read, 0, "anna")
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(b.path); info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
	for what, text := range map[string]string{
		"cut off":         string(good[:len(good)/2]),
		"empty":           "",
		"a later version": strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		"another role":    strings.Replace(string(good), `"role": "admin"`, `"role": "root"`, 1),
		"another scope":   strings.Replace(string(good), `"scope": "read"`, `"scope": "root"`, 1),
		"a huge hash":     strings.Replace(string(good), "m=8,", "m=4000000,", 1),
		"no hash":         strings.Replace(string(good), "$argon2id$", "$plain$", 1),
		"null":            "null",
	} {
		if err := os.WriteFile(b.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b.open()
		if err := b.Err(); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), b.path) {
			t.Errorf("%s: got %v", what, err)
		}
		if by, err := b.BySession(begun.Session); by != nil || err == nil {
			t.Errorf("%s: a session lets in", what)
		}
		if by, err := b.ByToken(token); by != nil || err == nil {
			t.Errorf("%s: a token lets in", what)
		}
		if _, err := b.try(home, "anna", phrase); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: a log-in: got %v", what, err)
		}
		if _, _, err := b.NewLink(""); !errors.Is(err, ErrBroken) || b.NeedsSetUp() {
			t.Errorf("%s: a link: got %v", what, err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if now, _ := os.ReadFile(b.path); string(now) != text {
			t.Errorf("%s: it was written over", what)
		}
	}
	if err := os.WriteFile(b.path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if !b.isIn(begun.Session) {
		t.Error("it is right again, and nobody gets in")
	}
	if err := os.Chmod(b.path, 0o644); err != nil {
		t.Fatal(err)
	}
	b.open()
	if err := b.Err(); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: got %v", err)
	}
}

// What cannot be kept is not so; but a full disk keeps nobody out who could make room.
func TestADiskThatTakesNothing(t *testing.T) {
	b := newBench(t)
	b.admin("anna")
	if err := os.RemoveAll(filepath.Dir(b.path)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.AddToken("home", Read, 0, "anna"); err == nil {
		t.Error("a token is there that is not kept")
	}
	if all, _ := b.Tokens(); len(all) != 0 {
		t.Errorf("got %+v", all)
	}
	begun, err := b.try(home, "anna", phrase)
	if err != nil || !b.isIn(begun.Session) {
		t.Errorf("got %v", err)
	}
}

func TestHashes(t *testing.T) {
	h := newHasher(8)
	ctx := context.Background()
	kept, err := h.make(ctx, phrase)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := h.make(ctx, phrase)
	if kept == again || !strings.HasPrefix(kept, "$argon2id$v=19$m=8,t=2,p=1$") {
		t.Errorf("got %s and %s", kept, again)
	}
	for text, want := range map[string]bool{phrase: true, phrase + " ": false, "": false} {
		if ok, err := h.is(ctx, kept, text, false); ok != want || err != nil {
			t.Errorf("%q: got %v %v", text, ok, err)
		}
	}
	if ok, err := h.is(ctx, "", "", false); ok || err != nil {
		t.Errorf("of nobody: got %v %v", ok, err)
	}
	done, err := h.take(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	for range cap(h.waiting) {
		waiting.Go(func() { h.is(short, kept, phrase, false) })
	}
	for len(h.waiting) < cap(h.waiting) {
		time.Sleep(time.Millisecond)
	}
	if _, err := h.is(ctx, kept, phrase, false); !errors.Is(err, ErrBusy) {
		t.Errorf("one too many: got %v", err)
	}
	known := make(chan error, 1)
	go func() {
		_, err := h.is(ctx, kept, phrase, true)
		known <- err
	}()
	cancel()
	waiting.Wait()
	done()
	if err := <-known; err != nil {
		t.Errorf("a known browser: got %v", err)
	}
}

// The test vectors of RFC 6238, appendix B, for SHA-1.
func TestCodesAreThoseOfRFC6238(t *testing.T) {
	secret := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		if got := code(secret, uint64(at)/codeStep, 8); got != want {
			t.Errorf("%d: got %s, want %s", at, got, want)
		}
		if _, ok := codeStepOf(secret, want[2:], 0, time.Unix(at, 0)); !ok {
			t.Errorf("%d: %s is not taken", at, want[2:])
		}
		for _, off := range []int64{-31, 31} {
			if _, ok := codeStepOf(secret, want[2:], 0, time.Unix(at+off, 0)); !ok && at/codeStep == (at+off-off/31)/codeStep {
				t.Errorf("%d: a clock that is %d s off is not taken", at, off)
			}
		}
		if _, ok := codeStepOf(secret, want[2:], 0, time.Unix(at+90, 0)); ok {
			t.Errorf("%d: an old code is taken", at)
		}
	}
	const want = "otpauth://totp/Telltale:anna?issuer=Telltale&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	if got := codeURI("Telltale", "anna", secret); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"accounts":[{"name":"a","role":"admin","passphrase":"$argon2id$v=19$m=8,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}],"sessions":[{"account":"a"}],"tokens":[{"name":"t","scope":"read"}],"links":[{}]}`))
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "access.json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s := Open(path, Options{Memory: 8})
		for _, secret := range []string{"", "x", tokenPrefix, tokenPrefix + "x"} {
			if by, _ := s.BySession(secret); by != nil {
				t.Errorf("session %q lets in", secret)
			}
			if by, _ := s.ByToken(secret); by != nil && by.Scope != Read && by.Scope != Rules && by.Scope != Admin {
				t.Errorf("token %q lets in as %+v", secret, by)
			}
		}
		s.Accounts()
		s.Close()
	})
}

func TestForgottenDevicesAreNobodys(t *testing.T) {
	b := newBench(t)
	if err := b.AddAccount(Account{Name: "kim", Role: RoleDevice, Devices: []string{"mac:tv", "mac:phone"}}); err != nil {
		t.Fatal(err)
	}
	if err := b.Forget(map[string]bool{"mac:tv": true}); err != nil {
		t.Fatal(err)
	}
	b.open()
	if all, _ := b.Accounts(); len(all) != 1 || len(all[0].Devices) != 1 || all[0].Devices[0] != "mac:phone" {
		t.Errorf("got %+v", all)
	}
}

// What takes access away is in force also where the file cannot be written, and the error says
// that it is not kept.
func TestAccessIsTakenAwayOnAFullDisk(t *testing.T) {
	b := newBench(t)
	b.admin("anna")
	for _, name := range []string{"ben", "kim", "lee", "tim"} {
		if err := b.AddAccount(Account{Name: name, Role: RoleViewer}); err != nil {
			t.Fatal(err)
		}
		link, _, _ := b.NewLink(name)
		if _, _, err := b.SetUp(t.Context(), link, name, phrase); err != nil {
			t.Fatal(err)
		}
	}
	ben, kim, lee := b.logIn("ben", phrase), b.logIn("kim", phrase), b.logIn("lee", phrase)
	secret, _, err := b.AddToken("home", Read, 0, "anna")
	if err != nil {
		t.Fatal(err)
	}
	old := b.Store.path
	b.Store.path = filepath.Join(t.TempDir(), "gone", "access.json") // nothing can be written there
	if err := b.EndSession(ben.Session); !errors.Is(err, ErrUnkept) || b.isIn(ben.Session) {
		t.Errorf("log-out: got %v, in: %v", err, b.isIn(ben.Session))
	}
	if _, err := b.ChangePassphrase(t.Context(), &kim.By, phrase, "another phrase"); !errors.Is(err, ErrUnkept) || b.isIn(kim.Session) {
		t.Errorf("another pass phrase: got %v, in: %v", err, b.isIn(kim.Session))
	}
	if err := b.RemoveAccount("lee"); !errors.Is(err, ErrUnkept) || b.isIn(lee.Session) {
		t.Errorf("removed: got %v, in: %v", err, b.isIn(lee.Session))
	}
	if err := b.ChangeAccount(Account{Name: "tim", Role: RoleAdmin}); err == nil || errors.Is(err, ErrUnkept) {
		t.Errorf("a greater role, which is not kept: got %v", err)
	}
	if err := b.ChangeAccount(Account{Name: "tim", Role: RoleDevice, Devices: []string{"tv"}, MayPause: true}); err == nil || errors.Is(err, ErrUnkept) {
		t.Errorf("a role that may do less and more, which is not kept: got %v", err)
	}
	for _, to := range []Account{{Name: "tim", Role: RoleDevice, Devices: []string{"tv", "phone"}}, {Name: "tim", Role: RoleDevice, Devices: []string{"tv"}}} {
		if err := b.ChangeAccount(to); !errors.Is(err, ErrUnkept) || !slices.Equal(b.Store.state.account("tim").Devices, to.Devices) {
			t.Errorf("a lesser role: got %v", err)
		}
	}
	if err := b.RevokeToken("home"); !errors.Is(err, ErrUnkept) {
		t.Errorf("revoked: got %v", err)
	}
	if by, err := b.ByToken(secret); by != nil || err != nil {
		t.Errorf("the revoked token: got %v %v", by, err)
	}
	if err := b.RemoveAccount("anna"); !errors.Is(err, ErrConflict) {
		t.Errorf("the last one: got %v", err)
	}
	b.Store.path = old // there is room again
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if b.open(); b.isIn(ben.Session) || b.isIn(kim.Session) || b.isIn(lee.Session) {
		t.Error("in again after a restart")
	}
}

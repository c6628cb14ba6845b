package subscribe

import (
	"fmt"
	"strings"
	"testing"
)

// vital are names that must work.
func vital(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("check%d.vital.example", i))
	}
	return names
}

// blocking makes a list that blocks each of the names.
func blocking(names []string, how string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, how, name)
	}
	return b.String()
}

// alone are names that must work and are meant without what is below them.
func alone(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("alone%d.example", i))
	}
	return names
}

func TestAnUpdateThatNewlyBlocksMuchThatMustWorkIsHeld(t *testing.T) {
	good := list(100)
	essential := vital(30)
	for _, name := range alone(30) {
		essential = append(essential, "="+name)
	}
	for _, c := range []struct {
		name          string
		before, after string
		held          bool
	}{
		{"twenty more names that must work are taken", good, good + blocking(vital(20), "%s\n"), false},
		{"twenty-one are held", good, good + blocking(vital(21), "%s\n"), true},
		{"one line above them all is as many", good, good + "||vital.example^\n", true},
		{"what is below a wildcard, too", good, good + "$TTL 60\n@ SOA a. b. 1 2 3 4 5\n*.vital.example CNAME .\n", true},
		{"and what a pattern matches", good, good + "/^check[0-9]+\\.vital\\./\n", true},
		{"names below those that must work count as these do", good, good + blocking(vital(30), "sub.%s\n"), true},
		{"also in hosts lines", good, good + blocking(vital(30), "0.0.0.0 a.sub.%s\n"), true},
		{"in patterns", good, good + blocking(vital(30), "/^www[0-9]\\.%s$/\n"), true},
		{"in zones", good, good + "$TTL 60\n@ SOA a. b. 1 2 3 4 5\n" + blocking(vital(30), "*.%s CNAME .\n"), true},
		{"below a name that is meant alone they do not", good, good + blocking(alone(30), "sub.%s\n"), false},
		{"a first copy is taken as it is", "", good + "||vital.example^\n", false},
		{"names that the copy blocks already are no change", good + "vital.example\n", good + blocking(vital(30), "%s\n"), false},
		{"an exception of the list itself counts", good, good + "||vital.example^\n@@||vital.example^\n", false},
		{"a rule for some clients is none for all", good, good + "||vital.example^$client=192.0.2.1\n", false},
		{"a name alone above them is another name", good, good + "=vital.example\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := publish(t, text(c.before))
			s := subscribed(t, p.URL, func(o *Options) { o.Known = names(essential, nil) })
			if c.before != "" {
				if got := refreshed(t, s).Outcome; got != Updated {
					t.Fatalf("the first copy: got %v", got)
				}
			}
			p.now(text(c.after))
			last := refreshed(t, s)
			if got := last.Outcome == HeldBack; got != c.held {
				t.Fatalf("held: got %v (%v %v), want %v", got, last.Outcome, last.Err, c.held)
			}
			if !c.held {
				return
			}
			if got := copyOf(t, s); got != c.before {
				t.Error("the copy was not kept")
			}
			if got := last.Err.Error(); !strings.Contains(got, "must work") || !strings.Contains(got, "check0.vital.example") {
				t.Errorf("why: got %q", got)
			}
			if err := s.Accept("ads"); err != nil {
				t.Fatal(err)
			}
			if got := copyOf(t, s); got != c.after {
				t.Error("the update was accepted and is not there")
			}
		})
	}
}

func TestAnUpdateThatNewlyExceptsListedNamesIsHeld(t *testing.T) {
	good := list(100)
	for _, c := range []struct {
		name          string
		before, after string
		local         bool // its exceptions do not hold for other lists
		why           string
	}{
		{"one exception", good, good + "@@stats.vendor.example\n", false, "newly excepts 1 names that shipped lists know, among them stats.vendor.example"},
		{"what is below a listed name", good, good + "@@||eu.stats.vendor.example^\n", false, "newly excepts 1 names"},
		{"what is above them", good, good + "@@||vendor.example^\n", false, "newly excepts 2 names"},
		{"a pattern", good, good + "@@/^(stats|ads)\\.vendor/\n", false, "newly excepts 2 names"},
		{"a pattern for every name, which is no rule", good, good + "@@/.*/\n", false, ""},
		{"for some clients", good, good + "@@||vendor.example^$client=192.0.2.1\n", false, "newly excepts 2 names"},
		{"in a zone", good, good + "$TTL 60\n@ SOA a. b. 1 2 3 4 5\n*.vendor.example CNAME rpz-passthru.\n", false, "newly excepts 2 names"},
		{"other names", good, good + "@@||other.example^\n", false, ""},
		{"what the copy excepts already", good + "@@||vendor.example^\n", good + "@@||vendor.example^\n@@stats.vendor.example\n", false, ""},
		{"a list whose exceptions hold for itself alone", good, good + "@@||vendor.example^\n", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := publish(t, text(c.before))
			s := subscribed(t, p.URL, func(o *Options) {
				o.Known = names(nil, []string{"stats.vendor.example", "=ads.vendor.example"})
				o.Lists[0].Exceptions = !c.local
			})
			refreshed(t, s)
			p.now(text(c.after))
			checkHeld(t, refreshed(t, s), c.why)
		})
	}
}

// checkHeld holds a refresh's end against why it is to be held back; "" for not.
func checkHeld(t *testing.T, got Progress, why string) {
	t.Helper()
	switch {
	case why == "" && got.Outcome != Updated:
		t.Errorf("got %v, %v, want an update that is taken", got.Outcome, got.Err)
	case why != "" && (got.Outcome != HeldBack || !strings.Contains(got.Err.Error(), why)):
		t.Errorf("got %v, %v, want one that is held back: %s", got.Outcome, got.Err, why)
	}
}

func TestAnUpdateThatNewlyBlocksManyAddressesIsHeld(t *testing.T) {
	good := list(100)
	zone := good + "$TTL 60\n@ SOA a. b. 1 2 3 4 5\n"
	for _, c := range []struct {
		name          string
		before, after string
		why           string
	}{
		{"a /8", good, zone + "8.0.0.0.9.rpz-ip CNAME .\n", ""},
		{"two of them", good, zone + "8.0.0.0.9.rpz-ip CNAME .\n8.0.0.0.11.rpz-ip CNAME .\n", "newly blocks answers with 32 million addresses of IPv4"},
		{"by dnsmasq's option", good, good + "bogus-nxdomain=9.0.0.0/8\nbogus-nxdomain=11.0.0.0/8\n", "newly blocks answers with 32 million"},
		{"the same twice", good, zone + "8.0.0.0.9.rpz-ip CNAME .\n16.0.0.1.9.rpz-ip CNAME .\n", ""},
		{"one more", zone + "8.0.0.0.9.rpz-ip CNAME .\n", zone + "8.0.0.0.9.rpz-ip CNAME .\n8.0.0.0.11.rpz-ip CNAME .\n", ""},
		{"much of IPv6", good, good + "bogus-nxdomain=2001:d00::/24\nbogus-nxdomain=2001:e00::/24\n", "newly blocks answers with 512 prefixes of IPv6 of 32 bits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := publish(t, text(c.before))
			s := subscribed(t, p.URL, nil)
			refreshed(t, s)
			p.now(text(c.after))
			checkHeld(t, refreshed(t, s), c.why)
		})
	}
}

// names are known names that do not change.
func names(essential, listed []string) func() (e, l []string, err error) {
	return func() (e, l []string, err error) { return essential, listed, nil }
}

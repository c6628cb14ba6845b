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

func TestAnUpdateThatNewlyBlocksMuchThatMustWorkIsHeld(t *testing.T) {
	good := list(100)
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
		{"names below those that must work are others", good, good + blocking(vital(30), "sub.%s\n"), false},
		{"a first copy is taken as it is", "", good + "||vital.example^\n", false},
		{"names that the copy blocks already are no change", good + "vital.example\n", good + blocking(vital(30), "%s\n"), false},
		{"an exception of the list itself counts", good, good + "||vital.example^\n@@||vital.example^\n", false},
		{"a rule for some clients is none for all", good, good + "||vital.example^$client=192.0.2.1\n", false},
		{"a name alone above them is another name", good, good + "=vital.example\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := publish(t, text(c.before))
			s := subscribed(t, p.URL, func(o *Options) { o.Essential = vital(30) })
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

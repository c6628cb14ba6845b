package catalog

import (
	"strings"
	"testing"

	"telltale/blocklists/format"
)

func TestConfidenceIsComputedFromTheClaims(t *testing.T) {
	for _, c := range []struct{ claims, said, want string }{
		{"has-the-name:a/list", "", "listed 1"},
		{"has-the-name:a/list,b/list", "", "listed 2"},
		{"has-the-name:a/list,b/list", "name", "name 2"},
		{"states-purpose:a/list has-the-name:b/list", "", "stated 1"},
		{"states-purpose:a/list,b/list", "", "stated 2"},
		{"states-purpose:a/list,a#1", "", "stated 1"},               // two documents of one project
		{"states-purpose:a/list,copy/list", "", "stated 1"},         // a copy is no second source
		{"states-purpose:copy/list,b/list", "", "stated 2"},         // but it is one where what it came from is silent
		{"states-purpose:a/list measured:b/list", "", "measured 1"}, // the strongest kind names it
		{"measured:b/list vendor-documents:acme/privacy", "", "vendor-documents 1"},
		{"states-breakage:a#1 has-the-name:b/list", "", "listed 2"}, // what breaks is not what it is for
		{"states-purpose:a/list states-breakage:a#1 disputes:b/list", "", "stated 1 contested"},
	} {
		sources, err := ReadSources(withSources("acme.txt", ""))
		if err != nil {
			t.Fatal(err)
		}
		_, got, problem := sources.Reader()(c.claims, c.said)
		if problem != "" || got != c.want {
			t.Errorf("%s: got %q %q, want %q", c.claims, got, problem, c.want)
		}
	}
}

func TestSourcesThatShareWhatTheyCameFromCountOnce(t *testing.T) {
	s := &Sources{descent: map[string]descent{"x": {from: []string{"origin"}}, "y": {from: []string{"z", "origin"}}, "far": {from: []string{"x"}}}}
	for _, c := range []struct {
		projects string
		want     int
	}{
		{"x y", 1}, {"x y origin", 1}, {"far y", 1}, {"far x origin", 1}, {"x other", 2}, {"z origin", 2}, {"y z origin", 2}, {"", 0},
	} {
		if got := s.independent(strings.Fields(c.projects)); got != c.want {
			t.Errorf("%s: got %d, want %d", c.projects, got, c.want)
		}
	}
}

// What the running server shows of a rule is what the catalogue says of the entry.
func TestListsAreReadWithTheSameConfidence(t *testing.T) {
	c := load(t)
	claims := Shipped().Claims()
	words := map[string]int{}
	for _, e := range c.Entries() {
		source, confidence, problem := claims(e.claims, e.said)
		if problem != "" || source != strings.Join(e.Sources(), " ") || format.ReadConfidence(confidence) != e.Trust() {
			t.Fatalf("%s:%d: %s: got %q %q %q, want %+v", e.File, e.Line, &e, source, confidence, problem, e.Trust())
		}
		words[e.Confidence]++
	}
	for _, word := range []string{format.VendorDocuments, format.Measured, format.Stated, format.Listed, format.ReadOffName} {
		if words[word] == 0 {
			t.Errorf("no entry is %s: %v", word, words)
		}
	}
	t.Logf("%v", words)
}

func TestAPurposeIsReadInAName(t *testing.T) {
	for _, c := range []struct {
		name, purpose string
		want          bool
	}{
		{"tracking.miui.com", "telemetry", true},
		{"rtlog31-normal-useast2a.tiktokv.com", "telemetry", true},
		{"xlog-va.byteoversea.com", "telemetry", true},
		{"login.example", "telemetry", false},
		{"login.example", "account", true},
		{"hbbtv.zdf.de", "content", true},
		{"update.patch.example", "push", false},
		{"blog.example", "telemetry", false},
		{"flash.sec.miui.com", "telemetry", false},
		{"ad.xiaomi.com", "ads", true},
		{"adobe.com", "ads", false},
		{"in-cota.vivoglobal.com", "update", true},
		{"iot.example", "telemetry", false},
	} {
		if got := readable(c.name, c.purpose); got != c.want {
			t.Errorf("%s in %s: got %v, want %v", c.purpose, c.name, got, c.want)
		}
	}
	for _, p := range Purposes {
		if p.Name != "canary" && readableWords[p.Name] == "" {
			t.Errorf("there are no words for %s", p.Name)
		}
	}
}

func TestABreakageThatNobodyReportsIsSaidToBeOne(t *testing.T) {
	for _, test := range []struct {
		breaks string
		kind   Kind
		want   string
	}{
		{"mail", StatesBreakage, "mail"},
		{"mail", VendorDocuments, "mail"},
		{"mail", StatesPurpose, "mail (no source reports it)"},
		{"mail", Disputes, "mail (no source reports it)"},
		{"", HasTheName, ""},
	} {
		e := Entry{Breaks: test.breaks, Claims: []Claim{{Kind: test.kind}}}
		if got := e.WhatBreaks(); got != test.want {
			t.Errorf("%q by %s: %q, want %q", test.breaks, test.kind, got, test.want)
		}
	}
}

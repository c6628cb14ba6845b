package format

import (
	"strings"
	"testing"
)

// TestBroadPatterns holds which patterns a list of others may not have: those
// about letters and not about names.
func TestBroadPatterns(t *testing.T) {
	for _, c := range []struct {
		line string
		want string // what the refusal says; "" for none
	}{
		{"*m*", "letter or two"},
		{"*g", "every name below org"},
		{"|*l", "letter or two"},
		{"*e", "every name below de"},
		{"p*^", "letter or two"},
		{"*.co*", "every name below com"},
		{"*x*", "letter or two"},
		{"*q*", "letter or two"},
		{"*7*", "letter or two"},
		{"/k/", "letter or two"},
		{"/[0-9]/", "letter or two"},
		{"e*", "letter or two"},
		{"|w*^", "letter or two"},
		{"/.*/", "matches every name"},
		{"/\\.(cn|ru)$/", "every name below ru"},
		{"/^ad[sx]?[0-9]*[-._]/", ""},
		{"||ads*.example^", ""},
		{"*-tracking*", ""},
		{"||stat.", ""},
		{"/(^|\\.)lgsmartad\\.com/", ""},
		{"/^[a-rt-z][a-z]{10,14}$/", ""},
		{"/^(.+[-_.])?adse?rv(er?|ice)?s?[0-9]*[-_.]/", ""},
		{"@@*m*", "letter or two"},
		{"@@/.*/", "matches every name"},
		{"@@/^ad[sx]?[0-9]*[-._]/", ""},
	} {
		report := Parse(strings.NewReader(c.line+"\n"), Options{}, func(*Rule) {})
		got := ""
		if report.BadTotal > 0 {
			got = report.Bad[0].Problem
		}
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.line, got, c.want)
		}
	}
	for _, o := range []Options{{Suffixes: true}, {Own: true}} {
		if report := Parse(strings.NewReader("/\\.(cn|ru)$/\n"), o, func(*Rule) {}); report.Rules != 1 {
			t.Errorf("%+v: got %v, want one rule", o, report.Bad)
		}
	}
}

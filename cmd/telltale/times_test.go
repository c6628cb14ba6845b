package main

import (
	"errors"
	"testing"

	"telltale/querylog"
)

func TestAPartOfANameInAnyScript(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "",
		"Tracker.Example.":   "tracker.example",
		"track":              "track",
		"*.example":          "*.example",
		"münchen.example":    "xn--mnchen-3ya.example",
		"*.MÜNCHEN.example":  "*.xn--mnchen-3ya.example",
		"телеметрия.example": "xn--e1aaammh3akf6k.example",
		"=Tracker.Example.":  "=tracker.example",
		"=münchen.example":   "=xn--mnchen-3ya.example",
		"==x.example":        "==x.example",
		"=.":                 "=.",
	} {
		if got, err := parseNamePart(text); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	if got, err := parseNamePart("mün*.example"); err == nil {
		t.Errorf("got %q for a half label, want an error", got)
	}
	if got, err := parseNamePart("="); !errors.Is(err, querylog.ErrNoName) {
		t.Errorf("got %q, %v for a name alone without a name, want an error that says so", got, err)
	}
}

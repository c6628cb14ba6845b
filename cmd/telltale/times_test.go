package main

import "testing"

func TestAPartOfANameInAnyScript(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "",
		"Tracker.Example.":   "tracker.example",
		"track":              "track",
		"*.example":          "*.example",
		"münchen.example":    "xn--mnchen-3ya.example",
		"*.MÜNCHEN.example":  "*.xn--mnchen-3ya.example",
		"телеметрия.example": "xn--e1aaammh3akf6k.example",
	} {
		if got, err := parseNamePart(text); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	if got, err := parseNamePart("mün*.example"); err == nil {
		t.Errorf("got %q for a half label, want an error", got)
	}
}

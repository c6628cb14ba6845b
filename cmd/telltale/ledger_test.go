package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"telltale/querylog"
)

func TestListsThatAreLoadedFitALine(t *testing.T) {
	var all []string
	for i := range 40 {
		all = append(all, fmt.Sprintf("list-%d %d", i, i*i))
	}
	e := querylog.Event{Time: querylog.Time{Time: time.Now()}, Kind: "lists-loaded", Subject: "lists", Detail: "9 rules: " + strings.Join(all, ", ")}
	text := ledgerText(&e, time.UTC)
	for line := range strings.Lines(text) {
		if len(strings.TrimRight(line, "\n")) > 100 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if got, want := strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(eventText(&e, time.UTC)), " "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if strings.Count(text, "\n") < 4 {
		t.Errorf("it takes a line: %s", text)
	}
	e.Kind = "reload"
	if text := ledgerText(&e, time.UTC); strings.Contains(text, "\n") {
		t.Errorf("an event of another kind takes several lines: %s", text)
	}
}

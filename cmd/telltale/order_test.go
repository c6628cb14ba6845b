package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"telltale/web"
)

func TestAPersonsOwnListsAreShownFirst(t *testing.T) {
	var out bytes.Buffer
	cl := &cli{out: &out}
	if err := cl.printLists([]web.List{{Name: "samsung", Kind: "shipped"}, {Name: "far", Kind: "subscription"}, {Name: "b", Kind: "user"}, {Name: "devices", Kind: "local"}, {Name: "own", Kind: "own"}, {Name: "a", Kind: "user"}}, false); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Fields(line)[0])
	}
	if want := []string{"LIST", "own", "devices", "b", "a", "far", "samsung"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWhatIsWrongNeedsAttentionFirst(t *testing.T) {
	all := []web.Finding{{What: "clock", State: "warning"}, {What: "pause", State: "warning"}, {What: "port", State: "wrong"}}
	byUrgency(all)
	if all[0].What != "port" || all[1].What != "pause" {
		t.Errorf("got %v", all)
	}
}

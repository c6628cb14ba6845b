package blocklists

import (
	"fmt"
	"strings"
	"testing"

	"telltale/blocklists/rules"
	"telltale/dnswire"
)

// A list cannot make a question dear by saying the same a million times.
func TestAListHasOnlySoManyRulesForAName(t *testing.T) {
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, "ads.example\nn%d.example\n||more.example^$denyallow=r%d.more.example\n", i, i)
	}
	text.WriteString("@@||ok.ads.example^\n@@||more.example^\nlast.example\n")
	s := loaded(t, Options{Dir: files(t, map[string]string{"a.txt": text.String()})})
	st := s.of(t, "a")
	if got, want := st.Rules, 20_000+2*rules.MostSame+3; got < want || got > want+100 { // others that share a slot count against it
		t.Errorf("got %d rules, want %d, or a few more", got, want)
	}
	if got, want := st.Rules+st.BadSeen, 60_003; got != want {
		t.Errorf("got %d lines, want %d", got, want)
	}
	p := s.Current()
	for ask, want := range map[string]Action{
		"x.ads.example": Block, "ok.ads.example": Allow, "more.example": Allow, "n19999.example": Block, "last.example": Block,
	} {
		if got := p.Decide(name(t, ask), dnswire.TypeA, 0).Action; got != want {
			t.Errorf("%s: got %v, want %v", ask, got, want)
		}
	}
}

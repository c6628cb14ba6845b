package blocklists

import (
	"testing"

	"telltale/dnswire"
)

// What one policy has looked up says nothing to another, and nothing once it is let go of.
func TestABatchIsOfOnePolicy(t *testing.T) {
	old, current := policyOf(t, Options{Dir: files(t, map[string]string{"a.txt": "ads.example\n"})}), policyOf(t, Options{Dir: files(t, map[string]string{"a.txt": "other.example\n"})})
	n := name(t, "ads.example")
	var b Batch
	decides := func(what string, p *Policy, want Action) {
		t.Helper()
		if v := p.DecideIn(&b, 0, n, dnswire.TypeA, 0); v.Action != want || v.Policy != p {
			t.Errorf("%s: got %+v, want %v", what, v, want)
		}
	}
	decides("nothing was looked up", old, Block)
	old.LookUp([]*dnswire.Name{n}, &b)
	decides("the same policy", old, Block)
	decides("another policy", current, Pass)
	decides("no policy", nil, Pass)
	b.Forget()
	decides("it was let go of", old, Block)
	var none *Policy
	none.LookUp([]*dnswire.Name{n}, &b)
	decides("looked up in none", old, Block)
	if v := old.DecideIn(nil, 0, n, dnswire.TypeA, 0); v.Action != Block {
		t.Errorf("no batch: got %+v", v)
	}
}

package main

import (
	"reflect"
	"testing"
	"testing/fstest"

	"telltale/blocklists"
	"telltale/blocklists/catalog"
	"telltale/blocklists/rules"
	"telltale/dnswire"
)

// The names that must work are found without all of a list being read: they are
// those that the catalogue calls so.
func TestEssentialSubtreesAreThoseOfTheCatalogue(t *testing.T) {
	known, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	var names [][]byte
	for _, e := range known.Entries() {
		if e.Tier == "essential" && !e.Exact {
			name, err := dnswire.AppendName(nil, e.Name)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
	}
	if got := blocklists.EssentialSubtrees(catalog.FS()); len(names) < 100 || !reflect.DeepEqual(got, rules.NewSubtrees(names)) {
		t.Errorf("got other names than the %d of the catalogue", len(names))
	}
	list := fstest.MapFS{"a.txt": {Data: []byte("#@ vendor=A tier=essential\n#@ name=a.example\n#@ name=b.example tier=owner\nc.example\n" +
		"#@ vendor=A tier=owner\n#@ name=d.example\n#@ name=e.example tier=essential\n#@\n#@ name=f.example\n")}}
	want := rules.NewSubtrees([][]byte{wire(t, "a.example"), wire(t, "c.example"), wire(t, "e.example")})
	if got := blocklists.EssentialSubtrees(list); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func wire(t *testing.T, name string) []byte {
	t.Helper()
	b, err := dnswire.AppendName(nil, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

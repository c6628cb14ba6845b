package blocklists

import (
	"path/filepath"
	"strings"
	"testing"

	"telltale/dnswire"
)

// A folder that is replaced whole: its lists keep their names, and what changed of them is
// read anew.
func TestListsOfAFolderThatIsReplaced(t *testing.T) {
	dir := files(t, map[string]string{"own.txt": "@@both.example\n"})
	first := files(t, map[string]string{"own.txt": "both.example\nfirst.example\n", "ads.txt": "ads.example\n", "gone.txt": "gone.example\n"})
	second := files(t, map[string]string{"own.txt": "both.example\nsecond.example\n", "ads.txt": "ads.example\n"})
	var told reports
	lists := func(folder string, names ...string) (all []LocalList) {
		all = append(all, LocalList{Name: "center", Path: filepath.Join(folder, "own.txt"), Kind: OwnList, Moves: true})
		for _, name := range names {
			all = append(all, LocalList{Name: name, Path: filepath.Join(folder, name+".txt"), Kind: UserList, Moves: true})
		}
		return all
	}
	o := Options{Dir: dir, Local: lists(first, "ads", "gone"), Report: told.add}
	s := openStoreT(t, o)
	decides := func(ask, want string) {
		t.Helper()
		if got := said(s.Current().Decide(name(t, ask), dnswire.TypeA, 0)); got != want {
			t.Errorf("%s: got %q, want %q", ask, got, want)
		}
	}
	decides("both.example", "allow own @@both.example") // the machine's own goes before
	decides("first.example", "block center first.example")
	decides("gone.example", "block gone gone.example")

	o.Local = lists(second, "ads")
	if err := s.Configure(o); err != nil {
		t.Fatal(err)
	}
	decides("first.example", "pass")
	decides("second.example", "block center second.example")
	decides("ads.example", "block ads ads.example")
	decides("gone.example", "pass")
	for _, line := range told.all() {
		if strings.Contains(line, "ads") && !strings.Contains(line, "lists-loaded") || strings.Contains(line, "list-added") || strings.Contains(line, "center") && strings.Contains(line, "removed with") {
			t.Errorf("told of a list that only moved: %s", line)
		}
	}
}

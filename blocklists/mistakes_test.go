package blocklists

import (
	"fmt"
	"strings"
	"testing"
)

func TestAllMistakesOfAListAreTold(t *testing.T) {
	var text strings.Builder
	text.WriteString("good.example\ncom\n") // the second is a public suffix
	for i := range 300 {
		fmt.Fprintf(&text, "no rule %d !\n", i)
	}
	s := openStoreT(t, Options{Dir: files(t, map[string]string{"ads.txt": text.String()})})
	bad, all, ok, err := s.Mistakes("ads", 1000)
	if err != nil || !ok || len(bad) < 300 || all < len(bad) {
		t.Fatalf("got %d of %d, %v, %v", len(bad), all, ok, err)
	}
	if bad[0].Line != 2 || bad[1].Line != 3 {
		t.Errorf("got %+v first", bad[:2])
	}
	if bad, all, _, err := s.Mistakes("ads", 10); err != nil || len(bad) != 10 || all < 300 {
		t.Errorf("of ten: got %d of %d, %v", len(bad), all, err)
	}
	if _, _, ok, err := s.Mistakes("nosuch", 10); ok || err != nil {
		t.Errorf("of no list: got %v, %v", ok, err)
	}
}

package suffixes

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/publicsuffix"

	"telltale/dnswire"
)

func wire(t testing.TB, s string) []byte {
	b, err := dnswire.AppendName(nil, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIs(t *testing.T) {
	for _, c := range []struct {
		name string
		want bool
	}{
		{"com", true}, {"co.uk", true}, {"github.io", true}, {"s3.amazonaws.com", true}, {"xyz.ck", true}, {"www.ck", false},
		{"example.com", false}, {"bbc.co.uk", false}, {"x.github.io", false}, {"amazonaws.com", false}, {"lan", false}, {"fritz.box", false}, {".", false},
	} {
		if got := Is(wire(t, c.name)); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestFilterIsOfThisVersion fails when golang.org/x/net has changed its rules:
// run go generate.
func TestFilterIsOfThisVersion(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/net").Output()
	if err != nil {
		t.Skip("the go command cannot be asked: ", err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "publicsuffix", "table_test.go"))
	if err != nil {
		t.Skip("the module's tests are not here: ", err)
	}
	n := 0
	for _, rule := range regexp.MustCompile(`(?m)^\t"([^"!]+)",`).FindAllStringSubmatch(string(text), -1) {
		name := strings.Replace(rule[1], "*.", "any-name.", 1)
		if suffix, _ := publicsuffix.PublicSuffix(name); suffix != name {
			continue
		}
		if n++; !maybe(wire(t, name)) {
			t.Errorf("%s is a public suffix, and the filter does not know it", name)
		}
	}
	if n < 5000 {
		t.Errorf("only %d suffixes found", n)
	}
}

func BenchmarkIs(b *testing.B) {
	names := [][]byte{wire(b, "metrics7.example-shop.com"), wire(b, "ads.example.co.uk"), wire(b, "x.y.z.example.org")}
	for b.Loop() {
		for _, n := range names {
			Is(n)
		}
	}
}

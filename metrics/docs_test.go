package metrics

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/metrics.md anew")

const (
	tableBegins = "<!-- metrics: written by `go test ./metrics -update` -->\n"
	tableEnds   = "<!-- end of metrics -->\n"
)

func TestThePageHasEveryFamily(t *testing.T) {
	const page = "../docs/metrics.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		t.Fatalf("%s: no place for the table", page)
	}
	var table strings.Builder
	table.WriteString("\n| metric | kind | labels | |\n|---|---|---|---|\n")
	for _, f := range Families() {
		labels := ""
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", f.Name, f.Kind, labels, f.Help)
	}
	table.WriteString("\n")
	want := before + tableBegins + table.String() + tableEnds + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if string(text) != want && !*update {
		t.Errorf("%s is not what the metrics are: go test ./metrics -update", page)
	}
}

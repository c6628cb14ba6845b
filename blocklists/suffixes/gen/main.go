// Command gen writes filter.bin from the rules that golang.org/x/net/publicsuffix
// is tested with. Run it with go generate when that module has changed.
package main

import (
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"telltale/blocklists/suffixes"
	"telltale/dnswire"
)

const size = 32 << 10 // a power of two: some 25 bits for each of 10,000 rules

func main() {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/net").Output()
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "publicsuffix", "table_test.go"))
	if err != nil {
		log.Fatal(err)
	}
	filter := make([]byte, size)
	rules := regexp.MustCompile(`(?m)^\t"([^"]+)",`).FindAllStringSubmatch(string(text), -1)
	if len(rules) < 5000 {
		log.Fatalf("only %d rules found", len(rules))
	}
	for _, rule := range rules {
		if err := add(filter, rule[1]); err != nil {
			log.Fatal(err)
		}
	}
	if err := os.WriteFile("filter.bin", filter, 0o644); err != nil {
		log.Fatal(err)
	}
}

func add(filter []byte, rule string) error {
	if strings.HasPrefix(rule, "!") {
		return nil // an exception from a rule for all names below
	}
	parent, below := strings.CutPrefix(rule, "*.")
	wire, err := dnswire.AppendName(nil, parent)
	if err != nil {
		return err
	}
	hash := suffixes.Hash(wire)
	if below {
		hash = ^hash
	}
	for _, bit := range suffixes.Probes(hash, len(filter)) {
		filter[bit>>3] |= 1 << (bit & 7)
	}
	return nil
}

package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

// uncommented returns the example with every "#key: value" in force.
func uncommented() []byte {
	return regexp.MustCompile(`(?m)^( *)#(\S)`).ReplaceAll(Example(), []byte("$1$2"))
}

func TestTheExampleChangesNothing(t *testing.T) {
	c, err := build("telltale.yaml", Example(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if live, restart := Diff(withDefaults(), c); len(live)+len(restart) > 0 {
		t.Errorf("got other values than the defaults for %v %v", live, restart)
	}
	for _, s := range leaves() {
		was := reflect.ValueOf(withDefaults()).Elem().FieldByIndex(s.index)
		if derived := s.is("path") && !c.Given(s.key); !was.IsZero() && !derived && !c.Given(s.key) {
			t.Errorf("%s has a default that is not shown", s.key)
		}
	}
}

func TestTheExampleHasEveryKey(t *testing.T) {
	c, err := build("telltale.yaml", uncommented(), nil, nil)
	if err != nil {
		t.Fatalf("with all comment signs taken away:\n%v", err)
	}
	if len(c.Lists.Subscriptions) != 1 || len(c.Devices) != 1 {
		t.Errorf("got %+v, want a subscription and a device", c)
	}
	comments := comments(t)
	for _, key := range Keys() {
		if comments[key] == "" {
			t.Errorf("%s is not in the example, or without a word on what it is", key)
		}
	}
	for key := range comments {
		if !slices.Contains(Keys(), key) {
			t.Errorf("%s is in the example and nowhere else", key)
		}
	}
}

// comments returns what the example says above each key.
func comments(t *testing.T) map[string]string {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal(uncommented(), &document); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	var walk func(n *yaml.Node, key, above string)
	walk = func(n *yaml.Node, key, above string) {
		switch n.Kind {
		case yaml.SequenceNode:
			for _, entry := range n.Content {
				if entry.Kind == yaml.MappingNode {
					walk(entry, key+"[]", entry.HeadComment)
				}
			}
		case yaml.MappingNode:
			for i := 0; i < len(n.Content); i += 2 {
				k, v := n.Content[i], n.Content[i+1]
				comment := k.HeadComment
				if comment == "" && i == 0 {
					comment = above // yaml gives the first key's to its mapping
				}
				path := join(key, k.Value)
				if slices.Contains(Keys(), path) {
					all[path] = prose(comment)
				}
				walk(v, path, v.HeadComment)
			}
		}
	}
	walk(document.Content[0], "", "")
	return all
}

// prose joins the lines of a comment.
func prose(comment string) string {
	// What stands above a blank line is about the whole file.
	if i := strings.LastIndex(comment, "\n\n"); i >= 0 {
		comment = comment[i+2:]
	}
	lines := strings.Split(comment, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(strings.TrimPrefix(lines[i], "#"))
	}
	return strings.TrimSpace(strings.Join(lines, " "))
}

const (
	tableBegins = "<!-- settings: written by `go test ./config -update` -->\n"
	tableEnds   = "<!-- end of settings -->\n"
)

func TestThePageHasEveryKey(t *testing.T) {
	const page = "../docs/configuration.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(text, []byte(tableBegins))
	_, after, ok2 := bytes.Cut(rest, []byte(tableEnds))
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the settings", page)
	}
	want := slices.Concat(before, []byte(tableBegins), table(t), []byte(tableEnds), after)
	if bytes.Equal(text, want) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the settings are: go test ./config -update", page)
	}
	if err := os.WriteFile(page, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

// table returns the settings as Markdown.
func table(t *testing.T) []byte {
	t.Helper()
	said := comments(t)
	var b bytes.Buffer
	for _, s := range leaves() {
		fmt.Fprintf(&b, "### %s\n\n%s\n\n", s.key, said[s.key])
		value := reflect.ValueOf(withDefaults()).Elem().FieldByIndex(s.index)
		facts := []string{"Default: " + shown(value)}
		if s.key == "cache.dir" || s.key == "control.socket" || s.key == "center.dir" {
			facts[0] = "Default: in `data.dir`"
		}
		if shapeOf(s.typ) != entries || short(s.typ) {
			facts = append(facts, "Variable: `"+variable(s.key)+"`")
		}
		if s.is("flag") {
			facts = append(facts, "Flag: `--"+flagName(s.key)+"`")
		}
		facts = append(facts, map[bool]string{true: "Applied: at once", false: "Applied: at the next start"}[s.is("live")])
		fmt.Fprintf(&b, "%s.\n\n", strings.Join(facts, ". "))
		if shapeOf(s.typ) != entries {
			continue
		}
		b.WriteString("| in each entry | what it is |\n|---|---|\n")
		for _, inner := range leavesOf(s.typ.Elem(), "", nil) {
			fmt.Fprintf(&b, "| `%s` | %s |\n", inner.key, said[s.key+"[]."+inner.key])
		}
		b.WriteString("\n")
	}
	return b.Bytes()
}

func shown(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return "`" + formatDuration(x) + "`"
	case string:
		if x == "" {
			return "none"
		}
	}
	if v.Kind() == reflect.Slice {
		if v.Len() == 0 {
			return "none"
		}
		all := make([]string, v.Len())
		for i := range all {
			all[i] = fmt.Sprintf("`%v`", v.Index(i).Interface())
		}
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("`%v`", v.Interface())
}

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxFile  = 1 << 20 // bytes of a settings file
	maxNodes = 100_000 // values in it, aliases followed
)

// read returns the text of the settings file. A missing file is fs.ErrNotExist.
func read(file string) ([]byte, error) {
	f, err := openRegular(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, Mistakes{{Where: file, Found: "not a regular file", Expected: "a YAML file"}}
	}
	if info.Mode().Perm()&0o002 != 0 {
		return nil, Mistakes{{
			Where:    file,
			Found:    fmt.Sprintf("everybody may write to it (mode %04o)", info.Mode().Perm()),
			Expected: fmt.Sprintf("only its owner may: chmod o-w %s", file),
		}}
	}
	if dir, mode, ok := replaceableByOthers(file); ok {
		return nil, Mistakes{{
			Where:    file,
			Found:    fmt.Sprintf("everybody may replace it, since everybody may write to %s (mode %04o)", dir, mode),
			Expected: fmt.Sprintf("only its owner may: chmod o-w %s", dir),
		}}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, Mistakes{{Where: file, Found: "more than 1 MiB", Expected: "a settings file"}}
	}
	return text, nil
}

// reading is one pass over a file's YAML tree, which leaves a tree of plain
// text for viper: sections as map[string]any, lists as []any, values as string
// exactly as written (so that no MAC becomes a number and no date a time).
type reading struct {
	file     string
	where    map[string]string // key -> "file:line"
	mistakes Mistakes
	nodes    int

	// refuses says why a setting may not be in the file; "" where it may. nil: all may.
	refuses func(schema string, s *setting) string
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?:unmarshal errors:\n\s*)?(.*)`)

// tree reads text, the content of r.file.
func (r *reading) tree(text []byte) map[string]any {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		r.syntax(err)
		return nil
	}
	if err := decoder.Decode(&second); err == nil {
		r.mistake("", second.Line, "a second document after ---", "one document")
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
	}
	if len(document.Content) != 1 || isNull(document.Content[0]) {
		return nil
	}
	return r.section(document.Content[0], reflect.TypeFor[Config](), "", "")
}

func (r *reading) syntax(err error) {
	where, found := r.file, err.Error()
	if m := yamlLine.FindStringSubmatch(found); m != nil {
		found = m[2]
		if m[1] != "" {
			where += ":" + m[1]
		}
	}
	if strings.Contains(found, "cannot start any token") {
		found += ": indent with spaces, not tabs, and put quotes around what begins with @, ` or %"
	}
	r.mistakes.add(Mistake{Where: where, Found: "not YAML: " + found})
}

func (r *reading) mistake(key string, line int, found, expected string) {
	r.mistakes.add(Mistake{Key: key, Where: r.line(line), Found: found, Expected: expected})
}

func (r *reading) line(n int) string {
	if n == 0 {
		return r.file
	}
	return r.file + ":" + strconv.Itoa(n)
}

// value reads the node of setting s. It returns nil where there is no value.
// The key names the value; schema is the same without entry numbers.
func (r *reading) value(n *yaml.Node, s setting, key, schema string) any {
	n = r.follow(n, key)
	if n == nil {
		return nil
	}
	r.where[key] = r.line(n.Line)
	if isNull(n) {
		// `mode: null` means the mode of that name.
		if word := strings.ToLower(n.Value); len(s.words) > 0 && s.words[0] == word {
			return word
		}
		return nil
	}
	switch shapeOf(s.typ) {
	case section:
		return r.section(n, s.typ, key, schema)
	case entries:
		return r.entries(n, s, key, schema)
	case list:
		return r.list(n, key)
	}
	if n.Kind != yaml.ScalarNode {
		r.mistake(key, n.Line, kindName(n), "one value")
		return nil
	}
	return n.Value
}

func (r *reading) section(n *yaml.Node, t reflect.Type, key, schema string) map[string]any {
	if n.Kind != yaml.MappingNode {
		r.mistake(key, n.Line, kindName(n), "keys below it: "+oneOf(names(t)))
		return nil
	}
	tree := make(map[string]any)
	r.pairs(n, t, key, schema, tree, make(map[string]int))
	return tree
}

// pairs reads the settings of a mapping into tree. Those of a merge key (<<)
// come after, and only where the mapping itself says nothing.
func (r *reading) pairs(n *yaml.Node, t reflect.Type, key, schema string, tree map[string]any, seen map[string]int) {
	var merges []*yaml.Node
	own := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if r.follow(k, key) == nil {
			return
		}
		if k.Tag == "!!merge" {
			merges = append(merges, v)
			continue
		}
		name := strings.ToLower(k.Value)
		s, ok := find(t, name)
		if k.Kind != yaml.ScalarNode || !ok {
			r.unknown(k, schema, key)
			continue
		}
		if r.refuses != nil {
			if why := r.refuses(join(schema, name), &s); why != "" {
				r.mistake(join(key, name), k.Line, "cannot be set in this file", why)
				continue
			}
		}
		if own[name] {
			r.mistake(join(key, name), k.Line, fmt.Sprintf("given a second time, first in line %d", seen[name]), "each key once")
			continue
		}
		own[name] = true
		if _, merged := seen[name]; merged {
			continue
		}
		seen[name] = k.Line
		if value := r.value(v, s, join(key, name), join(schema, name)); value != nil {
			tree[name] = value
		}
	}
	for _, m := range merges {
		m = r.follow(m, key)
		switch {
		case m == nil:
		case m.Kind == yaml.MappingNode:
			r.pairs(m, t, key, schema, tree, seen)
		case m.Kind == yaml.SequenceNode:
			for _, part := range m.Content {
				if part = r.follow(part, key); part != nil && part.Kind == yaml.MappingNode {
					r.pairs(part, t, key, schema, tree, seen)
				}
			}
		}
	}
}

// isPlural reports whether a word is another one with the ending of more than one.
func isPlural(many, one string) bool { return many == one+"s" || many == one+"es" }

// unknown reports a key that no setting has.
func (r *reading) unknown(k *yaml.Node, schema, key string) {
	m := Mistake{Key: join(key, k.Value), Where: r.line(k.Line), Found: "there is no such setting"}
	path := strings.ToLower(join(schema, k.Value))
	keys := Keys()
	switch {
	case k.Kind != yaml.ScalarNode:
		m.Key, m.Found = key, "a key that is not a word"
	case strings.Contains(k.Value, ".") && slices.Contains(keys, path):
		m.Found, m.Expected = "a dot in a key", "one section below the other"
		m.Expected += ": " + strings.ReplaceAll(k.Value, ".", ": {") + ": ..." + strings.Repeat("}", strings.Count(k.Value, "."))
	default:
		all := withSections(keys)
		near := nearest(path, all)
		if i := slices.IndexFunc(all, func(key string) bool { return isPlural(path, key) || isPlural(key, path) }); i >= 0 {
			near = all[i] // rather than a key of another section that is spelled so
		}
		m.Nearest = strings.ReplaceAll(near, "[]", "")
	}
	r.mistakes.add(m)
}

// entries reads a list of sections. An upstream may also be its address alone.
func (r *reading) entries(n *yaml.Node, s setting, key, schema string) any {
	if n.Kind == yaml.ScalarNode && short(s.typ) {
		return n.Value
	}
	if n.Kind != yaml.SequenceNode {
		r.mistake(key, n.Line, kindName(n), "a list of entries, each beginning with \"- \"")
		return nil
	}
	tree := make([]any, 0, len(n.Content))
	for i, entry := range n.Content {
		at := fmt.Sprintf("%s[%d]", key, i)
		if entry = r.follow(entry, at); entry == nil {
			continue
		}
		r.where[at] = r.line(entry.Line)
		if entry.Kind == yaml.ScalarNode && short(s.typ) {
			r.where[at+".address"] = r.line(entry.Line)
			tree = append(tree, map[string]any{"address": entry.Value})
			continue
		}
		// A broken entry keeps its place, so that the others keep their numbers.
		tree = append(tree, r.section(entry, s.typ.Elem(), at, schema+"[]"))
	}
	return tree
}

// list reads a list of values, or one text with commas as the environment has it.
func (r *reading) list(n *yaml.Node, key string) any {
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	if n.Kind != yaml.SequenceNode {
		r.mistake(key, n.Line, kindName(n), "a list")
		return nil
	}
	tree := make([]any, 0, len(n.Content))
	for i, entry := range n.Content {
		at := fmt.Sprintf("%s[%d]", key, i)
		if entry = r.follow(entry, at); entry == nil {
			continue
		}
		r.where[at] = r.line(entry.Line)
		if entry.Kind != yaml.ScalarNode {
			r.mistake(at, entry.Line, kindName(entry), "one value")
			continue
		}
		tree = append(tree, entry.Value)
	}
	return tree
}

// follow returns what an alias stands for, and nil once the file has grown too
// large by aliases.
func (r *reading) follow(n *yaml.Node, key string) *yaml.Node {
	if r.nodes++; r.nodes > maxNodes {
		if r.nodes == maxNodes+1 {
			r.mistake(key, n.Line, "too many values, aliases counted", fmt.Sprintf("at most %d", maxNodes))
		}
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func find(t reflect.Type, name string) (setting, bool) {
	for _, s := range settingsOf(t) {
		if s.name == name {
			return s, true
		}
	}
	return setting{}, false
}

func names(t reflect.Type) []string {
	var all []string
	for _, s := range settingsOf(t) {
		all = append(all, s.name)
	}
	return all
}

// withSections adds the sections themselves: "blocking" beside "blocking.ttl".
func withSections(keys []string) []string {
	all := make([]string, 0, 2*len(keys))
	for _, k := range keys {
		if top, _, ok := strings.Cut(k, "."); ok && !strings.Contains(top, "[") && !slices.Contains(all, top) {
			all = append(all, top)
		}
		all = append(all, k)
	}
	return all
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "found keys below it"
	case yaml.SequenceNode:
		return "found a list"
	}
	return "found " + quote(n.Value)
}

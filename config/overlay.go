package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"telltale/atomicfile"
)

// OverlayName is the name of the overlay in lists.dir. `telltale lists add` and
// `remove` write it, so that the settings file itself is never written.
const OverlayName = "subscriptions.yaml"

// overlayKey is the one setting that an overlay has. Its entries come behind
// those of the settings file.
const overlayKey = "lists.subscriptions"

const overlayHead = `# Lists that 'telltale lists add' subscribed to. 'telltale lists remove' takes one
# out again. Telltale writes this file: put lists of your own in the settings file.
`

// readOverlay reads the overlay. A missing one is empty.
func readOverlay(file string) ([]byte, error) {
	text, err := read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// overlayText reads the overlay of lists.dir that has a name. One that cannot be read is a
// mistake; without lists.dir there is none.
func (d *decoding) overlayText(c *Config, name string, readText func(file string) ([]byte, error)) (file string, text []byte, ok bool) {
	dir := d.listsDir(c)
	if dir == "" {
		return "", nil, false
	}
	file = filepath.Join(dir, name)
	text, err := readText(file)
	if err != nil {
		for _, m := range unreadable(file, err) {
			d.mistakes.add(m)
		}
		return file, text, false
	}
	return file, text, true
}

// overlay reads the overlay of lists.dir, and puts its entries behind those of
// the file.
func (d *decoding) overlay(c *Config, readText func(file string) ([]byte, error)) {
	file, text, ok := d.overlayText(c, OverlayName, readText)
	c.Overlay, c.origin.overlay = file, text
	if !ok {
		return
	}
	own, _ := d.layers.Get(overlayKey).([]any)
	r := reading{file: file, where: make(map[string]string), refuses: func(schema string, _ *setting) string {
		if schema == overlayKey || strings.HasPrefix(schema, overlayKey+"[") || strings.HasPrefix(overlayKey, schema+".") {
			return ""
		}
		return "only " + overlayKey + "; all else goes into the settings file"
	}}
	added := subscriptionsOf(r.tree(text))
	for _, m := range r.mistakes {
		d.mistakes.add(m)
	}
	if len(added) == 0 {
		return
	}
	for key, where := range r.where {
		d.where[renumbered(key, len(own))] = where
	}
	tree := make(map[string]any)
	put(tree, overlayKey, slices.Concat(own, added))
	if err := d.layers.MergeConfigMap(tree); err != nil {
		d.mistakes.add(Mistake{Where: file, Found: err.Error()})
	}
}

// listsDir returns lists.dir; "" where it is a mistake, which is reported where the
// setting is read.
func (d *decoding) listsDir(c *Config) string { return d.directory("lists.dir", c.Lists.Dir) }

// directory returns a directory of the settings as far as they are read by now.
func (d *decoding) directory(key, otherwise string) string {
	if !d.layers.IsSet(key) {
		return otherwise
	}
	dir := strings.TrimSpace(fmt.Sprint(d.layers.Get(key)))
	if dir == "" {
		return ""
	}
	return d.absolute(dir, key)
}

func subscriptionsOf(tree map[string]any) []any {
	lists, _ := tree["lists"].(map[string]any)
	added, _ := lists["subscriptions"].([]any)
	return added
}

// renumbered returns the key that an overlay's key has behind n entries of the
// settings file.
func renumbered(key string, n int) string {
	rest, ok := strings.CutPrefix(key, overlayKey+"[")
	if !ok {
		return key
	}
	number, rest, _ := strings.Cut(rest, "]")
	at := n
	fmt.Sscanf(number, "%d", &at)
	return fmt.Sprintf("%s[%d]%s", overlayKey, n+at, rest)
}

// InOverlay reports whether a subscription stands in the overlay and not in the
// settings file.
func (c *Config) InOverlay(name string) bool {
	_, entries, err := overlayTree(c.origin.overlay)
	return err == nil && slices.ContainsFunc(entries.Content, func(n *yaml.Node) bool { return strings.EqualFold(nameOf(n), name) })
}

// WithSubscription returns the overlay's text with one list more. Comments and
// the other entries stay as they are.
func (c *Config) WithSubscription(name, url string) ([]byte, error) {
	document, entries, err := overlayTree(c.origin.overlay)
	if err != nil {
		return nil, err
	}
	entry := &yaml.Node{Kind: yaml.MappingNode}
	for _, word := range []string{"name", name, "url", url} {
		n := new(yaml.Node)
		n.SetString(word)
		entry.Content = append(entry.Content, n)
	}
	entries.Content = append(entries.Content, entry)
	return overlayText(document)
}

// WithoutSubscription returns the overlay's text without a list; ok is false
// where it has none of that name.
func (c *Config) WithoutSubscription(name string) (text []byte, ok bool, err error) {
	document, entries, err := overlayTree(c.origin.overlay)
	if err != nil {
		return nil, false, err
	}
	before := len(entries.Content)
	entries.Content = slices.DeleteFunc(entries.Content, func(n *yaml.Node) bool { return strings.EqualFold(nameOf(n), name) })
	if len(entries.Content) == before {
		return nil, false, nil
	}
	text, err = overlayText(document)
	return text, true, err
}

// overlayTree returns the overlay's document, and in it the node whose children
// are the entries. Both are made where there are none.
func overlayTree(text []byte) (document, entries *yaml.Node, err error) {
	if document, err = documentOf(text, overlayHead); err != nil {
		return nil, nil, err
	}
	lists, err := child(document.Content[0], OverlayName, "lists", yaml.MappingNode)
	if err != nil {
		return nil, nil, err
	}
	entries, err = child(lists, OverlayName, "subscriptions", yaml.SequenceNode)
	return document, entries, err
}

// documentOf returns the document of an overlay's text; of none, one that begins with
// head.
func documentOf(text []byte, head string) (*yaml.Node, error) {
	document := new(yaml.Node)
	if err := yaml.Unmarshal(text, document); err != nil {
		return nil, err
	}
	if document.Kind == 0 || isNull(document.Content[0]) {
		document.Kind = yaml.DocumentNode
		document.Content = []*yaml.Node{{Kind: yaml.MappingNode}}
		if len(text) == 0 {
			document.HeadComment = strings.TrimSuffix(head, "\n")
		}
	}
	return document, nil
}

// child returns the value of a key of an overlay, which is made where it is not there.
func child(of *yaml.Node, overlay, key string, kind yaml.Kind) (*yaml.Node, error) {
	if of.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s has no keys where %s is expected", overlay, key)
	}
	value := &yaml.Node{Kind: kind}
	for i := 0; i+1 < len(of.Content); i += 2 {
		if !strings.EqualFold(of.Content[i].Value, key) {
			continue
		}
		if isNull(of.Content[i+1]) {
			of.Content[i+1] = value
		}
		if of.Content[i+1].Kind != kind {
			return nil, fmt.Errorf("%s: %s is written in a way that only an editor can change", overlay, key)
		}
		return of.Content[i+1], nil
	}
	name := new(yaml.Node)
	name.SetString(key)
	of.Content = append(of.Content, name, value)
	return value, nil
}

// nameOf returns the name of an entry; "" where it has none.
func nameOf(entry *yaml.Node) string {
	for i := 0; i+1 < len(entry.Content); i += 2 {
		if strings.EqualFold(entry.Content[i].Value, "name") {
			return entry.Content[i+1].Value
		}
	}
	return ""
}

func overlayText(document *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(document); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// RestoreOverlay writes the overlay as it was when c was read.
func (c *Config) RestoreOverlay() error { return restore(c.Overlay, c.origin.overlay) }

// restore writes a file as it was; nil: it was not there.
func restore(file string, text []byte) error {
	if text != nil {
		return atomicfile.Replace(file, text, 0o644)
	}
	err := os.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

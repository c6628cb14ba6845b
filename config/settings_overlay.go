package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"telltale/atomicfile"
)

// SettingsOverlayName is the name of the file in lists.dir in which `telltale settings
// set` and the API keep what they set. A key in it takes the place of that of the
// settings file, which is never written.
const SettingsOverlayName = "settings.yaml"

const settingsHead = `# Settings that 'telltale settings set' and the web page made. Each takes the place of
# the one in the settings file; 'telltale settings unset' takes one out again.
`

// refusal says why a setting may not be in the settings overlay; "" where it may.
// Whoever may change settings over the network decides what DNS answers, and must not
// thereby read or write files of the machine, run programs, open a way in, have more sent
// elsewhere than the questions that upstreams are asked, or shut others or the server out.
func refusal(schema string, s *setting) string {
	top, _, _ := strings.Cut(schema, ".")
	switch {
	case s.is("path"), schema == "tls.certificates", schema == "identity.leases": // lists of those
		return "it in the settings file: files and directories are named there alone"
	case schema == overlayKey:
		return "it in the settings file; 'telltale lists add' subscribes, too"
	case shapeOf(s.typ) == section:
		return "" // what is in it may be
	case top == "listen" || top == "web" || top == "metrics":
		return "it in the settings file: on which addresses this server answers, and whom it believes, is said there alone"
	case top == "fleet" || top == "center":
		return "it in the settings file: of which fleet this machine is, is said there alone"
	case top == "dnstap" || top == "evidence" || top == "catalog" || goesElsewhere(schema, s):
		return "it in the settings file: where this server sends something, and whence it fetches, is said there alone"
	}
	return ""
}

// goesElsewhere reports whether a setting says which server something goes to or comes
// from, or what is said to it: with another server, a secret of a file would go there, too.
func goesElsewhere(schema string, s *setting) bool {
	for _, below := range []string{"tls.acme.", "alerts.webhook.", "alerts.ntfy.", "alerts.mqtt.", "alerts.smtp."} {
		if strings.HasPrefix(schema, below) {
			return true
		}
	}
	return s.is("url") || s.is("mqtt") || s.is("smtp") || s.is("dnstap")
}

// settingsOverlay reads the settings overlay of lists.dir, and puts its values in the
// place of the file's. Variables go before both.
func (d *decoding) settingsOverlay(c *Config, readText func(file string) ([]byte, error), variables map[string]any) {
	file, text, ok := d.overlayText(c, SettingsOverlayName, readText)
	c.SettingsOverlay, c.origin.settings = file, text
	if !ok {
		return
	}
	r := reading{file: file, where: make(map[string]string), refuses: refusal}
	tree := r.tree(text)
	for _, m := range r.mistakes {
		d.mistakes.add(m)
	}
	for _, s := range leaves() {
		if _, ok := r.where[s.key]; !ok || !isIn(tree, s.key) {
			continue
		}
		maps.DeleteFunc(d.where, func(key, _ string) bool { return key == s.key || strings.HasPrefix(key, s.key+"[") })
	}
	maps.Copy(d.where, r.where)
	for _, layer := range []map[string]any{tree, variables} {
		if err := d.layers.MergeConfigMap(layer); err != nil {
			d.mistakes.add(Mistake{Where: file, Found: err.Error()})
		}
	}
}

// isIn reports whether a tree has a value for a dotted key.
func isIn(tree map[string]any, key string) bool {
	for {
		name, rest, nested := strings.Cut(key, ".")
		value, ok := tree[name]
		if !nested || !ok {
			return ok
		}
		if tree, ok = value.(map[string]any); !ok {
			return false
		}
		key = rest
	}
}

// SettingsText returns the text of the settings overlay as c was read.
func (c *Config) SettingsText() []byte { return c.origin.settings }

// WithSettings returns the text of the settings overlay with other values. A value is
// a text, a bool, a number, a list of those, or a list of objects, as JSON has them;
// unset are keys that it is to have no more. The rest of it stays as it is.
func (c *Config) WithSettings(set map[string]any, unset []string) ([]byte, error) {
	var mistakes Mistakes
	for _, key := range slices.Sorted(maps.Keys(set)) {
		c.checkKey(key, &mistakes)
		if by := c.given[key]; strings.HasPrefix(by, prefix) || strings.HasPrefix(by, "--") {
			mistakes.add(Mistake{Key: key, Where: by, Found: "set there, which goes before what is set here", Expected: "it changed there"})
		}
	}
	for _, key := range unset {
		c.checkKey(key, &mistakes)
		if _, both := set[key]; both {
			mistakes.add(Mistake{Key: key, Found: "to be set and unset"})
		}
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	document, err := documentOf(c.origin.settings, settingsHead)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.SettingsOverlay, err)
	}
	for _, key := range unset {
		dropKey(document.Content[0], strings.Split(key, "."))
	}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		value, err := nodeOf(set[key])
		if err != nil {
			return nil, Mistakes{{Key: key, Found: err.Error()}}
		}
		if err := putKey(document.Content[0], strings.Split(key, "."), value); err != nil {
			return nil, err
		}
	}
	text, err := overlayText(document)
	if err == nil && len(text) > maxFile {
		err = errors.New("the settings would take more than 1 MiB")
	}
	return text, err
}

// checkKey finds out whether a key is that of a setting that may be changed.
func (c *Config) checkKey(key string, mistakes *Mistakes) {
	var keys []string
	for _, s := range leaves() {
		if s.key == key {
			if why := refusal(key, &s.setting); why != "" {
				mistakes.add(Mistake{Key: key, Found: "cannot be changed here", Expected: why})
			}
			return
		}
		keys = append(keys, s.key)
	}
	mistakes.add(Mistake{Key: key, Found: "there is no such setting", Nearest: nearest(key, keys)})
}

// SaveSettings writes the text of the settings overlay. It may have secrets: a new file is for
// this user alone, and one that this user made stricter stays so.
func (c *Config) SaveSettings(text []byte) error {
	mode := fs.FileMode(0o600)
	if old, err := os.Lstat(c.SettingsOverlay); err == nil && old.Mode().IsRegular() {
		mode &= old.Mode()
	}
	return atomicfile.Replace(c.SettingsOverlay, text, mode)
}

// RestoreSettings writes the settings overlay as it was when c was read.
func (c *Config) RestoreSettings() error {
	if c.origin.settings != nil {
		return c.SaveSettings(c.origin.settings)
	}
	return restore(c.SettingsOverlay, nil)
}

// putKey sets the value of a key below a mapping. Comments stay.
func putKey(of *yaml.Node, key []string, value *yaml.Node) error {
	if len(key) > 1 {
		below, err := child(of, SettingsOverlayName, key[0], yaml.MappingNode)
		if err != nil {
			return err
		}
		return putKey(below, key[1:], value)
	}
	for i := 0; i+1 < len(of.Content); i += 2 {
		if strings.EqualFold(of.Content[i].Value, key[0]) {
			value.LineComment = of.Content[i+1].LineComment
			of.Content[i+1] = value
			return nil
		}
	}
	name := new(yaml.Node)
	name.SetString(key[0])
	of.Content = append(of.Content, name, value)
	return nil
}

// dropKey removes a key below a mapping, and the sections that have no other.
func dropKey(of *yaml.Node, key []string) {
	for i := 0; i+1 < len(of.Content); i += 2 {
		if !strings.EqualFold(of.Content[i].Value, key[0]) {
			continue
		}
		if below := of.Content[i+1]; len(key) > 1 {
			dropKey(below, key[1:])
			if below.Kind != yaml.MappingNode || len(below.Content) > 0 {
				return
			}
		}
		of.Content = slices.Delete(of.Content, i, i+2)
		return
	}
}

// nodeOf returns a value of JSON as YAML has it.
func nodeOf(value any) (*yaml.Node, error) {
	n := new(yaml.Node)
	switch value := value.(type) {
	case string:
		n.SetString(value)
	case bool, float64, int:
		n.SetString(fmt.Sprint(value))
		n.Tag = "" // written as it is, without quotes
	case []string:
		n.Kind = yaml.SequenceNode
		for _, text := range value {
			one := new(yaml.Node)
			one.SetString(text)
			n.Content = append(n.Content, one)
		}
	case []any:
		n.Kind = yaml.SequenceNode
		for _, v := range value {
			one, err := nodeOf(v)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, one)
		}
	case map[string]any:
		n.Kind = yaml.MappingNode
		for _, key := range slices.Sorted(maps.Keys(value)) {
			one, err := nodeOf(value[key])
			if err != nil {
				return nil, err
			}
			name := new(yaml.Node)
			name.SetString(key)
			n.Content = append(n.Content, name, one)
		}
	default:
		return nil, fmt.Errorf("found %v, which is no text, number, true or false, nor a list of those or of objects", value)
	}
	return n, nil
}

// A Value is one setting with all that is to be said of it.
type Value struct {
	Key     string
	Type    string   // bool, integer, duration, size, text, list or entries
	Words   []string // the only values
	Value   any      // as it was written: a text, a list of texts, or a list of objects
	Default any
	Where   string // FILE:LINE, a variable or a flag; "" for the default
	Source  string // default, file, overlay, environment or flag
	Live    bool   // a change applies without a restart
	Secret  bool   // it is not shown whole
	Refused string // why it can be changed in the settings file alone; "" where it cannot only there
}

// What Value.Source says. The words never change.
const (
	FromDefault     = "default"
	FromFile        = "file"
	FromOverlay     = "overlay"
	FromEnvironment = "environment"
	FromFlag        = "flag"
)

// Values returns every setting, in the order of the example file.
func (c *Config) Values() []Value {
	own, initial := reflect.ValueOf(c).Elem(), reflect.ValueOf(defaults()).Elem()
	var all []Value
	for _, s := range leaves() {
		v := Value{
			Key: s.key, Type: typeName(s.typ), Words: s.words, Default: textOf(initial.FieldByIndex(s.index)),
			Live: s.is("live"), Secret: s.is("secret"), Refused: refusal(s.key, &s.setting), Source: FromDefault,
		}
		raw, given := c.raw[s.key]
		if given {
			v.Value, v.Where = display(raw, v.Secret), c.given[s.key]
			v.Source = c.sourceOf(v.Where)
		} else {
			v.Value = textOf(own.FieldByIndex(s.index))
		}
		if text, is := v.Value.(string); is && v.Type == "list" {
			v.Value = splitList(text)
		}
		all = append(all, v)
	}
	return all
}

func (c *Config) sourceOf(where string) string {
	switch {
	case strings.HasPrefix(where, prefix):
		return FromEnvironment
	case strings.HasPrefix(where, "--"):
		return FromFlag
	case strings.HasPrefix(where, c.SettingsOverlay+":"), strings.HasPrefix(where, c.Overlay+":"):
		return FromOverlay
	}
	return FromFile
}

// display returns what was written without what may be secret.
func display(raw any, secret bool) any {
	switch raw := raw.(type) {
	case string:
		if secret {
			return withoutPath(raw)
		}
		return withoutPassword(raw)
	case []string:
		return displayAll(raw)
	case []any:
		all := make([]any, 0, len(raw))
		texts := make([]string, 0, len(raw))
		for _, one := range raw {
			one = display(one, secret)
			all = append(all, one)
			if text, is := one.(string); is {
				texts = append(texts, text)
			}
		}
		if len(texts) == len(all) {
			return texts
		}
		return all
	case map[string]any:
		all := make(map[string]any, len(raw))
		for key, one := range raw {
			all[key] = display(one, secret)
		}
		return all
	}
	return raw
}

func displayAll(texts []string) []string {
	all := make([]string, 0, len(texts))
	for _, text := range texts {
		all = append(all, withoutPassword(text))
	}
	return all
}

func typeName(t reflect.Type) string {
	switch shapeOf(t) {
	case entries:
		return "entries"
	case list:
		return "list"
	}
	switch t {
	case reflect.TypeFor[bool]():
		return "bool"
	case reflect.TypeFor[int]():
		return "integer"
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[Bytes]():
		return "size"
	}
	return "text"
}

// textOf returns a value as the file has it: a text, or a list of them.
func textOf(v reflect.Value) any {
	if v.Kind() != reflect.Slice {
		return scalarText(v)
	}
	if shapeOf(v.Type()) == entries {
		return make([]any, 0) // none has a default that is more than that
	}
	all := make([]string, 0, v.Len())
	for i := range v.Len() {
		all = append(all, scalarText(v.Index(i)))
	}
	return all
}

// scalarText returns one value as the file has it.
func scalarText(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return durationText(value)
	case netip.AddrPort:
		if !value.IsValid() {
			return ""
		}
	case netip.Addr:
		if !value.IsValid() {
			return ""
		}
	case netip.Prefix:
		if !value.IsValid() {
			return ""
		}
	}
	return fmt.Sprint(v.Interface())
}

// durationText returns what parseDuration reads, without units that are zero.
func durationText(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

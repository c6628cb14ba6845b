package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Load reads the settings from the file and the overlay beside its lists, from
// env ("NAME=value" each, as os.Environ has it) and from the flags that AddFlags
// made; flags may be nil. The file is path, else that of TELLTALE_CONFIG, else
// DefaultFile, which alone may be missing. The error is a Mistakes with
// everything that is wrong.
func Load(path string, flags *pflag.FlagSet, env []string) (*Config, error) {
	file, named := locate(path, env)
	text, err := read(file)
	if errors.Is(err, fs.ErrNotExist) && !named {
		file, text, err = "", nil, nil
	}
	if err != nil {
		return nil, unreadable(file, err)
	}
	b := building{file: file, text: text, flags: flags, env: env, readOverlay: readOverlay, readPolicy: readPolicy}
	return b.build()
}

// locate returns the settings file, and whether it was asked for by name.
func locate(path string, env []string) (file string, named bool) {
	if path == "" {
		path = lookup(env, "TELLTALE_CONFIG")
	}
	if path == "" {
		return DefaultFile, false
	}
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return path, true
}

func unreadable(file string, err error) Mistakes {
	if m, ok := errors.AsType[Mistakes](err); ok {
		return m
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Mistakes{{Where: file, Found: "no such file"}}
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return Mistakes{{Where: file, Found: "cannot be read: " + err.Error()}}
}

// building is what a Config is made of.
type building struct {
	file  string
	text  []byte
	flags *pflag.FlagSet
	env   []string

	// readOverlay returns an overlay's text; nil for no overlays.
	readOverlay func(file string) ([]byte, error)

	// readPolicy returns the folder of the center's policy that is in force, "" for none,
	// and its settings; nil for none.
	readPolicy func(dir string) (files string, text []byte, err error)
}

// With returns the settings that are in force where the text of the file of what
// commands set is this one, all else being as it was when c was read.
func (c *Config) With(set []byte) (*Config, error) {
	b := c.origin.building
	overlay := c.origin.overlay
	b.readOverlay = func(file string) ([]byte, error) {
		if filepath.Base(file) == SettingsOverlayName {
			return set, nil
		}
		return overlay, nil
	}
	policy, shared := c.Policy, c.origin.policy
	b.readPolicy = func(string) (string, []byte, error) { return policy, shared, nil }
	return b.build()
}

// build makes a Config of a file's text, its overlay, the environment and the
// flags.
func (b *building) build() (*Config, error) {
	c, mistakes := b.decode()
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return c, nil
}

// decode is build that also returns the Config that has mistakes.
func (b *building) decode() (*Config, Mistakes) {
	r := reading{file: b.file, where: make(map[string]string)}
	d := decoding{layers: viper.New(), file: b.file, where: r.where, given: make(map[string]string), raw: make(map[string]any)}

	if err := d.layers.MergeConfigMap(r.tree(b.text)); err != nil {
		r.mistakes.add(Mistake{Where: b.file, Found: err.Error()})
	}
	variables := environment(b.env, d.given, &r.mistakes)
	if err := d.layers.MergeConfigMap(variables); err != nil {
		r.mistakes.add(Mistake{Found: err.Error()})
	}
	if err := bindFlags(d.layers, b.flags, d.given); err != nil {
		r.mistakes.add(Mistake{Found: err.Error()})
	}

	d.mistakes = r.mistakes
	c := defaults()
	c.File, c.given, c.raw = b.file, d.given, d.raw
	c.origin.building, c.origin.where = *b, d.where
	if b.readOverlay != nil {
		d.settingsOverlay(c, b.readOverlay, variables)
		d.overlay(c, b.readOverlay)
	}
	if b.readPolicy != nil {
		d.shared(c, b.readPolicy)
	}
	d.config(c)
	c.derive()
	c.check(&d)
	d.mistakes.sort()
	return c, d.mistakes
}

// decoding puts the values of viper's layers, all of them text, into a Config.
type decoding struct {
	layers   *viper.Viper
	file     string
	where    map[string]string // key -> "file:line"
	given    map[string]string // key -> variable or flag that set it; the file's are added
	raw      map[string]any    // key -> what was written
	mistakes Mistakes
}

func (d *decoding) config(c *Config) {
	for _, s := range leaves() {
		if !d.layers.IsSet(s.key) {
			continue
		}
		if _, ok := d.given[s.key]; !ok {
			d.given[s.key] = d.where[s.key]
		}
		d.raw[s.key] = d.layers.Get(s.key)
		d.value(d.raw[s.key], &s.setting, s.key, reflect.ValueOf(c).Elem().FieldByIndex(s.index))
	}
}

// value decodes raw, the value of key, into v.
func (d *decoding) value(raw any, s *setting, key string, v reflect.Value) {
	switch shapeOf(s.typ) {
	case section:
		tree, _ := raw.(map[string]any)
		d.section(tree, key, v)
	case entries:
		d.entries(raw, key, v)
	case list:
		d.list(raw, s, key, v)
	default:
		d.scalar(fmt.Sprint(raw), s, key, v)
	}
}

func (d *decoding) section(tree map[string]any, key string, v reflect.Value) {
	for _, s := range settingsOf(v.Type()) {
		if raw, ok := tree[s.name]; ok {
			d.value(raw, &s, join(key, s.name), v.FieldByIndex(s.index))
		}
	}
}

func (d *decoding) entries(raw any, key string, v reflect.Value) {
	var trees []any
	switch raw := raw.(type) {
	case []any:
		trees = raw
	case []string: // a flag
		trees = shortEntries(raw)
	case string: // a variable
		trees = shortEntries(splitList(raw))
	}
	if v.SetZero(); len(trees) == 0 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(trees), len(trees)))
	for i := range trees {
		if e, ok := v.Index(i).Addr().Interface().(interface{ defaults() }); ok {
			e.defaults()
		}
		tree, _ := trees[i].(map[string]any)
		d.section(tree, fmt.Sprintf("%s[%d]", key, i), v.Index(i))
	}
}

func (d *decoding) list(raw any, s *setting, key string, v reflect.Value) {
	var texts []string
	switch raw := raw.(type) {
	case []any:
		for _, text := range raw {
			texts = append(texts, fmt.Sprint(text))
		}
	case []string: // a flag
		texts = raw
	case string: // a variable, or one text in the file
		texts = splitList(raw)
	}
	if v.SetZero(); len(texts) == 0 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(texts), len(texts)))
	for i, text := range texts {
		d.scalar(text, s, fmt.Sprintf("%s[%d]", key, i), v.Index(i))
	}
}

func (d *decoding) scalar(text string, s *setting, key string, v reflect.Value) {
	text = strings.TrimSpace(text)
	was := reflect.New(v.Type()).Elem()
	was.Set(v)
	ok, expected, near := parse(text, s, v)
	if !ok {
		v.Set(was) // so that what is checked together is not wrong twice
		if s.is("secret") {
			text = withoutPath(text)
		}
		d.mistakes.add(Mistake{Key: key, Where: d.place(key), Found: "found " + quote(text), Expected: expected, Nearest: near})
		return
	}
	if s.is("path") {
		v.SetString(d.absolute(v.String(), key))
	}
}

// absolute resolves a path of the file against the file's directory, and one of
// a variable or flag against the working directory.
func (d *decoding) absolute(path, key string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	if strings.HasPrefix(d.place(key), d.file+":") && d.file != "" {
		return filepath.Join(filepath.Dir(d.file), path)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		d.mistakes.add(Mistake{Key: key, Where: d.place(key), Found: err.Error(), Expected: "an absolute path"})
	}
	return absolute
}

// place returns where key, or the innermost key around it, was set.
func (d *decoding) place(key string) string {
	top, _, _ := strings.Cut(key, "[")
	if by, ok := d.given[top]; ok && by != d.where[top] {
		return by
	}
	for k := key; k != ""; {
		if at, ok := d.where[k]; ok {
			return at
		}
		k = k[:max(strings.LastIndexAny(k, ".["), 0)]
	}
	return d.given[top]
}

func (d *decoding) mistake(key, found, expected string) {
	d.mistakes.add(Mistake{Key: key, Where: d.place(key), Found: found, Expected: expected})
}

// short reports whether an entry may be written as its first setting alone.
func short(t reflect.Type) bool { return t == reflect.TypeFor[[]Upstream]() }

func shortEntries(addresses []string) []any {
	trees := make([]any, len(addresses))
	for i, address := range addresses {
		trees[i] = map[string]any{"address": address}
	}
	return trees
}

// splitList splits a text at commas, as variables and flags write lists.
func splitList(text string) []string {
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

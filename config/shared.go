package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"
)

// What a center shares with the nodes of its fleet: settings that lie below a node's own.

// PolicyDir returns where a node keeps the policy of its center: a folder for each
// version, and the file "current", which names the one in force.
func (c *Config) PolicyDir() string { return policyDir(c.Data.Dir) }

func policyDir(dataDir string) string { return filepath.Join(dataDir, "fleet", "policy") }

// readPolicy returns the folder of the policy in force, and its settings. There is none
// where this machine is no node, where data.dir is none, and for who may not read it.
func readPolicy(dir string) (files string, text []byte, err error) {
	current, err := read(filepath.Join(dir, "current"))
	version := strings.TrimSpace(string(current))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) || err == nil && version == "" {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	if !filepath.IsLocal(version) || filepath.Base(version) != version {
		return "", nil, fmt.Errorf("%s names no policy: remove it, and it is fetched again", filepath.Join(dir, "current"))
	}
	files = filepath.Join(dir, version)
	text, err = readOverlay(filepath.Join(files, SettingsOverlayName))
	return files, text, err
}

// shared reads the settings of the center's policy, and puts them where this machine has
// none of its own. Entries of lists come behind its own.
func (d *decoding) shared(c *Config, readText func(dir string) (string, []byte, error)) {
	if d.layers.IsSet("fleet.policy") {
		if on, ok := parseBool(strings.TrimSpace(fmt.Sprint(d.layers.Get("fleet.policy")))); ok && !on {
			return
		}
	}
	dir := d.directory("data.dir", c.Data.Dir)
	if dir == "" {
		return
	}
	files, text, err := readText(policyDir(dir))
	if err != nil {
		for _, m := range unreadable(policyDir(dir), err) {
			d.mistakes.add(m)
		}
		return
	}
	c.Policy, c.origin.policy = files, text
	r := reading{file: filepath.Join(files, SettingsOverlayName), where: make(map[string]string), refuses: refusalOfShared}
	tree := r.tree(text)
	for _, m := range r.mistakes {
		d.mistakes.add(m)
	}
	added := make(map[string]any)
	for _, s := range leaves() {
		theirs, ok := valueIn(tree, s.key)
		if !ok {
			continue
		}
		if !d.layers.IsSet(s.key) {
			put(added, s.key, theirs)
			for key, where := range r.where {
				if key == s.key || strings.HasPrefix(key, s.key+"[") {
					d.where[key] = where
				}
			}
			continue
		}
		own, ok := d.layers.Get(s.key).([]any)
		list, ok2 := theirs.([]any)
		if ok && ok2 && (isNamed(own) && isNamed(list) || s.key == "local.records") {
			put(added, s.key, d.behind(own, list, s.key, r.where))
		}
	}
	if err := d.layers.MergeConfigMap(added); err != nil {
		d.mistakes.add(Mistake{Where: r.file, Found: err.Error()})
	}
}

// behind returns the node's own entries, and behind them those of the center that say
// nothing of what an own one is about.
func (d *decoding) behind(own, theirs []any, key string, where map[string]string) []any {
	all := slices.Clone(own)
	for i, entry := range theirs {
		if slices.ContainsFunc(own, func(o any) bool { return isSame(o, entry) }) {
			continue
		}
		from, to := fmt.Sprintf("%s[%d]", key, i), fmt.Sprintf("%s[%d]", key, len(all))
		for k, at := range where {
			if rest, ok := strings.CutPrefix(k, from); ok {
				d.where[to+rest] = at
			}
		}
		all = append(all, entry)
	}
	return all
}

// isNamed reports whether all entries have names.
func isNamed(all []any) bool {
	for _, entry := range all {
		tree, ok := entry.(map[string]any)
		if _, named := tree["name"]; !ok || !named {
			return false
		}
	}
	return true
}

// isSame reports whether two entries are about the same thing: by their names, or, of
// devices, by what tells them apart.
func isSame(a, b any) bool {
	one, ok := a.(map[string]any)
	other, ok2 := b.(map[string]any)
	if !ok || !ok2 {
		return fmt.Sprint(a) == fmt.Sprint(b)
	}
	if strings.EqualFold(fmt.Sprint(one["name"]), fmt.Sprint(other["name"])) {
		return true
	}
	for _, key := range []string{"mac", "client_id", "address"} {
		for _, text := range textsOf(one[key]) {
			if slices.ContainsFunc(textsOf(other[key]), func(t string) bool { return strings.EqualFold(t, text) }) {
				return true
			}
		}
	}
	return false
}

func textsOf(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return splitList(v)
	case []any:
		for _, one := range v {
			all = append(all, strings.TrimSpace(fmt.Sprint(one)))
		}
	}
	return all
}

// valueIn returns the value that a tree has for a dotted key.
func valueIn(tree map[string]any, key string) (value any, ok bool) {
	for {
		name, rest, nested := strings.Cut(key, ".")
		if value, ok = tree[name]; !nested || !ok {
			return value, ok
		}
		if tree, ok = value.(map[string]any); !ok {
			return nil, false
		}
		key = rest
	}
}

// SharedText returns the settings of Center.Share as nodes read them.
func (c *Config) SharedText() ([]byte, error) {
	document, err := documentOf(nil, "# What the center of this node's fleet shares.\n")
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(slices.Values(c.Center.Share)) {
		raw, ok := c.raw[key]
		if !ok {
			continue
		}
		value, err := nodeOf(plain(raw))
		if err != nil {
			return nil, Mistakes{{Key: key, Found: err.Error()}}
		}
		if err := putKey(document.Content[0], strings.Split(key, "."), value); err != nil {
			return nil, err
		}
	}
	if len(document.Content[0].Content) == 0 {
		return nil, nil
	}
	return overlayText(document)
}

// SharedBehind returns settings as SharedText does, with others behind them: those say what the first do not, and their entries
// of lists come behind, but for those about what an entry of the first is about.
func SharedBehind(first, others []byte) ([]byte, error) {
	var one, other map[string]any
	if err := errors.Join(yaml.Unmarshal(first, &one), yaml.Unmarshal(others, &other)); err != nil {
		return nil, err
	}
	document, err := documentOf(first, "# What the center of this node's fleet shares.\n")
	if err != nil {
		return nil, err
	}
	d := decoding{where: make(map[string]string)}
	for _, s := range leaves() {
		value, ok := valueIn(other, s.key)
		if !ok {
			continue
		}
		if own, ok := valueIn(one, s.key); ok {
			ours, isList := own.([]any)
			theirs, isList2 := value.([]any)
			if !isList || !isList2 || !(isNamed(ours) && isNamed(theirs)) && s.key != "local.records" {
				continue
			}
			value = d.behind(ours, theirs, s.key, nil)
		}
		n, err := nodeOf(plain(value))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.key, err)
		}
		if err := putKey(document.Content[0], strings.Split(s.key, "."), n); err != nil {
			return nil, err
		}
	}
	if len(document.Content[0].Content) == 0 {
		return nil, nil
	}
	return overlayText(document)
}

// plain returns a value of viper's as JSON has it.
func plain(raw any) any {
	switch raw := raw.(type) {
	case []any:
		all := make([]any, len(raw))
		for i := range raw {
			all[i] = plain(raw[i])
		}
		return all
	case map[string]any:
		all := maps.Clone(raw)
		for key := range all {
			all[key] = plain(all[key])
		}
		return all
	case []string, string, bool, float64, int:
		return raw
	}
	return fmt.Sprint(raw)
}

package config

import (
	"regexp"
	"strings"
)

const prefix = "TELLTALE_"

// Variables of ours that are not settings: which file to read, and where the
// project's own tests find their list corpus.
var otherVariables = []string{prefix + "CONFIG", prefix + "CORPUS"}

// Kubernetes gives every container such variables for each service of its
// namespace, also for one called telltale or telltale-web.
var kubernetes = regexp.MustCompile(`^TELLTALE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)?)$`)

// variable returns the environment variable of a key: listen.dns is
// TELLTALE_LISTEN_DNS.
func variable(key string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// environment reads the settings among env ("NAME=value" each) into a tree as
// the file has it. An empty value is as good as none.
func environment(env []string, given map[string]string, mistakes *Mistakes) map[string]any {
	byName := make(map[string]keyed)
	known := append([]string(nil), otherVariables...)
	for _, s := range leaves() {
		if shapeOf(s.typ) == entries && !short(s.typ) {
			continue
		}
		byName[variable(s.key)] = s
		known = append(known, variable(s.key))
	}
	tree := make(map[string]any)
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, prefix) || value == "" || name == otherVariables[0] || name == otherVariables[1] {
			continue
		}
		s, ok := byName[name]
		switch {
		case ok:
			given[s.key] = name
			put(tree, s.key, value)
		case !kubernetes.MatchString(name):
			mistakes.add(unknownVariable(name, known))
		}
	}
	return tree
}

func unknownVariable(name string, known []string) Mistake {
	for _, s := range leaves() {
		if shapeOf(s.typ) == entries && name == variable(s.key) {
			return Mistake{Key: s.key, Where: name, Found: "cannot be set by a variable", Expected: "it in the settings file"}
		}
	}
	return Mistake{Where: name, Found: "there is no such setting", Nearest: strings.ToUpper(nearest(strings.ToLower(name), lower(known)))}
}

func lower(words []string) []string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = strings.ToLower(w)
	}
	return all
}

// put sets a dotted key in a tree of sections.
func put(tree map[string]any, key string, value any) {
	for {
		name, rest, nested := strings.Cut(key, ".")
		if !nested {
			tree[name] = value
			return
		}
		below, ok := tree[name].(map[string]any)
		if !ok {
			below = make(map[string]any)
			tree[name] = below
		}
		tree, key = below, rest
	}
}

// lookup returns the last value of a variable in env; the last counts, as in os/exec.
func lookup(env []string, name string) string {
	var value string
	for _, e := range env {
		if n, v, _ := strings.Cut(e, "="); n == name {
			value = v
		}
	}
	return value
}

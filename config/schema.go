package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A setting is one field of a settings struct, as its tags describe it.
type setting struct {
	name  string // in its section: "ttl"
	index []int  // of the field, for reflect.Value.FieldByIndex
	typ   reflect.Type
	words []string // the only values; empty for any
	marks []string // "live", "flag", "path", "name", "domain", "wildcard", "server", "zone", "mac", "id", "url", "center", "secret", "minisign", "mqtt", "smtp", "dnstap", "port N"
}

func (s *setting) is(mark string) bool { return slices.Contains(s.marks, mark) }

// port returns the port of an address that is given without.
func (s *setting) port() uint16 {
	for _, mark := range s.marks {
		if text, ok := strings.CutPrefix(mark, "port "); ok {
			n, _ := strconv.ParseUint(text, 10, 16)
			return uint16(n)
		}
	}
	return 53
}

// settingsRead are the settings of struct types, by reflect.Type. Types never change, and each
// setting of each file asks for them.
var settingsRead sync.Map

// settingsOf returns the settings directly in the struct type t. Nobody may change them.
func settingsOf(t reflect.Type) []setting {
	if all, ok := settingsRead.Load(t); ok {
		return all.([]setting)
	}
	all := readSettings(t)
	settingsRead.Store(t, all)
	return all
}

func readSettings(t reflect.Type) []setting {
	var all []setting
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("key")
		if !ok {
			continue
		}
		marks := strings.Split(tag, ",")
		if slices.Contains(marks, "inline") {
			for _, s := range settingsOf(f.Type) {
				s.index = append(slices.Clone(f.Index), s.index...)
				all = append(all, s)
			}
			continue
		}
		all = append(all, setting{
			name:  marks[0],
			index: f.Index,
			typ:   f.Type,
			words: strings.Fields(f.Tag.Get("words")),
			marks: marks[1:],
		})
	}
	return all
}

// A shape is how a setting is written in the file.
type shape uint8

const (
	scalar  shape = iota // one value
	list                 // values
	section              // settings below it
	entries              // a list of sections
)

func shapeOf(t reflect.Type) shape {
	switch {
	case t.Kind() == reflect.Struct && len(settingsOf(t)) > 0:
		return section
	case t.Kind() == reflect.Slice && shapeOf(t.Elem()) == section:
		return entries
	case t.Kind() == reflect.Slice:
		return list
	}
	return scalar
}

// keyed is a setting with its whole key: "blocking.ttl", and "devices[].mac"
// inside entries.
type keyed struct {
	key string
	setting
}

// leaves returns the settings of Config that hold values or entries, with their
// index from Config. What is inside entries is not among them. Nobody may change them.
func leaves() []keyed {
	ofConfig.once.Do(func() { ofConfig.leaves = leavesOf(reflect.TypeFor[Config](), "", nil) })
	return ofConfig.leaves
}

var ofConfig struct {
	once   sync.Once
	leaves []keyed
}

func leavesOf(t reflect.Type, prefix string, index []int) []keyed {
	var all []keyed
	for _, s := range settingsOf(t) {
		key := join(prefix, s.name)
		s.index = append(slices.Clone(index), s.index...)
		if shapeOf(s.typ) == section {
			all = append(all, leavesOf(s.typ, key, s.index)...)
			continue
		}
		all = append(all, keyed{key, s})
	}
	return all
}

// Keys returns every key there is, those inside entries as "devices[].mac".
func Keys() []string {
	var keys []string
	for _, s := range leaves() {
		keys = append(keys, s.key)
		if shapeOf(s.typ) != entries {
			continue
		}
		for _, inner := range leavesOf(s.typ.Elem(), s.key+"[]", nil) {
			keys = append(keys, inner.key)
		}
	}
	return keys
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

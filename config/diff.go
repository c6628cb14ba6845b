package config

import (
	"maps"
	"reflect"
)

// Diff returns the keys that differ, those whose change applies at once and
// those that need a restart.
func Diff(old, new *Config) (live, restart []string) {
	was, is := reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem()
	for _, s := range leaves() {
		if reflect.DeepEqual(was.FieldByIndex(s.index).Interface(), is.FieldByIndex(s.index).Interface()) {
			continue
		}
		if s.is("live") {
			live = append(live, s.key)
		} else {
			restart = append(restart, s.key)
		}
	}
	return live, restart
}

// Live returns the settings that are in force once new is applied while serving:
// those of old, with all of new that applies at once.
func Live(old, new *Config) *Config {
	c := *old
	is, with := reflect.ValueOf(&c).Elem(), reflect.ValueOf(new).Elem()
	c.raw = maps.Clone(old.raw)
	for _, s := range leaves() {
		if !s.is("live") {
			continue
		}
		is.FieldByIndex(s.index).Set(with.FieldByIndex(s.index))
		if raw, ok := new.raw[s.key]; ok {
			c.raw[s.key] = raw
		} else {
			delete(c.raw, s.key)
		}
	}
	c.File, c.LastGood, c.origin, c.given = new.File, new.LastGood, new.origin, new.given
	c.Overlay, c.SettingsOverlay, c.Policy = new.Overlay, new.SettingsOverlay, new.Policy
	return &c
}

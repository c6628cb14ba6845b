package config

import "reflect"

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

package rules

import (
	"bytes"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// HoldsForType reports whether the conditions of a rule let it hold for a question of
// a type.
func HoldsForType(x *format.Extra, qtype uint16) bool {
	for _, t := range x.NotTypes {
		if t == qtype {
			return false
		}
	}
	if len(x.Types) == 0 {
		return true
	}
	for _, t := range x.Types {
		if t == qtype {
			return true
		}
	}
	return false
}

// IsBelow reports whether a name is zone or below it.
func IsBelow(name *dnswire.Name, zone []byte) bool {
	for k := name.Labels(); k >= 0; k-- {
		if s := name.Suffix(k); len(s) <= len(zone) {
			return bytes.Equal(s, zone)
		}
	}
	return false
}

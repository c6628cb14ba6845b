package config

import "time"

// Observe says whether blocked names are answered normally and recorded. It is
// off, on, or on until a time.
type Observe struct {
	On    bool
	Until time.Time // zero: without end
}

// String returns o as it is written in the file.
func (o Observe) String() string {
	switch {
	case !o.On:
		return "false"
	case o.Until.IsZero():
		return "true"
	}
	return o.Until.Format(time.RFC3339)
}

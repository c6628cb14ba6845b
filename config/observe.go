package config

import "time"

// Observe says whether blocked names are answered normally and recorded. It is
// off, on, or on until a time.
type Observe struct {
	On    bool
	Until time.Time // zero: without end
}

// At reports whether observing is on at the time now.
func (o Observe) At(now time.Time) bool {
	return o.On && (o.Until.IsZero() || now.Before(o.Until))
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

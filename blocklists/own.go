package blocklists

import (
	"errors"
	"time"

	"telltale/dnswire"
)

// EditOwn adds the rule that allows or blocks name and everything below it to
// the user's own file, or changes the one that is there. No other line is
// touched. A zero until is forever.
func EditOwn(path string, action Action, name *dnswire.Name, comment string, until time.Time) error {
	return errors.New("not built yet")
}

// RemoveOwn removes the rules for exactly name from the user's own file and
// returns how many they were.
func RemoveOwn(path string, name *dnswire.Name) (int, error) { return 0, errors.New("not built yet") }

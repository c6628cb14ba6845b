package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"telltale/atomicfile"
	"telltale/querylog"
)

// Bounds of what is kept, whoever makes up devices.
const (
	mostKept = 1_000  // alerts
	mostSeen = 20_000 // devices with what they were seen to do; the oldest are forgotten first
)

// A state is what is kept of alerts from one start to the next, as JSON in a file. Its
// keys never change.
type state struct {
	Version int `json:"version"`

	// What was looked at.
	Watched map[string]time.Time `json:"watched"` // conditions that are told, and since when
	Store   string               `json:"store"`   // of the last row that was looked at
	Row     int64                `json:"row"`     // its number
	Seen    []seen               `json:"seen"`    // what is not told again
	Low     bool                 `json:"low"`     // less is recorded than is wanted, which was told

	Stopped   []stopped `json:"stopped,omitempty"`   // of each experiment that is over
	StoppedTo time.Time `json:"stopped_to,omitzero"` // until when attempts at what stopped were looked for

	HeartbeatsTo time.Time `json:"heartbeats_to,omitzero"` // when new heartbeats were looked for

	Alerts  []kept         `json:"alerts"`  // the oldest first
	Dropped map[string]int `json:"dropped"` // by place: that it was not told of, since more came than are kept
}

const stateVersion = 1

// A seen is what a device did once.
type seen struct {
	Kind   string    `json:"kind"`
	Device string    `json:"device"` // its identity in the log at that time
	About  string    `json:"about"`  // a vendor, or a resolver
	Time   time.Time `json:"time"`
}

// A kept is an alert, and which places are still to be told.
type kept struct {
	Alert
	For []string `json:"for,omitempty"`
}

func readState(path string) (*state, error) {
	st := &state{Version: stateVersion, Watched: map[string]time.Time{}, Dropped: map[string]int{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err == nil {
		err = json.Unmarshal(text, st)
	}
	if err == nil && st.Version != stateVersion {
		err = fmt.Errorf("it is of version %d, and this program reads %d", st.Version, stateVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if st.Watched == nil {
		st.Watched = map[string]time.Time{}
	}
	if st.Dropped == nil {
		st.Dropped = map[string]int{}
	}
	return st, nil
}

func (st *state) write(path string) error {
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(text, '\n'), 0o600)
}

// add keeps alerts for places. The oldest go where they are too many.
func (st *state) add(alerts []Alert, places []string) {
	for i := range alerts {
		st.Alerts = append(st.Alerts, kept{alerts[i], slices.Clone(places)})
	}
	for len(st.Alerts) > mostKept {
		for _, place := range st.Alerts[0].For {
			st.Dropped[place]++
		}
		st.Alerts = st.Alerts[1:]
	}
}

// took notes that a place has taken alerts.
func (st *state) took(place string, m *Message) {
	for i := range m.Alerts {
		for k := range st.Alerts {
			if st.Alerts[k].ID == m.Alerts[i].ID {
				st.Alerts[k].For = slices.DeleteFunc(st.Alerts[k].For, func(p string) bool { return p == place })
			}
		}
	}
	if st.Dropped[place] -= m.Dropped; st.Dropped[place] <= 0 {
		delete(st.Dropped, place)
	}
}

// only drops what waits for places that are in the settings no more.
func (st *state) only(places []string) (changed bool) {
	for i := range st.Alerts {
		before := len(st.Alerts[i].For)
		st.Alerts[i].For = slices.DeleteFunc(st.Alerts[i].For, func(p string) bool { return !slices.Contains(places, p) })
		changed = changed || len(st.Alerts[i].For) != before
	}
	return changed
}

// see notes what a device did.
func (st *state) see(s seen) {
	st.Seen = append(st.Seen, s)
	if more := len(st.Seen) - mostSeen; more > 0 {
		st.Seen = slices.Delete(st.Seen, 0, more+mostSeen/10)
	}
}

// forget removes what there is of devices.
func (st *state) forget(identities map[string]bool, words []string) (changed bool) {
	alerts, all, over := len(st.Alerts), len(st.Seen), len(st.Stopped)
	st.Alerts = slices.DeleteFunc(st.Alerts, func(k kept) bool {
		return identities[k.Device] || querylog.HasWord(k.Device+"\n"+k.Label+"\n"+k.Text+"\n"+k.Command, words)
	})
	st.Seen = slices.DeleteFunc(st.Seen, func(s seen) bool { return identities[s.Device] })
	st.Stopped = slices.DeleteFunc(st.Stopped, func(s stopped) bool {
		return identities[s.Device] || querylog.HasWord(s.Says+"\n"+strings.Join(s.Names, "\n"), words)
	})
	return len(st.Alerts) != alerts || len(st.Seen) != all || len(st.Stopped) != over
}

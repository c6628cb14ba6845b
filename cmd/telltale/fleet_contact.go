package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale/atomicfile"
	"telltale/config"
	"telltale/fleet/authority"
)

// A fleetContact says whether the center takes what this node says of itself. The server
// keeps it in a file for 'telltale fleet status', and writes that only when it changes.
// The keys of its JSON never change.
type fleetContact struct {
	Since   time.Time `json:"since"`               // when it became as it is
	Heard   time.Time `json:"last_heard,omitzero"` // when the center answered last before that; zero for never
	Problem string    `json:"problem,omitempty"`   // why it does not now; "" where it does
	Refused bool      `json:"refused,omitempty"`   // the problem is that it refuses this node
}

func contactFile(cfg *config.Config) string { return filepath.Join(identityDir(cfg), "contact.json") }

// readContact returns what the server kept; nil for nothing.
func readContact(cfg *config.Config) *fleetContact {
	text, err := os.ReadFile(contactFile(cfg))
	c := new(fleetContact)
	if err != nil || json.Unmarshal(text, c) != nil {
		return nil
	}
	return c
}

// removeContact forgets it, for the next fleet has another center.
func removeContact(cfg *config.Config) error {
	if err := os.Remove(contactFile(cfg)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// A contactKeeper notes how the center answers.
type contactKeeper struct {
	file  string
	heard time.Time
	last  *fleetContact // as written; nil for not yet
}

// note takes the outcome of a report to the center, and writes the file where it is
// another one than that before.
func (k *contactKeeper) note(err error, now time.Time) error {
	c := &fleetContact{Since: now.UTC(), Heard: k.heard}
	if err != nil {
		_, c.Refused = errors.AsType[*authority.RefusedError](err)
		c.Problem = err.Error()
	} else {
		k.heard = now.UTC()
	}
	if k.last != nil && (k.last.Problem == "") == (c.Problem == "") && k.last.Refused == c.Refused {
		return nil
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	k.last = c
	return atomicfile.Write(k.file, append(text, '\n'), 0o644)
}

// String is what a person reads of it.
func (c *fleetContact) String() string {
	heard := "never"
	if !c.Heard.IsZero() {
		heard = when(c.Heard)
	}
	switch {
	case c.Refused:
		return fmt.Sprintf("REFUSED since %s, last heard %s: %s", when(c.Since), heard, c.Problem)
	case c.Problem != "":
		return fmt.Sprintf("NO ANSWER since %s, last heard %s: %s", when(c.Since), heard, c.Problem)
	}
	return "answers since " + when(c.Since)
}

// centerPatience is for how long a center may be away before it needs attention: a restart takes less.
const centerPatience = 5 * time.Minute

// center says whether the center of a node answers it.
func (d *doctor) center(f *facts) {
	c := f.contact
	switch {
	case c == nil || c.Problem != "" && !c.Refused && f.now.Sub(c.Since) < centerPatience:
	case c.Refused:
		d.finds(stateWrong, "center-refused", "", fmt.Sprintf("the center refuses this node since %s: %s. It goes on with the policy that it has, and its log is not sent", when(c.Since), c.Problem),
			"let it join anew ('telltale center invite NODE' there, 'telltale fleet join' here), or leave the fleet ('telltale fleet leave')")
	case c.Problem != "":
		d.finds(stateWarning, "center-silent", "", fmt.Sprintf("the center does not answer since %s: %s. This node goes on with the policy that it has, and keeps its log until then", when(c.Since), c.Problem),
			fmt.Sprintf("see whether 'telltale center' runs there and its port %s (TCP) can be reached from here; where it has another address now, set fleet.center", centerPorts(f.cfg)))
	default:
		d.says("center", "it %s", c)
	}
}

// centerPorts are the ports at which a node asks its center.
func centerPorts(cfg *config.Config) string {
	centers, ports := cfg.Fleet.Center, []string{}
	if id, err := authority.OpenIdentity(identityDir(cfg), nil); len(centers) == 0 && err == nil {
		centers = id.Centers
	}
	for _, center := range centers {
		if u, err := url.Parse(center); err == nil && !slices.Contains(ports, u.Port()) {
			ports = append(ports, u.Port())
		}
	}
	if len(ports) == 0 {
		return authority.Port
	}
	return strings.Join(ports, " or ")
}

// Package alert tells people, by themselves, of what the log shows: each thing once, with
// the command that shows what it rests on.
//
// A Teller looks at the log about once a minute. What it finds is written to a file
// before anybody is told, and stays there until each place has taken it: whoever is told
// may be told twice, where the server ended in between, and never not at all.
package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"

	"telltale/querylog"
)

// Conditions, by their words in the settings and in JSON, which never change.
const (
	FirstLookup      = "first-lookup"      // a device looked up a listed name of a vendor of which the log had none by it
	WentAround       = "went-around"       // a device looked up a name of another resolver
	Coverage         = "coverage"          // less of a day was recorded than is wanted
	DestinationMoved = "destination-moved" // a name leads into another operator's networks, or to another country
	StoppedTelemetry = "stopped-telemetry" // a device asked for a name after an experiment in which it stopped to
	NewHeartbeat     = "new-heartbeat"     // a device asks for a name at a steady period, and did not before
)

// Test is the kind of an alert that a person asked for to see whether it arrives.
const Test = "test"

// Kinds are all conditions.
var Kinds = []string{FirstLookup, WentAround, Coverage, DestinationMoved, StoppedTelemetry, NewHeartbeat}

// An Alert is one thing that happened. Its keys never change their meaning.
type Alert struct {
	ID      string        `json:"id"` // the same however often it is sent
	Kind    string        `json:"kind"`
	Time    querylog.Time `json:"time"`             // when it happened
	Found   querylog.Time `json:"found"`            // when this server saw it
	Node    string        `json:"node"`             // this server
	Device  string        `json:"device,omitempty"` // its identity, as the log has it
	Label   string        `json:"label,omitempty"`  // what it is called
	Vendor  string        `json:"vendor,omitempty"`
	Name    string        `json:"name,omitempty"` // that was asked for
	Text    string        `json:"text"`
	Command string        `json:"command"` // that shows what it rests on
}

// title is what an alert is about, for who only reads the first line.
func (a *Alert) title() string {
	switch a.Kind {
	case FirstLookup:
		return fmt.Sprintf("%s: first lookup for %s", a.Label, a.Vendor)
	case WentAround:
		return a.Label + ": looked for another resolver"
	case Coverage:
		return "Less was recorded than is wanted"
	case DestinationMoved:
		return a.Name + ": leads to another operator or country"
	case StoppedTelemetry:
		return a.Label + ": asks again for what had stopped"
	case NewHeartbeat:
		return fmt.Sprintf("%s: a new heartbeat, %s", a.Label, a.Name)
	}
	return "A test"
}

// id makes an identifier of what an alert is about.
func id(kind string, about ...string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + strings.Join(about, "\x00")))
	return kind + "-" + hex.EncodeToString(sum[:8])
}

// A Message is alerts that go to one place together. Its keys never change their meaning.
type Message struct {
	Version int           `json:"version"` // 1
	ID      string        `json:"id"`      // the same when these alerts are sent again
	Node    string        `json:"node"`
	Made    querylog.Time `json:"made"`
	Alerts  []Alert       `json:"alerts"`  // the oldest first
	More    int           `json:"more"`    // that are told in the next message
	Dropped int           `json:"dropped"` // that were too many to be kept until this place could be told
}

const messageVersion = 1

// newMessage makes a message of alerts for a place.
func newMessage(node string, alerts []Alert, more, dropped int, now time.Time) *Message {
	ids := make([]string, len(alerts))
	for i := range alerts {
		ids[i] = alerts[i].ID
	}
	return &Message{messageVersion, id("message", ids...), node, querylog.Time{Time: now}, alerts, more, dropped}
}

// Title is the one line of a message.
func (m *Message) Title() string {
	if len(m.Alerts) == 1 {
		return "Telltale: " + m.Alerts[0].title()
	}
	return fmt.Sprintf("Telltale: %d alerts", len(m.Alerts))
}

// Text is a message for people.
func (m *Message) Text(zone *time.Location) string {
	var b strings.Builder
	for i := range m.Alerts {
		b.WriteString(m.Alerts[i].block(zone))
	}
	b.WriteString(m.end())
	return b.String()
}

// block is an alert for people.
func (a *Alert) block(zone *time.Location) string {
	return fmt.Sprintf("%s  %s\n    %s\n\n", a.Time.In(zone).Format("Mon 2 Jan 15:04"), a.Text, a.Command)
}

func (m *Message) end() string {
	return m.left() + "The commands are for the machine on which Telltale runs (" + m.Node + "). A lookup is no proof that a connection was made, nor of what it carried.\n"
}

// left says which alerts are not in a message.
func (m *Message) left() (text string) {
	if m.More > 0 {
		text += fmt.Sprintf("%d more are told in the next message.\n", m.More)
	}
	if m.Dropped > 0 {
		text += fmt.Sprintf("%d earlier ones were too many to be kept for this place; those of the last thousand are in 'telltale alerts'.\n", m.Dropped)
	}
	return text
}

// plain is a name or the like of the network for people: one line without control
// characters.
func plain(text string) string { return plainTo(text, 253) }

// plainTo is plain for a text of at most so many characters.
func plainTo(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most])
	}
	return text
}

// quote writes a word as a shell takes it.
func quote(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.:/@+", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

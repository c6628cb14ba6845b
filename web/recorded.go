package web

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// A recorder is an API whose changes by people are lines of the ledger. An operation is
// recorded on its way out, so that none can be forgotten.
type recorder struct {
	huma.API
	report func(kind, subject, detail string)
}

// isChange reports whether an operation is a change by a person that the ledger is to have.
func isChange(ctx context.Context, op *huma.Operation) bool {
	if op.Method == http.MethodGet {
		return false
	}
	switch op.OperationID {
	case "import", "mark-network": // commands do it by themselves
		return !isOfSocket(ctx)
	case "flush-log", "preview-rules", "check-lists", "refresh-lists", // nothing is changed
		"log-in", "log-out", "look-at-link", "begin-codes", // the same
		"set-up", "change-passphrase", "confirm-codes", "remove-codes", "add-account", "change-account", "remove-account", "make-link", "add-token", "revoke-token": // account and token lines say who
		return false
	}
	return true
}

// A described request says what it is about, for the ledger. It must not name a device, which
// may be forgotten, nor what may be secret.
type described interface{ about() string }

const mostAbout = 300 // octets of what the ledger says of a request

// record writes the line of a change; but is what is to be said beside.
func record(ctx context.Context, api huma.API, op *huma.Operation, in any, but string) {
	r, ok := api.(recorder)
	if !ok || r.report == nil || !isChange(ctx, op) {
		return
	}
	detail := op.OperationID
	if d, ok := in.(described); ok {
		if about := d.about(); about != "" {
			detail += " " + strings.ToValidUTF8(about[:min(len(about), mostAbout)], "")
		}
	}
	r.report("change", Who(ctx), detail+but)
}

func (w *with[T]) about() string {
	if d, ok := any(&w.Body).(described); ok {
		return d.about()
	}
	return ""
}

func (r *Rule) about() string            { return r.Action + " " + r.Name }
func (r *newRuleRequest) about() string  { return r.Body.about() }
func (r *ruleRequest) about() string     { return r.Name }
func (r *ruleTextRequest) about() string { return r.File }
func (r *ruleLineRequest) about() string { return fmt.Sprintf("%s:%d", r.File, r.Line) }
func (r *nameRequest) about() string     { return r.Name }
func (r *ListName) about() string        { return r.Name }
func (r *Subscription) about() string    { return r.Name }
func (r *flushRequest) about() string    { return r.Name }
func (r *ExperimentStep) about() string  { return r.Do }
func (r *Pause) about() string           { return aboutPause(r.Kind, r.Of, r.Name) }
func (r *Resume) about() string          { return aboutPause(r.Kind, r.Of, r.Name) }
func (r *NewCorrection) about() string   { return r.Kind }

// aboutPause says what is paused, or only observed: a list, group or vendor by name.
func aboutPause(kind, of, name string) string {
	if of == "device" {
		name = ""
	}
	if kind == "pause" {
		kind = "" // the operation says it
	}
	return strings.Join(strings.Fields(kind+" "+of+" "+name), " ")
}

func (r *settingsChangeRequest) about() string {
	keys := slices.Sorted(maps.Keys(r.Body.Set))
	return strings.Join(slices.Concat(keys, r.Body.Unset), " ")
}

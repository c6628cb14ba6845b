package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"telltale/evidence/experiment"
	"telltale/querylog"
)

// What is handed on for others to check, and what people say of what they saw.

// A Checkpoint is a signed head of the sealed log. Its keys never change.
type Checkpoint struct {
	Origin string `json:"origin" doc:"Of which log it is."`
	Leaves int64  `json:"leaves" doc:"Rows and lines that are sealed."`
	Root   string `json:"root" doc:"The hash of all of them, in hexadecimal digits."`
	Note   string `json:"note" doc:"The signed text: what somebody else keeps, and 'telltale evidence audit --checkpoint' takes."`
}

// A NewBundle says what a bundle is to have.
type NewBundle struct {
	From   string `json:"from,omitempty" maxLength:"64" doc:"From then on: RFC 3339, a date, or as commands take it: 7d, yesterday. Without it: the last 7 days."`
	Until  string `json:"until,omitempty" maxLength:"64" doc:"Until then. Without it: now."`
	Zone   string `json:"tz,omitempty" maxLength:"64" doc:"The zone in which days are meant, such as Europe/Berlin. Without it: the server's."`
	Device string `json:"device,omitempty" maxLength:"256" doc:"Rows of this device alone: its identity, name, MAC or address. Needed by who may see some devices alone."`
	Redact bool   `json:"redact_others,omitempty" doc:"Withhold lines of the ledger that may be about other devices. Of who may see some devices alone they always are."`
}

// A BundleStep is a line of the answer while a bundle is made. The last has done, and bundle or
// error.
type BundleStep struct {
	Doing    string  `json:"doing,omitempty" doc:"reading the sealed log, or writing: the report, then the file and whether it can be verified."`
	Progress float64 `json:"progress" doc:"How much of that is done, from 0 to 1."`
	Done     bool    `json:"done"`
	Bundle   *Bundle `json:"bundle,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// A Bundle is a file that was made, and can be fetched for a while by who had it made.
type Bundle struct {
	ID       string    `json:"id" doc:"By which GET /evidence/bundles/{id} has it."`
	File     string    `json:"file" doc:"What it is called."`
	Bytes    int64     `json:"bytes"`
	SHA256   string    `json:"sha256"`
	Rows     int64     `json:"rows" doc:"Of the log, in it."`
	Withheld int64     `json:"withheld" doc:"Rows and lines of which it has the hash alone."`
	Key      string    `json:"key" doc:"The log's public key, to be given by another way than the file."`
	Expires  time.Time `json:"expires" doc:"From when on it cannot be fetched any more; a restart ends it, too."`
}

// A BundleMaker makes the bundle that was asked for, and tells how far it is. It is to be called once.
type BundleMaker func(ctx context.Context, step func(BundleStep)) (Bundle, error)

// A BundleFile is a bundle's octets. The reader of it closes it.
type BundleFile struct {
	Bundle
	io.ReadCloser
}

// An Alert is one that the server told by itself.
type Alert struct {
	ID      string        `json:"id" doc:"The same however often it is sent."`
	Kind    string        `json:"kind" doc:"A word of alerts.tell."`
	Time    querylog.Time `json:"time" doc:"When it happened."`
	Found   querylog.Time `json:"found" doc:"When the server saw it."`
	Node    string        `json:"node"`
	Device  string        `json:"device,omitempty" doc:"Its identity, as the log has it."`
	Label   string        `json:"label,omitempty" doc:"What the device is called."`
	Vendor  string        `json:"vendor,omitempty"`
	Name    string        `json:"name,omitempty" doc:"That was asked for."`
	Text    string        `json:"text"`
	Command string        `json:"command" doc:"That shows what it rests on."`
	Waits   []string      `json:"waits_for" doc:"The places that have not taken it yet: webhook, ntfy, mqtt, smtp, log."`
}

// A NewNote is what a person remembers of the household, or of a device.
type NewNote struct {
	Text   string    `json:"text" minLength:"1" maxLength:"1000"`
	Device string    `json:"device,omitempty" maxLength:"256" doc:"Of which device: its name, identity, MAC or address. Without it, of the household."`
	At     time.Time `json:"at,omitzero" doc:"When it was so, unless it is now."`
}

// A NewCandidate is a name that is to be observed.
type NewCandidate struct {
	Name string `json:"name" minLength:"1" maxLength:"256" doc:"The domain name; all below it is observed, too."`
}

// An Observed says what observing a name, or ending it, changed.
type Observed struct {
	Name    string `json:"name"`
	Path    string `json:"path" doc:"The list that has such names."`
	Changed bool   `json:"changed" doc:"It was not so before."`
}

// A Proposal is a candidate as an entry of the catalogue.
type Proposal struct {
	Name  string `json:"name"`
	Entry string `json:"entry" doc:"As docs/catalogue/contributing.md wants it, with the figures that speak for it as comments. What only a person can know is left open."`
}

func (r *NewCandidate) about() string    { return r.Name }
func (r *observedRequest) about() string { return r.Name }

type observedRequest struct {
	Name string `query:"name" required:"true" maxLength:"256" doc:"The domain name."`
}

type proposalRequest struct {
	CandidatesQuery
	Name string `query:"name" required:"true" maxLength:"256" doc:"The candidate."`
}

type templateRequest struct {
	Template string `query:"template" maxLength:"100" doc:"This one alone."`
}

type bundleFileRequest struct {
	ID string `path:"id" maxLength:"64" doc:"The bundle's id."`
}

// registerHandingOn adds what is handed on, and what people say of what they saw.
func registerHandingOn(api huma.API, o *Options) {
	add(api, reads("/alerts", "get-alerts", "What the server told by itself, the last thousand, the oldest first"),
		func(context.Context, *nothing) ([]Alert, error) { return o.Reading.Alerts() })
	add(api, reads("/evidence/checkpoints", "get-checkpoints", "The signed head of the sealed log, for others to keep"),
		func(context.Context, *nothing) ([]Checkpoint, error) { return o.Reading.Checkpoints() })
	export := forDevices(operation(http.MethodPost, "/evidence/export", "export-evidence", "Make a bundle: rows of the sealed log, and what shows that nobody changed them; a line of JSON for each step", http.StatusOK))
	export.Responses = linesOf[BundleStep](api, "Steps, each a line. The last has done, and bundle or error.")
	export.Errors = append(export.Errors, http.StatusServiceUnavailable)
	add(api, export, func(ctx context.Context, r *with[NewBundle]) (stream, error) {
		maker, err := o.Reading.ExportEvidence(ctx, r.Body)
		return func(c huma.Context) { makeBundle(c, maker) }, err
	})
	file := forDevices(reads("/evidence/bundles/{id}", "get-bundle", "A bundle that the caller had made, as a file"))
	file.Responses = map[string]*huma.Response{"200": {
		Description: "The file.",
		Content:     map[string]*huma.MediaType{"application/zip": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}}
	add(api, file, func(ctx context.Context, r *bundleFileRequest) (stream, error) {
		f, err := o.Reading.BundleFile(ctx, r.ID)
		return func(c huma.Context) { sendBundle(c, &f) }, err
	})

	add(api, operation(http.MethodPost, "/candidates/observe", "observe-candidate", "Record a name, and all below it, as if a list had it; nothing is blocked", http.StatusOK),
		func(ctx context.Context, r *with[NewCandidate]) (Observed, error) {
			return o.Reading.Observe(ctx, r.Body.Name, true)
		})
	add(api, operation(http.MethodDelete, "/candidates/observe", "end-observing", "Do not observe a name any more", http.StatusOK),
		func(ctx context.Context, r *observedRequest) (Observed, error) {
			return o.Reading.Observe(ctx, r.Name, false)
		})
	add(api, forDevices(reads("/candidates/proposal", "get-proposal", "A candidate as an entry for the catalogue, with the figures that speak for it; of the last 7 days unless it is said")),
		func(ctx context.Context, r *proposalRequest) (Proposal, error) {
			return o.Reading.Propose(ctx, r.Name, r.CandidatesQuery)
		})
	add(api, reads("/experiments/templates", "get-experiment-templates", "The templates of experiments: what to do at the device, and what the result can show"),
		func(_ context.Context, r *templateRequest) ([]*experiment.Template, error) {
			return o.Reading.Templates(r.Template)
		})
}

// makeBundle writes a line for each step of making a bundle.
func makeBundle(c huma.Context, maker BundleMaker) {
	c.SetHeader("Content-Type", "application/jsonl")
	c.SetHeader("X-Accel-Buffering", "no") // a proxy is not to wait for more
	w := c.BodyWriter()
	encoder := json.NewEncoder(w)
	step := func(s BundleStep) {
		encoder.Encode(s) // a client that is gone ends the context, and hears no more
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	made, err := maker(c.Context(), step)
	if err != nil {
		step(BundleStep{Done: true, Error: err.Error()})
		return
	}
	step(BundleStep{Progress: 1, Done: true, Bundle: &made})
}

// sendBundle writes a bundle's file.
func sendBundle(c huma.Context, f *BundleFile) {
	defer f.Close()
	c.SetHeader("Content-Type", "application/zip")
	c.SetHeader("Content-Length", strconv.FormatInt(f.Bytes, 10))
	c.SetHeader("Content-Disposition", fmt.Sprintf(`attachment; filename=%q`, strings.ReplaceAll(f.File, `"`, "")))
	c.SetHeader("Cache-Control", "no-store")
	c.SetStatus(http.StatusOK)
	io.Copy(c.BodyWriter(), f) // a client that is gone hears no more
}

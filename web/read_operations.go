package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"telltale/evidence"
	"telltale/evidence/candidate"
	"telltale/evidence/experiment"
	"telltale/evidence/rhythm"
)

// Reading are the functions that answer from the log, and of what it shows: all of them, or
// none, as in a program for small machines. Each keeps to the
// devices that the caller may see, where its operation is for callers that are limited to some.
type Reading struct {
	Log       func(context.Context, LogQuery) (LogPage, error)
	LogRow    func(ctx context.Context, id int64) (RowStory, error)
	FollowLog func(ctx context.Context, w Which, after int64) (LogFollower, error)

	Overview func(context.Context) (Overview, error)
	Report   func(context.Context, ReportQuery) (*evidence.Report, error)
	Coverage func(context.Context, Period) (evidence.Coverage, error)
	Top      func(context.Context, TopQuery) ([]TopLine, error)
	TopSlots func(context.Context, SlotsQuery) ([]evidence.CountSlot, error)
	Vendors  func(context.Context, VendorsQuery) ([]VendorLine, error)
	Vendor   func(ctx context.Context, vendor string, q PartQuery) (Vendor, error)
	Name     func(ctx context.Context, name string, q PartQuery) (NameStory, error)
	Device   func(ctx context.Context, device string, q PartQuery) (DeviceStory, error)
	Catalog  func(word string) (CatalogAnswer, error)

	Ledger           func(context.Context, LedgerQuery) (LedgerPage, error)
	Rhythm           func(context.Context, RhythmQuery) (*rhythm.Findings, error)
	Destinations     func(context.Context, DestinationsQuery) ([]Destination, error)
	Candidates       func(context.Context, CandidatesQuery) (*candidate.Found, error)
	Experiments      func(context.Context) ([]Experiment, error)
	Experiment       func(ctx context.Context, name string) (Experiment, error)
	ExperimentReport func(ctx context.Context, name, zone string) (*experiment.Report, error)
	Templates        func(name string) ([]*experiment.Template, error) // "": all

	Observe func(ctx context.Context, name string, on bool) (Observed, error) // a candidate
	Propose func(ctx context.Context, name string, q CandidatesQuery) (Proposal, error)

	Alerts         func() ([]Alert, error)
	Checkpoints    func() ([]Checkpoint, error)
	ExportEvidence func(context.Context, NewBundle) (BundleMaker, error)
	BundleFile     func(ctx context.Context, id string) (BundleFile, error)
}

// A LogFollower calls send with rows as they come, and with nil where none came for a while,
// until ctx ends or send fails. It is to be called once.
type LogFollower func(ctx context.Context, send func(*Row) error) error

// reads returns what the OpenAPI document says of an operation that reads from the log.
func reads(path, id, summary string) huma.Operation {
	op := operation(http.MethodGet, path, id, summary, http.StatusOK)
	op.Errors = []int{http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable}
	return op
}

type rowRequest struct {
	ID int64 `path:"id" minimum:"1" doc:"The row's id."`
}

type streamRequest struct {
	Which
	After int64 `query:"after" minimum:"0" doc:"Begin behind the row with this id. Without it, with what comes from now on."`
	Last  int64 `header:"Last-Event-ID" minimum:"0" doc:"The same; what a browser sends when it connects again."`
}

type vendorRequest struct {
	Vendor string `path:"vendor" maxLength:"256"`
	PartQuery
}

type nameStoryRequest struct {
	Name string `path:"name" maxLength:"256" doc:"The domain name."`
	PartQuery
}

type deviceRequest struct {
	Device string `path:"device" maxLength:"256" doc:"The device: its identity, name, MAC or address."`
	PartQuery
}

type catalogRequest struct {
	Word string `query:"q" required:"true" minLength:"1" maxLength:"256" doc:"A vendor, a name or a product; or a word of software, companies, brands, purposes, sets, regions and countries."`
}

type experimentRequest struct {
	Name string `path:"name" maxLength:"100"`
}

type experimentReportRequest struct {
	experimentRequest
	Zone string `query:"tz" maxLength:"64" doc:"The zone in which hours of the day are compared, such as Europe/Berlin. Without it: the server's."`
}

func registerReading(api huma.API, o *Options) {
	add(api, forDevices(reads("/log", "get-log", "Rows of the log, page by page")),
		func(ctx context.Context, q *LogQuery) (LogPage, error) { return o.Reading.Log(ctx, *q) })
	follow := forDevices(reads("/log/stream", "follow-log", "Rows of the log as they come: server-sent events"))
	follow.Responses = eventsOf[Row](api, "Events, each a row. One that is closed has its id as the event's, by which a client goes on; one that is open comes again when it has grown. A comment every 15 seconds says that all is well.")
	add(api, follow, func(ctx context.Context, r *streamRequest) (stream, error) {
		follower, err := o.Reading.FollowLog(ctx, r.Which, max(r.After, r.Last))
		return func(c huma.Context) { sendEvents(c, follower) }, err
	})
	add(api, forDevices(reads("/log/{id}", "get-log-row", "A row of the log with all that is known of it")),
		func(ctx context.Context, r *rowRequest) (RowStory, error) { return o.Reading.LogRow(ctx, r.ID) })

	add(api, reads("/overview", "get-overview", "On one screen how the server does: today's lookups and vendors, gaps of the log, what needs attention"),
		func(ctx context.Context, _ *nothing) (Overview, error) { return o.Reading.Overview(ctx) })
	add(api, forDevices(reads("/report", "get-report", "What the log shows of a period: of all devices, or of one, or of one vendor; the last 7 days unless it is said")),
		func(ctx context.Context, q *ReportQuery) (*evidence.Report, error) { return o.Reading.Report(ctx, *q) })
	add(api, reads("/coverage", "get-coverage", "How much of a period was recorded, and its gaps; the last 7 days unless it is said"),
		func(ctx context.Context, q *Period) (evidence.Coverage, error) { return o.Reading.Coverage(ctx, *q) })
	add(api, forDevices(reads("/top", "get-top", "Attempts and lookups by name, device, vendor or purpose; of the last 24 hours unless it is said")),
		func(ctx context.Context, q *TopQuery) ([]TopLine, error) { return o.Reading.Top(ctx, *q) })
	add(api, forDevices(reads("/top/slots", "get-top-slots", "The same by hour or day, with how much of each was recorded: a lookup is in the hour in which the first of its row came")),
		func(ctx context.Context, q *SlotsQuery) ([]evidence.CountSlot, error) {
			return o.Reading.TopSlots(ctx, *q)
		})
	add(api, forDevices(reads("/vendors", "get-vendors", "The vendors of the shipped lists and of the log, and what was asked of them; in the last 7 days unless it is said")),
		func(ctx context.Context, q *VendorsQuery) ([]VendorLine, error) { return o.Reading.Vendors(ctx, *q) })
	add(api, forDevices(reads("/vendors/{vendor}", "get-vendor", "What is known of a vendor, and what was asked of it; in the last 7 days unless it is said")),
		func(ctx context.Context, r *vendorRequest) (Vendor, error) {
			return o.Reading.Vendor(ctx, r.Vendor, r.PartQuery)
		})
	add(api, forDevices(reads("/names/{name}", "get-name", "What is known of a name: lists, rules, who asked, where it leads; in the last 30 days unless it is said")),
		func(ctx context.Context, r *nameStoryRequest) (NameStory, error) {
			return o.Reading.Name(ctx, r.Name, r.PartQuery)
		})
	add(api, forDevices(reads("/devices/{device}", "get-device", "What is known of a device, and what it asked; in the last 7 days unless it is said")),
		func(ctx context.Context, r *deviceRequest) (DeviceStory, error) {
			return o.Reading.Device(ctx, r.Device, r.PartQuery)
		})
	add(api, reads("/catalog", "search-catalog", "What the shipped lists know of a vendor, a name or a product, and from where"),
		func(_ context.Context, r *catalogRequest) (CatalogAnswer, error) { return o.Reading.Catalog(r.Word) })

	add(api, reads("/ledger", "get-ledger", "What bears on how far the log can be relied on, page by page"),
		func(ctx context.Context, q *LedgerQuery) (LedgerPage, error) { return o.Reading.Ledger(ctx, *q) })
	add(api, forDevices(reads("/rhythm", "get-rhythm", "By which rhythm devices ask for names; in the last 7 days unless it is said")),
		func(ctx context.Context, q *RhythmQuery) (*rhythm.Findings, error) { return o.Reading.Rhythm(ctx, *q) })
	add(api, reads("/destinations", "get-destinations", "Where names of the shipped lists lead that devices asked for"),
		func(ctx context.Context, q *DestinationsQuery) ([]Destination, error) {
			return o.Reading.Destinations(ctx, *q)
		})
	add(api, forDevices(reads("/candidates", "get-candidates", "Names that no list has and that may be telemetry; of the last 7 days unless it is said")),
		func(ctx context.Context, q *CandidatesQuery) (*candidate.Found, error) {
			return o.Reading.Candidates(ctx, *q)
		})
	add(api, reads("/experiments", "get-experiments", "All experiments of the ledger"),
		func(ctx context.Context, _ *nothing) ([]Experiment, error) { return o.Reading.Experiments(ctx) })
	add(api, reads("/experiments/{name}", "get-experiment", "The plan of an experiment, and what was done"),
		func(ctx context.Context, r *experimentRequest) (Experiment, error) {
			return o.Reading.Experiment(ctx, r.Name)
		})
	add(api, reads("/experiments/{name}/report", "get-experiment-report", "What an experiment shows, and how sure that is"),
		func(ctx context.Context, r *experimentReportRequest) (*experiment.Report, error) {
			return o.Reading.ExperimentReport(ctx, r.Name, r.Zone)
		})
	registerHandingOn(api, o)
}

// eventsOf describes a response that is a stream of events with a T each.
func eventsOf[T any](api huma.API, description string) map[string]*huma.Response {
	schema := api.OpenAPI().Components.Schemas.Schema(typeOf[T](), true, "")
	return map[string]*huma.Response{"200": {
		Description: description,
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
	}}
}

// sendPatience is how long a write to who follows may take: one who does not read is left.
const sendPatience = 10 * time.Second

// sendEvents writes rows as server-sent events.
func sendEvents(c huma.Context, follower LogFollower) {
	w, ok := c.BodyWriter().(http.ResponseWriter)
	if !ok {
		return
	}
	out := http.NewResponseController(w)
	c.SetHeader("Content-Type", "text/event-stream")
	c.SetHeader("Cache-Control", "no-store")
	c.SetHeader("X-Accel-Buffering", "no") // a proxy is not to wait for more
	c.SetStatus(http.StatusOK)
	write := func(text []byte) error {
		out.SetWriteDeadline(time.Now().Add(sendPatience)) // tests have writers without
		if _, err := w.Write(text); err != nil {
			return err
		}
		return out.Flush()
	}
	if write([]byte("retry: 2000\n\n")) != nil {
		return
	}
	follower(c.Context(), func(r *Row) error {
		if r == nil {
			return write([]byte(": nothing new\n\n"))
		}
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return write(eventOf(r, text))
	})
}

// eventOf returns the event of a row. A client goes on behind the last row that was closed when
// it came; an imported one is about its own time, which may be long ago.
func eventOf(r *Row, text []byte) []byte {
	event := "event: row\n"
	if !r.Open && r.Imported == "" {
		event += "id: " + strconv.FormatInt(r.ID, 10) + "\n"
	}
	return fmt.Appendf(nil, "%sdata: %s\n\n", event, text)
}

package web

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// register adds all operations to api.
func register(api huma.API, o *Options) {
	api = recorder{api, o.Report}
	registerServer(api, o)
	registerLists(api, o)
	registerListTexts(api, o)
	registerCatalogue(api, o)
	registerRules(api, o)
	registerSettings(api, o)
	registerDevices(api, o)
	registerBroke(api, o)
	registerCache(api, o)
	registerEvidence(api, o)
	registerImport(api, o)
	registerAccess(api, o)
	if !o.NoReading {
		registerReading(api, o)
	}
}

// operation returns what the OpenAPI document says of an operation. Status is that
// of success.
func operation(method, path, id, summary string, status int) huma.Operation {
	op := huma.Operation{Method: method, Path: Prefix + path, OperationID: id, Summary: summary, DefaultStatus: status}
	op.MaxBodyBytes = 64 << 10
	if method != http.MethodGet {
		op.Errors = []int{http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity}
	}
	return op
}

func registerServer(api huma.API, o *Options) {
	add(api, operation(http.MethodGet, "/status", "get-status", "How the server does", http.StatusOK),
		func(context.Context, *nothing) (Status, error) { return o.Status(), nil })
	add(api, operation(http.MethodGet, "/health", "get-health", "Ask the server's own listeners a DNS question", http.StatusOK),
		func(ctx context.Context, _ *nothing) (Health, error) {
			h, err := o.Health(ctx)
			if err != nil {
				return h, huma.Error503ServiceUnavailable(err.Error())
			}
			return h, nil
		})
	add(api, operation(http.MethodGet, "/findings", "get-findings", "What keeps the server from answering, or its log from being true", http.StatusOK),
		func(ctx context.Context, r *findingsRequest) ([]Finding, error) {
			by := CallerOf(ctx)
			return o.Findings(ctx, r.Probe && by.Access.Includes(Admin)), nil
		})
	add(api, operation(http.MethodPut, "/findings/network", "mark-network", "Tell which DNS servers the network hands out beside this one, for the ledger", http.StatusNoContent),
		func(_ context.Context, r *with[NetworkFindings]) (nothing, error) {
			return nothing{}, o.MarkNetwork(r.Body)
		})
	add(api, operation(http.MethodGet, "/upstreams", "get-upstreams", "How the upstreams do, in the order in which they are asked", http.StatusOK),
		func(context.Context, *nothing) ([]Upstream, error) { return o.Upstreams(), nil })
	add(api, forDevices(operation(http.MethodGet, "/pause", "get-pauses", "Pauses, and times in which something is only observed, that are in force; who is limited to some devices gets those of these and of everything", http.StatusOK)),
		func(ctx context.Context, _ *nothing) ([]Temporary, error) {
			c := CallerOf(ctx)
			return slices.DeleteFunc(o.Temporary(), func(t Temporary) bool {
				return c.Limited && t.Of != "everything" && (t.Of != "device" || !c.MaySee(t.Name))
			}), nil
		})
	add(api, forDevices(operation(http.MethodPut, "/pause", "pause", "Block nothing for a while; everything is still recorded", http.StatusOK)),
		func(ctx context.Context, r *with[Pause]) (Temporary, error) {
			if err := o.mayPause(ctx, r.Body.Kind, r.Body.Of, &r.Body.Name); err != nil {
				return Temporary{}, err
			}
			return o.Pause(r.Body)
		})
	add(api, forDevices(operation(http.MethodDelete, "/pause", "resume", "End pauses, or times in which something is only observed", http.StatusOK)),
		func(ctx context.Context, r *Resume) (Resumed, error) {
			if err := o.mayPause(ctx, r.Kind, r.Of, &r.Name); err != nil {
				return Resumed{}, err
			}
			return o.Resume(*r)
		})
	add(api, operation(http.MethodPost, "/log/flush", "flush-log", "Store what the log holds in memory, so that it can be read", http.StatusNoContent),
		func(context.Context, *nothing) (nothing, error) { o.FlushLog(); return nothing{}, nil })
}

type findingsRequest struct {
	Probe bool `query:"probe" default:"true" doc:"Also ask the upstreams for names that are not there, and this server over this machine's own addresses; what has begun or is over since is written into the ledger. It takes the access admin; for others it is false."`
}

type diffRequest struct {
	Name string `query:"name" required:"true" doc:"The list."`
	Held bool   `query:"held" doc:"What the update that is held back would change, instead of what the last one did."`
}

type nameRequest struct {
	Name string `query:"name" required:"true" doc:"The list."`
}

func registerLists(api huma.API, o *Options) {
	add(api, operation(http.MethodGet, "/lists", "get-lists", "How each list stands, in the order in which they win ties", http.StatusOK),
		func(context.Context, *nothing) ([]List, error) { return o.Lists(), nil })
	add(api, operation(http.MethodGet, "/lists/diff", "get-list-diff", "What the last update of a subscribed list changed", http.StatusOK),
		func(_ context.Context, r *diffRequest) (Diff, error) {
			return o.ListDiff(r.Name, r.Held)
		})
	add(api, operation(http.MethodPost, "/lists/accept", "accept-list", "Put in force what is held back of a list", http.StatusNoContent),
		func(_ context.Context, r *with[ListName]) (nothing, error) {
			return nothing{}, o.AcceptList(r.Body.Name)
		})
	refresh := operation(http.MethodPost, "/lists/refresh", "refresh-lists", "Fetch subscribed lists now; a line of JSON for each step", http.StatusOK)
	refresh.Responses = linesOf[Refreshed](api, "Steps, each a line. The last of a list has done, and outcome or error.")
	add(api, refresh, func(_ context.Context, r *with[ListNames]) (stream, error) {
		return func(c huma.Context) { o.refresh(c, r.Body.Names) }, nil
	})
	add(api, operation(http.MethodPost, "/subscriptions", "subscribe", "Subscribe to a list by URL, fetch it, and put it in force", http.StatusCreated),
		func(ctx context.Context, r *with[Subscription]) (Change, error) {
			return o.Subscribe(ctx, r.Body)
		})
	add(api, operation(http.MethodDelete, "/subscriptions", "unsubscribe", "End a subscription that this API made", http.StatusOK),
		func(_ context.Context, r *nameRequest) (Change, error) {
			return o.Unsubscribe(r.Name)
		})
}

func registerCatalogue(api huma.API, o *Options) {
	add(api, operation(http.MethodGet, "/catalogue", "get-catalogue", "Which edition of the shipped lists is in force, and where later ones come from", http.StatusOK),
		func(context.Context, *nothing) (Catalogue, error) { return o.Catalogue(), nil })
	add(api, operation(http.MethodPost, "/catalogue/update", "update-catalogue", "Fetch the catalogue from catalog.url, and put it in force if it is a later edition", http.StatusOK),
		func(ctx context.Context, _ *nothing) (CatalogueUpdate, error) {
			return o.UpdateCatalogue(ctx)
		})
	add(api, operation(http.MethodPost, "/catalogue/accept", "accept-catalogue", "Put the edition in force that is held back", http.StatusOK),
		func(context.Context, *nothing) (CatalogueUpdate, error) {
			return o.AcceptCatalogue()
		})
}

// linesOf describes a response whose body is a line of JSON for each T.
func linesOf[T any](api huma.API, description string) map[string]*huma.Response {
	schema := huma.SchemaFromType(api.OpenAPI().Components.Schemas, typeOf[T]())
	return map[string]*huma.Response{"200": {
		Description: description,
		Content:     map[string]*huma.MediaType{"application/jsonl": {Schema: schema}},
	}}
}

// refresh writes a line for each step of a refresh as it happens.
func (o *Options) refresh(c huma.Context, names []string) {
	c.SetHeader("Content-Type", "application/jsonl")
	w := c.BodyWriter()
	encoder := json.NewEncoder(w)
	step := func(r Refreshed) {
		encoder.Encode(r) // a client that is gone hears no more
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	if err := o.RefreshList(c.Context(), names, step); err != nil {
		step(Refreshed{Done: true, Error: err.Error()})
	}
}

type historyRequest struct {
	Device string `query:"device" required:"true" doc:"The device: its name, identity, MAC or address."`
}

func registerDevices(api huma.API, o *Options) {
	add(api, operation(http.MethodGet, "/devices", "get-devices", "Who is known", http.StatusOK),
		func(ctx context.Context, _ *nothing) ([]Device, error) {
			return o.Devices(ctx), nil
		})
	history := operation(http.MethodGet, "/devices/history", "get-device-history", "Every binding of a device and what it rests on, and what people said of it", http.StatusOK)
	history.Errors = []int{http.StatusNotFound}
	add(api, history, func(ctx context.Context, r *historyRequest) (History, error) {
		return o.History(ctx, r.Device)
	})
	add(api, operation(http.MethodGet, "/corrections", "get-corrections", "What people said of devices, those taken back included", http.StatusOK),
		func(context.Context, *nothing) ([]Correction, error) {
			return o.Corrections(), nil
		})
	add(api, operation(http.MethodPost, "/corrections", "correct", "Say what a device is: it holds for all that is read from then on, and can be undone", http.StatusCreated),
		func(_ context.Context, r *with[NewCorrection]) (Correction, error) {
			return o.Correct(r.Body)
		})
	add(api, operation(http.MethodPost, "/notes", "add-note", "Remember something of the household, or of a device, for its reports", http.StatusCreated),
		func(_ context.Context, r *with[NewNote]) (Correction, error) {
			return o.Correct(NewCorrection{Kind: "note", Device: r.Body.Device, Text: r.Body.Text, From: r.Body.At})
		})
	add(api, operation(http.MethodPost, "/corrections/undo", "undo-correction", "Take a correction back", http.StatusOK),
		func(_ context.Context, r *with[Undo]) (Correction, error) {
			return o.UndoCorrection(r.Body.ID)
		})
	add(api, operation(http.MethodPost, "/devices/forget", "forget-device", "Delete all that was recorded of a device; it cannot be undone", http.StatusOK),
		func(ctx context.Context, r *with[Forget]) (Forgotten, error) {
			return o.Forget(ctx, r.Body)
		})
	add(api, operation(http.MethodGet, "/bypass", "get-bypass", "Which devices may ask past this server, and the signs of it", http.StatusOK),
		func(ctx context.Context, _ *nothing) (Bypass, error) {
			return o.Bypass(ctx)
		})
	explain := operation(http.MethodGet, "/explain", "explain", "What is decided for a name, and why", http.StatusOK)
	explain.Errors = []int{http.StatusNotFound, http.StatusUnprocessableEntity}
	add(api, explain, func(ctx context.Context, q *Question) (Explanation, error) {
		return o.Explain(ctx, *q)
	})
	query := operation(http.MethodGet, "/query", "query", "Answer a question as a client's, and tell each step; nothing is logged", http.StatusOK)
	query.Errors = explain.Errors
	add(api, query, func(ctx context.Context, q *Lookup) (Resolution, error) {
		return o.Query(ctx, *q)
	})
}

type brokeRequest struct {
	Device string `query:"device" required:"true" doc:"The device: its name, identity, MAC or address."`
	Last   int64  `query:"last" default:"900" minimum:"1" maximum:"3600" doc:"Seconds back from now."`
}

type stopRequest struct {
	Device string `query:"device" required:"true" doc:"The device: its name, identity, MAC or address."`
}

func registerBroke(api huma.API, o *Options) {
	broke := operation(http.MethodGet, "/broke", "get-broke", "What was blocked of a device lately, the likeliest cause of a breakage first", http.StatusOK)
	broke.Errors = []int{http.StatusNotFound, http.StatusUnprocessableEntity}
	add(api, broke, func(ctx context.Context, r *brokeRequest) (Breakage, error) {
		return o.Broke(ctx, r.Device, r.Last)
	})
	add(api, operation(http.MethodPost, "/broke/search", "begin-search", "Search for the blocked name that a device needs: half of the names are let through on it for ten minutes", http.StatusCreated),
		func(ctx context.Context, r *with[NewSearch]) (Search, error) {
			return o.BeginSearch(ctx, r.Body)
		})
	add(api, operation(http.MethodPost, "/broke/search/answer", "answer-search", "Say whether it works now: the next names are let through, or the search is over", http.StatusOK),
		func(ctx context.Context, r *with[SearchAnswer]) (Search, error) {
			return o.AnswerSearch(ctx, r.Body)
		})
	add(api, operation(http.MethodDelete, "/broke/search", "stop-search", "End a search without a rule", http.StatusNoContent),
		func(ctx context.Context, r *stopRequest) (nothing, error) {
			return nothing{}, o.StopSearch(ctx, r.Device)
		})
}

type cachedRequest struct {
	Name string `query:"name" required:"true" doc:"The domain name."`
}

type flushRequest struct {
	Name string `query:"name" doc:"The domain name; without it, all names."`
}

func registerEvidence(api huma.API, o *Options) {
	add(api, operation(http.MethodPost, "/evidence/key", "rotate-key", "Have another key sign the sealed log from here on, vouched for by the one before", http.StatusOK),
		func(ctx context.Context, _ *nothing) (SealKey, error) {
			return o.RotateKey(ctx)
		})
	add(api, operation(http.MethodPost, "/destinations/ask", "ask-destinations", "Ask the upstreams where names of the catalogue lead that devices asked for; no lookup of a device's", http.StatusOK),
		func(ctx context.Context, _ *nothing) (DestinationsAsked, error) {
			return o.AskDestinations(ctx)
		})
	add(api, operation(http.MethodPost, "/experiments", "plan-experiment", "Write the plan of an experiment into the ledger", http.StatusCreated),
		func(ctx context.Context, r *with[NewExperiment]) (ExperimentLine, error) {
			return o.PlanExperiment(ctx, r.Body)
		})
	add(api, operation(http.MethodPost, "/experiments/step", "step-experiment", "Begin an experiment, mark what was done, end it, or give it up", http.StatusCreated),
		func(ctx context.Context, r *with[ExperimentStep]) (ExperimentLine, error) {
			return o.StepExperiment(ctx, r.Body)
		})
}

func registerCache(api huma.API, o *Options) {
	show := operation(http.MethodGet, "/cache", "get-cached", "What is kept of upstreams' answers for a name", http.StatusOK)
	show.Errors = []int{http.StatusUnprocessableEntity}
	add(api, show, func(_ context.Context, r *cachedRequest) ([]CachedAnswer, error) {
		return o.Cached(r.Name)
	})
	add(api, operation(http.MethodDelete, "/cache", "flush-cache", "Forget what is kept of a name, or of all", http.StatusOK),
		func(_ context.Context, r *flushRequest) (Flushed, error) {
			return o.FlushCache(r.Name)
		})
	add(api, operation(http.MethodGet, "/cache/stats", "get-cache-stats", "How full the cache is, and what it did", http.StatusOK),
		func(context.Context, *nothing) (CacheStats, error) { return o.CacheStats(), nil })
}

package web

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// of is a response with a body.
type of[T any] struct{ Body T }

// with is a request with a body.
type with[T any] struct{ Body T }

type nothing struct{}

// register adds all operations to api.
func register(api huma.API, o *Options) {
	registerServer(api, o)
	registerLists(api, o)
	registerCatalogue(api, o)
	registerRules(api, o)
	registerDevices(api, o)
	registerBroke(api, o)
	registerCache(api, o)
	registerEvidence(api, o)
	registerImport(api, o)
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
	huma.Register(api, operation(http.MethodGet, "/status", "get-status", "How the server does", http.StatusOK),
		func(context.Context, *nothing) (*of[Status], error) { return &of[Status]{o.Status()}, nil })
	huma.Register(api, operation(http.MethodGet, "/health", "get-health", "Ask the server's own listeners a DNS question", http.StatusOK),
		func(ctx context.Context, _ *nothing) (*of[Health], error) {
			h, err := o.Health(ctx)
			if err != nil {
				return nil, huma.Error503ServiceUnavailable(err.Error())
			}
			return &of[Health]{h}, nil
		})
	huma.Register(api, operation(http.MethodGet, "/findings", "get-findings", "What keeps the server from answering, or its log from being true", http.StatusOK),
		func(ctx context.Context, r *findingsRequest) (*of[[]Finding], error) {
			return &of[[]Finding]{o.Findings(ctx, r.Probe)}, nil
		})
	huma.Register(api, operation(http.MethodPut, "/findings/network", "mark-network", "Tell which DNS servers the network hands out beside this one, for the ledger", http.StatusNoContent),
		func(_ context.Context, r *with[NetworkFindings]) (*nothing, error) {
			return nil, problem(o.MarkNetwork(r.Body))
		})
	huma.Register(api, operation(http.MethodGet, "/upstreams", "get-upstreams", "How the upstreams do, in the order in which they are asked", http.StatusOK),
		func(context.Context, *nothing) (*of[[]Upstream], error) { return &of[[]Upstream]{o.Upstreams()}, nil })
	huma.Register(api, operation(http.MethodPut, "/pause", "pause", "Block nothing for a while; everything is still recorded", http.StatusOK),
		func(_ context.Context, r *with[Pause]) (*of[Temporary], error) {
			t, err := o.Pause(r.Body)
			return &of[Temporary]{t}, problem(err)
		})
	huma.Register(api, operation(http.MethodDelete, "/pause", "resume", "End pauses, or times in which something is only observed", http.StatusOK),
		func(_ context.Context, r *Resume) (*of[Resumed], error) {
			ended, err := o.Resume(*r)
			return &of[Resumed]{ended}, problem(err)
		})
	huma.Register(api, operation(http.MethodPost, "/log/flush", "flush-log", "Store what the log holds in memory, so that it can be read", http.StatusNoContent),
		func(context.Context, *nothing) (*nothing, error) { o.FlushLog(); return nil, nil })
}

type findingsRequest struct {
	Probe bool `query:"probe" default:"true" doc:"Also ask the upstreams for names that are not there, and this server over this machine's own addresses; what has begun or is over since is written into the ledger."`
}

type diffRequest struct {
	Name string `query:"name" required:"true" doc:"The list."`
	Held bool   `query:"held" doc:"What the update that is held back would change, instead of what the last one did."`
}

type nameRequest struct {
	Name string `query:"name" required:"true" doc:"The list."`
}

func registerLists(api huma.API, o *Options) {
	huma.Register(api, operation(http.MethodGet, "/lists", "get-lists", "How each list stands, in the order in which they win ties", http.StatusOK),
		func(context.Context, *nothing) (*of[[]List], error) { return &of[[]List]{o.Lists()}, nil })
	huma.Register(api, operation(http.MethodGet, "/lists/diff", "get-list-diff", "What the last update of a subscribed list changed", http.StatusOK),
		func(_ context.Context, r *diffRequest) (*of[Diff], error) {
			d, err := o.ListDiff(r.Name, r.Held)
			return &of[Diff]{d}, problem(err)
		})
	huma.Register(api, operation(http.MethodPost, "/lists/accept", "accept-list", "Put in force what is held back of a list", http.StatusNoContent),
		func(_ context.Context, r *with[ListName]) (*nothing, error) {
			return nil, problem(o.AcceptList(r.Body.Name))
		})
	refresh := operation(http.MethodPost, "/lists/refresh", "refresh-lists", "Fetch subscribed lists now; a line of JSON for each step", http.StatusOK)
	refresh.Responses = linesOf[Refreshed](api, "Steps, each a line. The last of a list has done, and outcome or error.")
	huma.Register(api, refresh, func(_ context.Context, r *with[ListNames]) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(c huma.Context) { o.refresh(c, r.Body.Names) }}, nil
	})
	huma.Register(api, operation(http.MethodPost, "/subscriptions", "subscribe", "Subscribe to a list by URL, fetch it, and put it in force", http.StatusCreated),
		func(ctx context.Context, r *with[Subscription]) (*of[Change], error) {
			c, err := o.Subscribe(ctx, r.Body)
			return &of[Change]{c}, problem(err)
		})
	huma.Register(api, operation(http.MethodDelete, "/subscriptions", "unsubscribe", "End a subscription that this API made", http.StatusOK),
		func(_ context.Context, r *nameRequest) (*of[Change], error) {
			c, err := o.Unsubscribe(r.Name)
			return &of[Change]{c}, problem(err)
		})
}

func registerCatalogue(api huma.API, o *Options) {
	huma.Register(api, operation(http.MethodGet, "/catalogue", "get-catalogue", "Which edition of the shipped lists is in force, and where later ones come from", http.StatusOK),
		func(context.Context, *nothing) (*of[Catalogue], error) { return &of[Catalogue]{o.Catalogue()}, nil })
	huma.Register(api, operation(http.MethodPost, "/catalogue/update", "update-catalogue", "Fetch the catalogue from catalog.url, and put it in force if it is a later edition", http.StatusOK),
		func(ctx context.Context, _ *nothing) (*of[CatalogueUpdate], error) {
			u, err := o.UpdateCatalogue(ctx)
			return &of[CatalogueUpdate]{u}, problem(err)
		})
	huma.Register(api, operation(http.MethodPost, "/catalogue/accept", "accept-catalogue", "Put the edition in force that is held back", http.StatusOK),
		func(context.Context, *nothing) (*of[CatalogueUpdate], error) {
			u, err := o.AcceptCatalogue()
			return &of[CatalogueUpdate]{u}, problem(err)
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

type ruleRequest struct {
	Name   string `query:"name" required:"true" doc:"The domain name."`
	Device string `query:"device" doc:"The device whose rule it is; without it, the rule for all."`
}

func registerRules(api huma.API, o *Options) {
	huma.Register(api, operation(http.MethodPost, "/rules", "add-rule", "Write a rule of the user's own; it is in force when this returns", http.StatusCreated),
		func(_ context.Context, r *with[Rule]) (*of[Change], error) {
			c, err := o.AddRule(r.Body)
			return &of[Change]{c}, problem(err)
		})
	huma.Register(api, operation(http.MethodDelete, "/rules", "remove-rule", "Remove the user's own rules for a name; they are out of force when this returns", http.StatusOK),
		func(_ context.Context, r *ruleRequest) (*of[Change], error) {
			c, err := o.RemoveRule(Rule{Name: r.Name, Device: r.Device})
			return &of[Change]{c}, problem(err)
		})
}

type historyRequest struct {
	Device string `query:"device" required:"true" doc:"The device: its name, identity, MAC or address."`
}

func registerDevices(api huma.API, o *Options) {
	huma.Register(api, operation(http.MethodGet, "/devices", "get-devices", "Who is known", http.StatusOK),
		func(ctx context.Context, _ *nothing) (*of[[]Device], error) {
			return &of[[]Device]{o.Devices(ctx)}, nil
		})
	history := operation(http.MethodGet, "/devices/history", "get-device-history", "Every binding of a device and what it rests on, and what people said of it", http.StatusOK)
	history.Errors = []int{http.StatusNotFound}
	huma.Register(api, history, func(ctx context.Context, r *historyRequest) (*of[History], error) {
		h, err := o.History(ctx, r.Device)
		return &of[History]{h}, problem(err)
	})
	huma.Register(api, operation(http.MethodGet, "/corrections", "get-corrections", "What people said of devices, those taken back included", http.StatusOK),
		func(context.Context, *nothing) (*of[[]Correction], error) {
			return &of[[]Correction]{o.Corrections()}, nil
		})
	huma.Register(api, operation(http.MethodPost, "/corrections", "correct", "Say what a device is: it holds for all that is read from then on, and can be undone", http.StatusCreated),
		func(_ context.Context, r *with[NewCorrection]) (*of[Correction], error) {
			c, err := o.Correct(r.Body)
			return &of[Correction]{c}, problem(err)
		})
	huma.Register(api, operation(http.MethodPost, "/corrections/undo", "undo-correction", "Take a correction back", http.StatusOK),
		func(_ context.Context, r *with[Undo]) (*of[Correction], error) {
			c, err := o.UndoCorrection(r.Body.ID)
			return &of[Correction]{c}, problem(err)
		})
	huma.Register(api, operation(http.MethodPost, "/devices/forget", "forget-device", "Delete all that was recorded of a device; it cannot be undone", http.StatusOK),
		func(ctx context.Context, r *with[Forget]) (*of[Forgotten], error) {
			f, err := o.Forget(ctx, r.Body)
			return &of[Forgotten]{f}, problem(err)
		})
	huma.Register(api, operation(http.MethodGet, "/bypass", "get-bypass", "Which devices may ask past this server, and the signs of it", http.StatusOK),
		func(ctx context.Context, _ *nothing) (*of[Bypass], error) {
			b, err := o.Bypass(ctx)
			return &of[Bypass]{b}, problem(err)
		})
	explain := operation(http.MethodGet, "/explain", "explain", "What is decided for a name, and why", http.StatusOK)
	explain.Errors = []int{http.StatusNotFound, http.StatusUnprocessableEntity}
	huma.Register(api, explain, func(ctx context.Context, q *Question) (*of[Explanation], error) {
		e, err := o.Explain(ctx, *q)
		return &of[Explanation]{e}, problem(err)
	})
	query := operation(http.MethodGet, "/query", "query", "Answer a question as a client's, and tell each step; nothing is logged", http.StatusOK)
	query.Errors = explain.Errors
	huma.Register(api, query, func(ctx context.Context, q *Lookup) (*of[Resolution], error) {
		r, err := o.Query(ctx, *q)
		return &of[Resolution]{r}, problem(err)
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
	huma.Register(api, broke, func(ctx context.Context, r *brokeRequest) (*of[Breakage], error) {
		b, err := o.Broke(ctx, r.Device, r.Last)
		return &of[Breakage]{b}, problem(err)
	})
	huma.Register(api, operation(http.MethodPost, "/broke/search", "begin-search", "Search for the blocked name that a device needs: half of the names are let through on it for ten minutes", http.StatusCreated),
		func(ctx context.Context, r *with[NewSearch]) (*of[Search], error) {
			s, err := o.BeginSearch(ctx, r.Body)
			return &of[Search]{s}, problem(err)
		})
	huma.Register(api, operation(http.MethodPost, "/broke/search/answer", "answer-search", "Say whether it works now: the next names are let through, or the search is over", http.StatusOK),
		func(ctx context.Context, r *with[SearchAnswer]) (*of[Search], error) {
			s, err := o.AnswerSearch(ctx, r.Body)
			return &of[Search]{s}, problem(err)
		})
	huma.Register(api, operation(http.MethodDelete, "/broke/search", "stop-search", "End a search without a rule", http.StatusNoContent),
		func(ctx context.Context, r *stopRequest) (*nothing, error) {
			return nil, problem(o.StopSearch(ctx, r.Device))
		})
}

type cachedRequest struct {
	Name string `query:"name" required:"true" doc:"The domain name."`
}

type flushRequest struct {
	Name string `query:"name" doc:"The domain name; without it, all names."`
}

func registerEvidence(api huma.API, o *Options) {
	huma.Register(api, operation(http.MethodPost, "/evidence/key", "rotate-key", "Have another key sign the sealed log from here on, vouched for by the one before", http.StatusOK),
		func(ctx context.Context, _ *nothing) (*of[SealKey], error) {
			k, err := o.RotateKey(ctx)
			return &of[SealKey]{k}, problem(err)
		})
	huma.Register(api, operation(http.MethodPost, "/destinations/ask", "ask-destinations", "Ask the upstreams where names of the catalogue lead that devices asked for; no lookup of a device's", http.StatusOK),
		func(ctx context.Context, _ *nothing) (*of[DestinationsAsked], error) {
			d, err := o.AskDestinations(ctx)
			return &of[DestinationsAsked]{d}, problem(err)
		})
	huma.Register(api, operation(http.MethodPost, "/experiments", "plan-experiment", "Write the plan of an experiment into the ledger", http.StatusCreated),
		func(ctx context.Context, r *with[NewExperiment]) (*of[ExperimentLine], error) {
			l, err := o.PlanExperiment(ctx, r.Body)
			return &of[ExperimentLine]{l}, problem(err)
		})
	huma.Register(api, operation(http.MethodPost, "/experiments/step", "step-experiment", "Begin an experiment, mark what was done, end it, or give it up", http.StatusCreated),
		func(ctx context.Context, r *with[ExperimentStep]) (*of[ExperimentLine], error) {
			l, err := o.StepExperiment(ctx, r.Body)
			return &of[ExperimentLine]{l}, problem(err)
		})
}

func registerCache(api huma.API, o *Options) {
	show := operation(http.MethodGet, "/cache", "get-cached", "What is kept of upstreams' answers for a name", http.StatusOK)
	show.Errors = []int{http.StatusUnprocessableEntity}
	huma.Register(api, show, func(_ context.Context, r *cachedRequest) (*of[[]CachedAnswer], error) {
		all, err := o.Cached(r.Name)
		return &of[[]CachedAnswer]{all}, problem(err)
	})
	huma.Register(api, operation(http.MethodDelete, "/cache", "flush-cache", "Forget what is kept of a name, or of all", http.StatusOK),
		func(_ context.Context, r *flushRequest) (*of[Flushed], error) {
			f, err := o.FlushCache(r.Name)
			return &of[Flushed]{f}, problem(err)
		})
	huma.Register(api, operation(http.MethodGet, "/cache/stats", "get-cache-stats", "How full the cache is, and what it did", http.StatusOK),
		func(context.Context, *nothing) (*of[CacheStats], error) { return &of[CacheStats]{o.CacheStats()}, nil })
}

// Package web is the API of a running server: HTTP and JSON below /api/v1, as its
// OpenAPI document says. It knows nothing of how the server works; it is given a
// function for each operation. Commands are its clients.
//
// Times are RFC 3339 in UTC, errors are those of RFC 9457.
package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"telltale/querylog"
	"telltale/web/access"
)

// Prefix is what the path of every operation begins with.
const Prefix = "/api/v1"

// Options are the functions that answer. One that is nil is not to be asked.
type Options struct {
	Reading   Reading // of the log
	NoReading bool    // this program has no operations of it

	Status   func() Status
	Health   func(context.Context) (Health, error)
	Findings func(ctx context.Context, probe bool) []Finding

	MarkNetwork func(NetworkFindings) error

	Settings       func() (s AllSettings, version string)
	ChangeSettings func(ctx context.Context, c SettingsChange, version string) (out SettingsChanged, now string, err error) // "": whatever version the overlay is of

	Lists       func() []List
	ListDiff    func(name string, held bool) (Diff, error)
	AcceptList  func(name string) error
	RefreshList func(ctx context.Context, names []string, step func(Refreshed)) error
	Subscribe   func(ctx context.Context, s Subscription) (Change, error)
	Unsubscribe func(name string) (Change, error)

	ListMistakes func(name string, limit int) (ListMistakes, error)
	Presets      func() []Preset
	CheckList    func(context.Context, ListText) (CheckedText, error)

	Catalogue       func() Catalogue
	UpdateCatalogue func(context.Context) (CatalogueUpdate, error)
	AcceptCatalogue func() (CatalogueUpdate, error)

	AddRule    func(r Rule, version string) (Change, error) // "": whatever version own.txt is of
	RemoveRule func(r Rule, version string) (Change, error)

	RuleFile       func(file string) (f RuleFile, version string, err error)
	RuleFiles      func() []RuleFileInfo
	PutRules       func(file, version, text string, keepBad bool) (f RuleFile, now string, err error) // version "*": any
	RemoveRuleLine func(file, version string, line int) (f RuleFile, now string, err error)
	PreviewRules   func(ctx context.Context, file, text string) (RulePreview, error)

	Upstreams func() []Upstream

	Cached     func(name string) ([]CachedAnswer, error)
	FlushCache func(name string) (Flushed, error) // "": of all names
	CacheStats func() CacheStats

	RotateKey func(context.Context) (SealKey, error) // that signs the sealed log

	PlanExperiment func(context.Context, NewExperiment) (ExperimentLine, error)
	StepExperiment func(context.Context, ExperimentStep) (ExperimentLine, error)

	Devices        func(context.Context) []Device
	History        func(ctx context.Context, device string) (History, error)
	Corrections    func() []Correction
	Correct        func(NewCorrection) (Correction, error)
	UndoCorrection func(id uint64) (Correction, error) // 0: the last
	Forget         func(ctx context.Context, f Forget) (Forgotten, error)
	Bypass         func(ctx context.Context) (Bypass, error)

	Broke        func(ctx context.Context, device string, seconds int64) (Breakage, error)
	BeginSearch  func(context.Context, NewSearch) (Search, error)
	AnswerSearch func(context.Context, SearchAnswer) (Search, error)
	StopSearch   func(ctx context.Context, device string) error

	Explain func(ctx context.Context, q Question) (Explanation, error)
	Query   func(ctx context.Context, q Lookup) (Resolution, error)

	AskDestinations func(context.Context) (DestinationsAsked, error)

	Temporary func() []Temporary // that are in force
	Pause     func(Pause) (Temporary, error)
	Resume    func(Resume) (Resumed, error)
	FlushLog  func()

	Access   *access.Store                                            // who may ask from the network
	Identity func(ctx context.Context, device string) (string, error) // of a device, by any word for it
	LinkURLs func(secret string) []string                             // by which a browser opens a link of Access
	Report   func(kind, subject, detail string)                       // writes a line of the ledger

	Import func(ctx context.Context, b *querylog.ImportBatch) (querylog.Imported, error)
}

// ErrNotFound marks errors about what is not there, ErrInvalid errors about what
// was asked, ErrForbidden errors about what the caller may not do or see. ErrNotInForce means that it was done in
// part, ErrConflict, and all others, that it could not be done.
var (
	ErrNotFound    = errors.New("not found")
	ErrInvalid     = errors.New("not valid")
	ErrForbidden   = errors.New("not allowed")
	ErrConflict    = errors.New("not possible as things are")
	ErrUnavailable = errors.New("not now") // the log cannot be read, or too many read it
	ErrNotInForce  = errors.New("written, but not in force")
)

// marked is an error with one of the marks, which its text does not show.
type marked struct {
	error
	mark error
}

func (m marked) Unwrap() []error { return []error{m.error, m.mark} }

// NotFound marks an error with ErrNotFound.
func NotFound(err error) error { return marked{err, ErrNotFound} }

// Invalid marks an error with ErrInvalid.
func Invalid(err error) error { return marked{err, ErrInvalid} }

// Forbidden marks an error with ErrForbidden.
func Forbidden(err error) error { return marked{err, ErrForbidden} }

// Conflict marks an error with ErrConflict.
func Conflict(err error) error { return marked{err, ErrConflict} }

// Unavailable marks an error with ErrUnavailable.
func Unavailable(err error) error { return marked{err, ErrUnavailable} }

// NotInForce marks an error with ErrNotInForce: what was asked for is written, so it is a change for the ledger.
func NotInForce(err error) error { return marked{err, ErrNotInForce} }

// IsMarked reports whether an error says itself how a client gets it.
func IsMarked(err error) bool {
	var as huma.StatusError
	return errors.As(err, &as) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrForbidden) || errors.Is(err, ErrConflict) || errors.Is(err, ErrUnavailable)
}

// problem returns an error as the client gets it (RFC 9457).
func problem(err error) huma.StatusError {
	var as huma.StatusError
	if p := extendedProblem(err); p != nil {
		return p
	}
	switch {
	case errors.As(err, &as):
		return as
	case errors.Is(err, ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, ErrForbidden):
		return huma.Error403Forbidden(err.Error())
	case errors.Is(err, ErrInvalid):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, ErrUnavailable):
		return huma.Error503ServiceUnavailable(err.Error())
	}
	return huma.Error409Conflict(err.Error())
}

// Handler answers requests of the API.
func Handler(o Options) http.Handler {
	if o.Access == nil {
		o.Access = access.Open("", access.Options{}) // nobody's, and nothing is kept
	}
	if o.Identity == nil {
		o.Identity = func(_ context.Context, device string) (string, error) {
			return "", NotFound(fmt.Errorf("no device %q is known", device))
		}
	}
	mux := http.NewServeMux()
	register(humago.New(mux, document()), &o)
	none := func(w http.ResponseWriter, r *http.Request) { refuseOperation(mux, w, r) }
	mux.HandleFunc(Prefix, none)
	mux.HandleFunc(Prefix+"/", none)
	return mux
}

// refuseOperation answers a request that no operation of mux is for.
func refuseOperation(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := mux.Handler(&other); strings.HasPrefix(pattern, method+" ") || method == http.MethodHead && strings.HasPrefix(pattern, http.MethodGet+" ") {
			allowed = append(allowed, method)
		}
	}
	if allowed == nil {
		refuse(w, http.StatusNotFound, "there is no such operation")
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	refuse(w, http.StatusMethodNotAllowed, "the methods of this operation are "+w.Header().Get("Allow"))
}

// SharedHandler is a Handler that is made when the first request comes: its schemas take
// 2 MB, which a server that nobody asks is without. All who serve the API share one.
func SharedHandler(options func() Options) http.Handler {
	made := sync.OnceValue(func() http.Handler { return Handler(options()) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { made().ServeHTTP(w, r) })
}

// document describes the API as a whole. There is no page of documentation: it
// would load scripts of another site.
func document() huma.Config {
	c := huma.DefaultConfig("Telltale", "1")
	c.Info.Description = "What a running Telltale knows and does. It answers on its control socket, for its own user alone, and where web.listen is set to whoever logs in or has a token."
	c.Info.License = nil
	c.OpenAPIPath = Prefix + "/openapi"
	c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", nil
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Components.Schemas.RegisterTypeAlias(typeOf[querylog.Time](), typeOf[time.Time]())
	return c
}

// schemaName names the schema of a type. Those of packages of evidence and of the catalogue have
// the package's name in front, since several have a Device or a Report.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	_, pkg, _ := strings.Cut(t.PkgPath(), "/")
	if in := path.Base(t.PkgPath()); t.Name() != "" && (strings.HasPrefix(pkg, "evidence") || pkg == "blocklists/catalog") {
		return strings.ToUpper(in[:1]) + in[1:] + name
	}
	return name
}

package web

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Files of the user's own rules, as an editor sees them: each text has a version (ETag), and
// whoever changes one says which version is meant (If-Match), so that two who change the same
// file lose nothing.

// A RuleFile is a file of the user's own, line by line.
type RuleFile struct {
	File     string     `json:"file" doc:"As the parameter file takes it: own.txt, groups/NAME.txt, or another file of lists.dir."`
	Path     string     `json:"path"`
	List     string     `json:"list" doc:"What the list is called."`
	Own      bool       `json:"own" doc:"Its rules go before those of all lists."`
	Group    string     `json:"group,omitempty" doc:"For whose devices alone they hold."`
	Text     string     `json:"text"`
	Lines    []RuleLine `json:"lines"`
	BadLines int        `json:"bad_lines" doc:"Lines that are no rules, though they were meant as some."`
}

// A RuleLine is one line of a file.
type RuleLine struct {
	Line    int        `json:"line" doc:"From 1 on."`
	Text    string     `json:"text"`
	Comment string     `json:"comment,omitempty" doc:"What it says for people."`
	Until   *time.Time `json:"until,omitempty" doc:"When its rules end."`
	Ended   bool       `json:"ended,omitempty" doc:"They have."`
	Rules   []LineRule `json:"rules,omitempty" doc:"What it does. None of a comment."`
	Bad     []string   `json:"bad,omitempty" doc:"What is wrong with it: that has no effect."`
}

// A LineRule is what a line does.
type LineRule struct {
	Does    string   `json:"does" doc:"block, allow, answer, known (it attributes alone), cancel ($badfilter) or no-rewrite."`
	Match   string   `json:"match" doc:"subtree, exact, below, pattern, address or server."`
	Name    string   `json:"name,omitempty" doc:"The domain name; of a pattern, the pattern."`
	Clients []string `json:"clients,omitempty" doc:"For whom alone it holds; ~ before those for whom it does not."`
	Tags    []string `json:"tags,omitempty"`
	Types   []string `json:"types,omitempty" doc:"For which record types alone; ~ before those for which it does not."`
}

// A RuleFileInfo is a file of the user's own.
type RuleFileInfo struct {
	File     string `json:"file"`
	Path     string `json:"path"`
	List     string `json:"list"`
	Own      bool   `json:"own" doc:"Its rules go before those of all lists."`
	Group    string `json:"group,omitempty" doc:"For whose devices alone they hold."`
	Rules    int    `json:"rules" doc:"In force."`
	BadLines int    `json:"bad_lines"`
}

// A RuleText is a whole file's text.
type RuleText struct {
	Text string `json:"text" maxLength:"1048576"`
}

// A RulePreview says what a text in the place of a file's would change.
type RulePreview struct {
	File     string          `json:"file"`
	From     time.Time       `json:"from" doc:"The lookups of the log from then on were decided anew."`
	Until    time.Time       `json:"until"`
	Changed  []PreviewedName `json:"changed" doc:"Names that would be decided otherwise, those asked for most first."`
	Names    int             `json:"names" doc:"Such names in all."`
	Looked   int             `json:"looked" doc:"Rows of the log that were decided anew."`
	LeftOut  string          `json:"left_out,omitempty" doc:"What was not looked at, and why."`
	BadLines []BadLine       `json:"bad" doc:"Lines of the text that are no rules."`
}

// A PreviewedName is a name that would be decided otherwise.
type PreviewedName struct {
	Name    string            `json:"name"`
	Now     string            `json:"now" doc:"pass, allow, block, observe or answer."`
	Then    string            `json:"then"`
	Lookups int64             `json:"lookups"`
	Devices []PreviewedDevice `json:"devices" doc:"Who asked for it."`
}

// A PreviewedDevice is who asked for a name.
type PreviewedDevice struct {
	Device  string `json:"device"`
	Name    string `json:"name"`
	Lookups int64  `json:"lookups"`
}

// A StaleError says that what is to be changed is not what the client took it for.
type StaleError struct {
	Err  error
	ETag string // of what is there now
	Text string // of it
}

func (e *StaleError) Error() string { return e.Err.Error() }

// A LinesError says which lines of a text are no rules.
type LinesError struct {
	Err   error
	Lines []BadLine
}

func (e *LinesError) Error() string { return e.Err.Error() }

// A KeysError says which settings are wrong.
type KeysError struct {
	Err  error
	Keys []KeyMistake
}

func (e *KeysError) Error() string { return e.Err.Error() }

// A KeyMistake is what is wrong with a setting.
type KeyMistake struct {
	Key   string `json:"key,omitempty"`
	Where string `json:"where,omitempty" doc:"A file with its line, a variable or a flag."`
	Says  string `json:"says"`
}

// A Problem is an error as RFC 9457 has it, with what else is to be known of it.
type Problem struct {
	huma.ErrorModel
	ETag     string       `json:"etag,omitempty" doc:"Of 412: what If-Match is to say now."`
	Text     *string      `json:"text,omitempty" doc:"Of 412: what is there now."`
	Mistakes []BadLine    `json:"mistakes,omitempty" doc:"Of 422: the lines that are no rules."`
	Settings []KeyMistake `json:"settings,omitempty" doc:"Of 422: what is wrong with settings."`
}

// extendedProblem returns an error that has more to say than its text; nil for others.
func extendedProblem(err error) huma.StatusError {
	var stale *StaleError
	var lines *LinesError
	var keys *KeysError
	p := &Problem{ErrorModel: huma.ErrorModel{Detail: err.Error()}}
	switch {
	case errors.As(err, &stale):
		p.Status, p.ETag, p.Text = http.StatusPreconditionFailed, stale.ETag, &stale.Text
	case errors.As(err, &lines):
		p.Status, p.Mistakes = http.StatusUnprocessableEntity, lines.Lines
	case errors.As(err, &keys):
		p.Status, p.Settings = http.StatusUnprocessableEntity, keys.Keys
	default:
		return nil
	}
	p.Title = http.StatusText(p.Status)
	return p
}

// version returns the one ETag of If-Match; "*" for any, and "" for none.
func version(ifMatch string) (string, error) {
	v := strings.TrimSpace(ifMatch)
	if v == "*" || v == "" {
		return v, nil
	}
	if len(v) < 3 || v[0] != '"' || v[len(v)-1] != '"' || strings.ContainsAny(v[1:len(v)-1], `",`) {
		return "", huma.Error422UnprocessableEntity(`If-Match is to have one ETag between double quotes, as the answer to GET has it, or *`)
	}
	return v[1 : len(v)-1], nil
}

// neededVersion is version where a change needs one.
func neededVersion(ifMatch string) (string, error) {
	v, err := version(ifMatch)
	if err == nil && v == "" {
		err = huma.NewError(http.StatusPreconditionRequired, `say in If-Match which version is meant: the ETag of the answer to GET, between double quotes, or * for any`)
	}
	return v, err
}

type ruleRequest struct {
	Name   string `query:"name" required:"true" doc:"The domain name."`
	Device string `query:"device" doc:"The device whose rule it is; without it, the rule for all."`

	IfMatch string `header:"If-Match" doc:"Where the rules are to be removed from one version of own.txt alone: its ETag."`
}

type ruleFileRequest struct {
	File string `query:"file" default:"own.txt" maxLength:"300" doc:"The file: own.txt, groups/NAME.txt, or another file of lists.dir."`
}

type ruleTextRequest struct {
	File    string `query:"file" default:"own.txt" maxLength:"300" doc:"The file."`
	Keep    bool   `query:"keep_bad_lines" doc:"Write it although it has lines that are no rules."`
	IfMatch string `header:"If-Match" doc:"The ETag of the text that this one takes the place of, or * for any."`
	Body    RuleText
}

type ruleLineRequest struct {
	Line    int    `path:"line" minimum:"1" doc:"The number of the line."`
	File    string `query:"file" default:"own.txt" maxLength:"300" doc:"The file."`
	IfMatch string `header:"If-Match" doc:"The ETag of the text in which it has that number."`
}

type newRuleRequest struct {
	IfMatch string `header:"If-Match" doc:"Where the rule is to be added to one version of own.txt alone: its ETag."`
	Body    Rule
}

type previewRequest struct {
	File string `query:"file" default:"own.txt" maxLength:"300" doc:"The file in whose place the text would be: own.txt or groups/NAME.txt."`
	Body RuleText
}

// ruleTextMost is how large a body with a text of the longest kind may be, each octet escaped.
const ruleTextMost = 7 << 20

func registerRules(api huma.API, o *Options) {
	get := operation(http.MethodGet, "/rules", "get-rules", "A file of the user's own rules, line by line", http.StatusOK)
	get.Errors = []int{http.StatusNotFound, http.StatusConflict}
	add(api, get, func(_ context.Context, r *ruleFileRequest) (tagged[RuleFile], error) {
		f, tag, err := o.RuleFile(r.File)
		return tagged[RuleFile]{tag, f}, err
	})
	add(api, operation(http.MethodGet, "/rules/files", "get-rule-files", "The files of the user's own rules", http.StatusOK),
		func(context.Context, *nothing) ([]RuleFileInfo, error) { return o.RuleFiles(), nil })
	add(api, changing(operation(http.MethodPost, "/rules", "add-rule", "Write a rule of the user's own; it is in force when this returns", http.StatusCreated)),
		func(_ context.Context, r *newRuleRequest) (Change, error) {
			v, err := version(r.IfMatch)
			if err != nil {
				return Change{}, err
			}
			return o.AddRule(r.Body, v)
		})
	add(api, changing(operation(http.MethodDelete, "/rules", "remove-rule", "Remove the user's own rules for a name; they are out of force when this returns", http.StatusOK)),
		func(_ context.Context, r *ruleRequest) (Change, error) {
			v, err := version(r.IfMatch)
			if err != nil {
				return Change{}, err
			}
			return o.RemoveRule(Rule{Name: r.Name, Device: r.Device}, v)
		})
	put := changing(operation(http.MethodPut, "/rules", "put-rules", "Put a text in the place of a file's; it is in force when this returns", http.StatusOK))
	put.MaxBodyBytes = ruleTextMost
	add(api, put, func(_ context.Context, r *ruleTextRequest) (tagged[RuleFile], error) {
		v, err := neededVersion(r.IfMatch)
		if err != nil {
			return tagged[RuleFile]{}, err
		}
		f, tag, err := o.PutRules(r.File, v, r.Body.Text, r.Keep)
		return tagged[RuleFile]{tag, f}, err
	})
	add(api, changing(operation(http.MethodDelete, "/rules/{line}", "remove-rule-line", "Remove a line with rules; they are out of force when this returns", http.StatusOK)),
		func(_ context.Context, r *ruleLineRequest) (tagged[RuleFile], error) {
			v, err := neededVersion(r.IfMatch)
			if err != nil {
				return tagged[RuleFile]{}, err
			}
			f, tag, err := o.RemoveRuleLine(r.File, v, r.Line)
			return tagged[RuleFile]{tag, f}, err
		})
	preview := operation(http.MethodPost, "/rules/preview", "preview-rules", "Which names of the last day would be decided otherwise with a text in the place of a file's; nothing is written", http.StatusOK)
	preview.MaxBodyBytes = ruleTextMost
	add(api, preview, func(ctx context.Context, r *previewRequest) (RulePreview, error) {
		return o.PreviewRules(ctx, r.File, r.Body.Text)
	})
}

// changing adds to an operation the errors of one that changes what has versions.
func changing(op huma.Operation) huma.Operation {
	op.Errors = append(op.Errors, http.StatusPreconditionFailed, http.StatusPreconditionRequired)
	return op
}

package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// ListMistakes are the bad lines of a list.
type ListMistakes struct {
	Name  string    `json:"name"`
	Total int       `json:"total" doc:"How many there are."`
	Bad   []BadLine `json:"bad" doc:"The first of them."`
}

// A ListText is a text that is to be looked over as a list.
type ListText struct {
	Text   string `json:"text" maxLength:"1048576"`
	Own    bool   `json:"own,omitempty" doc:"As own.txt is read, which may answer with addresses."`
	Format string `json:"format,omitempty" enum:"auto,domains,hosts,wildcard,adblock,dnsmasq,unbound,rpz,regex" default:"auto"`
	Match  string `json:"match,omitempty" enum:"subtree,exact" default:"subtree" doc:"What a plain domain matches."`
}

// A CheckedText is what a text is as a list.
type CheckedText struct {
	Rules    int            `json:"rules"`
	Forms    map[string]int `json:"forms" doc:"Rules by the form they are written in."`
	Missing  int            `json:"missing,omitempty" doc:"Entries that it says it has, and has not."`
	BadLines int            `json:"bad_lines" doc:"How many there are."`
	Bad      []BadLine      `json:"bad" doc:"The first of them."`
	Findings []RuleFinding  `json:"findings" doc:"The first 1,000."`
	Seen     map[string]int `json:"seen" doc:"How many there are, by kind."`
}

// A RuleFinding is a rule that its author may want to look at.
type RuleFinding struct {
	Line int    `json:"line"`
	Text string `json:"text"`
	Kind string `json:"kind" doc:"redundant, shadowed, dead exception or risky."`
	Why  string `json:"why"`
}

// A Preset is a list of others that can be subscribed to by name.
type Preset struct {
	Name  string `json:"name"`
	URL   string `json:"url"`
	Title string `json:"title"`
}

type mistakesRequest struct {
	Name  string `query:"name" required:"true" doc:"The list."`
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"The first so many."`
}

func registerListTexts(api huma.API, o *Options) {
	mistakes := operation(http.MethodGet, "/lists/mistakes", "get-list-mistakes", "The lines of a list that are no rules, and what is wrong with each", http.StatusOK)
	mistakes.Errors = []int{http.StatusNotFound, http.StatusConflict}
	add(api, mistakes, func(_ context.Context, r *mistakesRequest) (ListMistakes, error) {
		return o.ListMistakes(r.Name, r.Limit)
	})
	add(api, operation(http.MethodGet, "/lists/presets", "get-presets", "Lists of others that can be subscribed to by name", http.StatusOK),
		func(context.Context, *nothing) ([]Preset, error) { return o.Presets(), nil })
	check := operation(http.MethodPost, "/lists/check", "check-lists", "Look a list's text over: bad lines, redundant rules, risky rules; nothing is put in force", http.StatusOK)
	check.MaxBodyBytes = ruleTextMost
	add(api, check, func(ctx context.Context, r *with[ListText]) (CheckedText, error) {
		return o.CheckList(ctx, r.Body)
	})
}

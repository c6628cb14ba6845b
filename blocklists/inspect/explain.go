// Package inspect says for people what lists are and do: why a name is decided as
// it is, and what is odd about the rules of a file. Nothing of it is on a query's way.
package inspect

import (
	"slices"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/dnswire"
)

// An Explanation says why a name is decided as it is.
type Explanation struct {
	blocklists.Consideration

	Name    string
	Type    string
	Why     string            // one sentence: why the decider won
	Decider *blocklists.Match // in Matches; nil where nothing decided
	Attr    *blocklists.Match // in Matches: the rule, or a rule of the list, that attributes; nil for none
}

// Explain decides the question by the policy in force and says why, with what the
// lists say that are off. It reads those as a whole, so it may take a second.
func Explain(s *blocklists.Store, name *dnswire.Name, qtype uint16, g blocklists.Group) Explanation {
	e := ExplainPolicy(s.Current(), name, qtype, g)
	e.Matches = append(e.Matches, matchesOff(s.Off(), name, qtype)...)
	e.point()
	return e
}

// ExplainPolicy decides the question by a policy and says why.
func ExplainPolicy(p *blocklists.Policy, name *dnswire.Name, qtype uint16, g blocklists.Group) Explanation {
	e := Explanation{Consideration: p.Consider(name, qtype, g), Name: name.String(), Type: dnswire.TypeString(qtype)}
	e.Why = why(&e.Consideration)
	if p == nil {
		e.Why = "no lists are loaded"
	}
	e.point()
	return e
}

// point finds the rules that decide and attribute among the matches.
func (e *Explanation) point() {
	e.Decider, e.Attr = nil, nil
	attr := e.Verdict.Attr
	if attr == 0 && e.Verdict.Level == blocklists.ByList {
		attr = e.Verdict.Rule
	}
	for i := range e.Matches {
		m := &e.Matches[i]
		switch {
		case m.ID == 0:
			continue
		case m.ID == e.Verdict.Rule:
			e.Decider = m
		}
		if m.ID == attr {
			e.Attr = m
		}
	}
}

// AnswerBy says that the server answers by itself, by a built-in rule, and how.
// Rules of lists take no part then.
func (e *Explanation) AnswerBy(rule blocklists.RuleID, how string) {
	e.Verdict = e.Verdict.Policy.DecideSpecial(e.Verdict, rule)
	for i := range e.Matches {
		if m := &e.Matches[i]; m.Enforced {
			m.Enforced, m.Limit = false, blocklists.AnsweredByServer
		}
	}
	r := e.Verdict.Policy.Rule(rule)
	e.Matches = slices.Insert(e.Matches, 0, blocklists.Match{ID: rule, Rule: r, Kind: blocklists.Shipped, Action: format.Answer, Enforced: true})
	e.Why = "answered by this server itself (" + how + "), whatever lists say: " + r.Text
	e.point()
}

// why says in one sentence why the decider won.
func why(c *blocklists.Consideration) string {
	v := &c.Verdict
	switch {
	case v.Rule == 0 && !slices.ContainsFunc(c.Matches, isInForce):
		if len(c.Matches) > 0 {
			return "no rule that is in force here matches"
		}
		return "no rule matches"
	case v.Rule == 0:
		return "rules match, but none of them blocks or allows"
	}
	return Reason(v, c.Because)
}

// Reason says why the rule of a verdict decided. Because is what Policy.Because says of
// it.
func Reason(v *blocklists.Verdict, because string) string {
	switch v.ObservedBy {
	case blocklists.ByListObserve, blocklists.ByTier:
		return "no enforced rule matches, and the most specific observing one would block"
	case blocklists.ByListPause, blocklists.ByListWindow:
		return "no other list blocks it" + observers[v.ObservedBy] + because
	}
	return reason(v) + observers[v.ObservedBy] + because
}

func isInForce(m blocklists.Match) bool {
	switch m.Limit {
	case blocklists.Cancelled, blocklists.Ended, blocklists.EndUnreadable, blocklists.OtherTypes, blocklists.OtherClients:
		return false
	}
	return true
}

// reason says why a rule of the verdict's class decided.
func reason(v *blocklists.Verdict) string {
	switch v.Class {
	case blocklists.OwnRule:
		return "the user's own rules go before all others, and this is the most specific of them"
	case blocklists.ImportantException:
		return "an important exception goes before all rules but the user's own"
	case blocklists.ImportantBlock:
		return "an important rule goes before exceptions that are not"
	case blocklists.ListException:
		return "its list has an exception for it, and no other list blocks it"
	case blocklists.Exception:
		if !v.Overrode {
			return "an exception matches, and nothing that it would have to win over"
		}
		return "an exception goes before a block"
	}
	return "no exception matches, and this is the most specific block"
}

// observers say what made a verdict Observe, up to what Policy.Because says.
var observers = [...]string{
	blocklists.ByPause:        "; blocking is paused: ",
	blocklists.ByEverything:   "; everything is only observed now",
	blocklists.ByDevice:       "; the device is only observed now",
	blocklists.ByGroup:        "; the device's group is only observed now",
	blocklists.BySchedule:     "; for this device's group lists are ",
	blocklists.ByStreamAnswer: "; the rule only sends clients to TCP, and the question did not come by UDP",
	blocklists.ByDevicePause:  "; blocking is paused: ",
	blocklists.ByGroupPause:   "; blocking is paused: ",
	blocklists.ByListPause:    "; blocking is paused: ",
	blocklists.ByVendorPause:  "; blocking is paused: ",
	blocklists.ByWindow:       "; only observed: ",
	blocklists.ByDeviceWindow: "; only observed: ",
	blocklists.ByGroupWindow:  "; only observed: ",
	blocklists.ByListWindow:   "; only observed: ",
	blocklists.ByVendorWindow: "; only observed: ",
}

// limits say why a rule does not do what its text says, up to the match's Detail.
var limits = [...]string{
	blocklists.ListOutside:       "the list is ",
	blocklists.ListOff:           "the list is off",
	blocklists.ListOffForGroup:   "the list is off for this group",
	blocklists.AnnotatesOnly:     "attributes only: known, not blocked",
	blocklists.CancelsRule:       "removes the rule that is otherwise the same",
	blocklists.RemovesRewrites:   "removes rules that answer in a way of their own",
	blocklists.RewriteRemoved:    "removed by an exception with $dnsrewrite",
	blocklists.NeverBlocks:       "shipped as essential or as an owner, so never blocked",
	blocklists.YieldsToEssential: "yields to an entry that is essential",
	blocklists.LimitedByOwnList:  "does not reach here: its list has a more specific block",
	blocklists.OwnBlocksOnly:     "does not reach here: the exceptions of a subscription hold for its own blocks, unless it has exceptions: true",
	blocklists.SparedByOwnList:   "spared by an exception of its own list",
	blocklists.ListObserves:      "the list only observes",
	blocklists.ListPaused:        "blocks nothing now: ",

	blocklists.ListObservesForGroup: "the list only observes for this group",

	blocklists.TierObserves:     "tier mixed, which only observes unless blocking.tier is mixed",
	blocklists.Cancelled:        "removed by the $badfilter of ",
	blocklists.Ended:            "ended ",
	blocklists.EndUnreadable:    "not in force: its until= cannot be read",
	blocklists.OtherTypes:       "holds for other types than the one asked for",
	blocklists.OtherClients:     "holds for other clients: ",
	blocklists.AnsweredByServer: "the server answers this name by itself",
}

// Limit says why a rule does not do what its text says; "" where it does.
func Limit(m *blocklists.Match) string { return limits[m.Limit] + m.Detail }

package candidate

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Words that names have. A test holds them against the shipped catalogue: each word of
// reporting stands in names that are telemetry far more often than in essential ones.
var (
	reporting = wordSet(`acr adlog ads adserver analytics analytic beacon beacons collect collector crash crashes crashlytics event insight log logger
		logging logs logserver measure measurement metric metrics mistat pixel report reporting reports sentry stat statistics stats
		telemetry trace tracker tracking usage`)
	perhapsReporting = wordSet(`ad bugreport crashreport data dc diag diagnostic diagnostics errorreport ev eventlog events feedback insights logupload monitor
		probe quality sdk survey track upload watch`)
	serving = wordSet(`accounts account assets auth calendar captive cdn chat check clock cloud connect connectivity contacts crl dl dns doh
		docs download downloads files firmware fonts forum fota game games help image images imap img mail maps message messages music news
		ntp oauth ocsp ota photos pkg play podcast portal pool pop radio repo search shop sip smtp sso static store stream stun support sync
		time turn update updates upgrade video voice weather web wiki www`)
)

func wordSet(s string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		set[w] = true
	}
	return set
}

// domainOf returns the registrable domain of a name, and what is left of it.
func domainOf(name string) (domain, rest string) {
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return name, ""
	}
	return domain, strings.TrimSuffix(strings.TrimSuffix(name, domain), ".")
}

// wordsOf are the words of a name: its labels but for the public suffix, without digits,
// and taken apart at hyphens and underscores.
func wordsOf(name string) []string {
	domain, rest := domainOf(name)
	first, _, _ := strings.Cut(domain, ".")
	return strings.FieldsFunc(rest+"."+first, func(r rune) bool { return r < 'a' || r > 'z' })
}

// region reports whether a label may stand for a place or a number: data.mistat.rus, eu-1.
func isRegion(label string) bool {
	for part := range strings.FieldsFuncSeq(label, func(r rune) bool { return r == '-' || r == '_' || '0' <= r && r <= '9' }) {
		if len(part) > 3 && !regions[part] {
			return false
		}
	}
	return true
}

var regions = wordSet(`intl india europe global asia apac emea latam china north south east west central prod staging beta alpha stage`)

// patterns are what a name has in common with siblings: all of it but one label that may
// stand for a place, or but for the number or place at an end of a label.
func patterns(name string) (all []string) {
	domain, rest := domainOf(name)
	if rest == "" {
		return nil
	}
	labels := strings.Split(rest, ".")
	with := func(i int, label string) string {
		out := append([]string{}, labels...)
		out[i] = label
		return strings.Join(out, ".") + "." + domain
	}
	for i, l := range labels {
		if isRegion(l) && len(labels) > 1 {
			all = append(all, with(i, "*"))
		}
		parts := strings.FieldsFunc(l, func(r rune) bool { return r == '-' || r == '_' || '0' <= r && r <= '9' })
		stem := ""
		for _, p := range parts {
			if len(p) > len(stem) {
				stem = p
			}
		}
		if len(stem) >= 3 && !isRegion(stem) {
			all = append(all, with(i, stem+"~"))
		}
	}
	return all
}

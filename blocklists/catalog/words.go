package catalog

import "slices"

// A Purpose is one of the closed vocabulary of purposes, with its meaning for
// people who read reports.
type Purpose struct{ Name, Meaning string }

// Purposes is the vocabulary, in the order of docs/catalogue.md: what is sent
// about the user first, what serves the user last.
var Purposes = []Purpose{
	{"telemetry", "usage data of a system or a vendor's own app, without a closer word"},
	{"analytics", "events of an app or website: what was opened, tapped, read"},
	{"crash", "crash and error reports"},
	{"diagnostics", "logs, hardware and performance data"},
	{"ads", "choosing, showing and counting advertisements"},
	{"attribution", "which advertisement led to an installation or purchase"},
	{"acr", "content recognition: what a TV shows, whatever the input"},
	{"experiment", "trials: which users get which variant, and what they did"},
	{"survey", "questions and feedback"},
	{"location", "where the device is"},
	{"social", "widgets of social networks on pages of others"},
	{"suggestions", "suggestions and recommendations that depend on the user"},
	{"voice-assistant", "speech and assistants"},
	{"config", "settings that come from afar, of telemetry among others"},
	{"push", "notifications"},
	{"content", "pictures, video, lists: what the user came for"},
	{"store", "app stores"},
	{"cloud-control", "control of a device through the vendor's cloud"},
	{"account", "signing in"},
	{"activation", "activation and licences"},
	{"consent", "giving and withdrawing consent"},
	{"security", "certificates, signatures of malware, dangerous pages"},
	{"update", "updates of systems, firmware and apps"},
	{"time", "the clock"},
	{"connectivity", "checks whether there is internet"},
	{"canary", "names by whose answer a program decides whether to use its own resolver"},
	{"dns-bypass", "resolvers that a device asks instead of its network's"},
}

// Regions are the values of region= beside the two letters of a country (ISO
// 3166, in lower case; eu too).
var Regions = []string{"intl", "apac", "mea", "africa", "latam", "na", "oceania"}

// isPurpose reports whether s is in the vocabulary.
func isPurpose(s string) bool {
	return slices.ContainsFunc(Purposes, func(p Purpose) bool { return p.Name == s })
}

package catalog

import (
	"slices"
	"strings"
)

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

// readableWords are what a purpose is read off a name by: words of four letters or
// more within a label, shorter ones alone, or where they begin (log-) or end (-log)
// what stands between digits and signs.
var readableWords = map[string]string{
	"telemetry":       "telemetr track stat metric report collect event data beacon log- -log -logs usage analy monitor mon trace insight uba probe count measure",
	"analytics":       "tongji analy track stat metric event log- -log -logs report collect data insight pixel click matomo sensors beacon count measure visit funnel behavio gtm -gtm tag tags rum telemetr",
	"crash":           "crash sentry bugly bugsnag bug bugs bugreport error err err- exception anr dump watson",
	"diagnostics":     "diag log- -log -logs perf monitor mon feedback trace apm -apm rum report health speed quality stat metric debug upload insight",
	"ads":             "ad ads ads- -ads adv adx ssp dsp rtb advert adserv adsdk adlog adword adnet adunion promo sponsor banner admob splash bidd doubleclick adtrack adevent adreq adinstant adaggreg madx hiad",
	"attribution":     "attrib install conversion referr campaign track skad impression launch",
	"acr":             "acr acr- -acr fingerprint",
	"experiment":      "exp experiment abtest ab gray test variant",
	"survey":          "survey feedback nps question research intercept customervoice",
	"location":        "location loc geo geo- gps gps- lbs position gnss agps supl find",
	"social":          "social share like widget",
	"suggestions":     "suggest recommend rec reco feed discover search",
	"voice-assistant": "voice speech assistant asr tts nlp alexa bixby siri xiaoai ai",
	"config":          "config conf cfg -cfg setting switch control remote policy param feature flag regist resolver",
	"push":            "push notif mqtt msg message messag notice xmpp tuisong",
	"content":         "content cdn img image video static media pic download music theme news browser search weather hbbtv map maps tiles game album gallery wallpaper sticker storage calculator calendar launcher sidebar smartcard lockcard live stream rtmp dvb -epg radio fm voip bbs sms ime invoice zhuti huangye",
	"store":           "store market app apps shop",
	"cloud-control":   "cloud iot mqtt control device api smarthome",
	"account":         "account login auth sso passport id user sign profile pay payment -pay",
	"activation":      "activ licen register reg",
	"consent":         "consent privacy gdpr cmp optout terms",
	"security":        "sec security safe virus protect cert ocsp crl -crl trust",
	"update":          "update upgrade ota -ota fota firmware fw patch download",
	"time":            "time ntp clock",
	"connectivity":    "connect conn captive detect network check wifi portal",
	"dns-bypass":      "dns doh dot",
}

// notReadable are words that begin or end like those above and mean something else.
var notReadable = strings.Fields("login logout logo logos logitech logic blog catalog dialog apple appleid")

// readable reports whether a purpose can be read in a name.
func readable(name, purpose string) bool {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r < 'a' || r > 'z' })
	for word := range strings.FieldsSeq(readableWords[purpose]) {
		begins, isBeginning := strings.CutSuffix(word, "-")
		ends, isEnd := strings.CutPrefix(word, "-")
		for _, part := range parts {
			switch {
			case part == word:
				return true
			case slices.Contains(notReadable, part):
			case isBeginning && strings.HasPrefix(part, begins),
				isEnd && strings.HasSuffix(part, ends),
				!isBeginning && !isEnd && len(word) > 3 && strings.Contains(part, word):
				return true
			}
		}
	}
	return false
}

// Regions are the values of region= beside the two letters of a country (ISO
// 3166, in lower case; eu too).
var Regions = []string{"intl", "apac", "mea", "africa", "latam", "na", "oceania"}

// countries are the codes of ISO 3166, and the European Union's.
var countries = strings.Fields(`
ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bl bm bn bo bq br bs bt bv bw by bz ca cc cd
cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg eh er es et fi fj fk fm fo fr ga gb gd ge gf
gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn
kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mf mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na
nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si
sj sk sl sm sn so sr ss st sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug um us uy uz va vc ve vg vi
vn vu wf ws ye yt za zm zw eu`)

// countryNames are the names of countries in which companies have their seat.
var countryNames = map[string]string{
	"AE": "United Arab Emirates", "AT": "Austria", "AU": "Australia", "BE": "Belgium",
	"BG": "Bulgaria", "BR": "Brazil", "CA": "Canada", "CH": "Switzerland",
	"CN": "China", "CY": "Cyprus", "CZ": "Czechia", "DE": "Germany",
	"DK": "Denmark", "EE": "Estonia", "ES": "Spain", "FI": "Finland",
	"FR": "France", "GB": "United Kingdom", "HK": "Hong Kong", "HU": "Hungary",
	"ID": "Indonesia", "IE": "Ireland", "IL": "Israel", "IN": "India",
	"IT": "Italy", "JP": "Japan", "KR": "South Korea", "KY": "Cayman Islands",
	"LI": "Liechtenstein", "LT": "Lithuania", "LU": "Luxembourg", "LV": "Latvia",
	"MT": "Malta", "MX": "Mexico", "MY": "Malaysia", "NL": "Netherlands", "NO": "Norway",
	"NZ": "New Zealand", "PL": "Poland", "PT": "Portugal", "RO": "Romania",
	"RU": "Russia", "SE": "Sweden", "SG": "Singapore", "SI": "Slovenia",
	"SK": "Slovakia", "TH": "Thailand", "TR": "Türkiye", "TW": "Taiwan",
	"UA": "Ukraine", "US": "United States", "VN": "Vietnam", "ZA": "South Africa",
}

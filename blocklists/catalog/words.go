package catalog

import (
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

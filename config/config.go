// Package config reads Telltale's settings: defaults, then the file, then the
// environment, then flags, the later ones winning. Everything is checked at
// once, and every mistake is reported by its key and place. Only the command
// sees a Config; every other package takes an Options of its own.
//
// No setting has names or domains as keys: viper lower-cases keys and splits
// them at dots. What has a name is a list entry with a name in it.
package config

import (
	"net/netip"
	"time"
)

// DefaultFile is read when neither --config nor TELLTALE_CONFIG names a file.
// Where it does not exist the defaults apply.
const DefaultFile = "/etc/telltale/telltale.yaml"

// A Config is every setting, checked. It never changes once loaded. The tag
// `key` is the setting's name in the file; "live" says that a change applies
// without a restart, "flag" that there is a command line flag, "path", "name",
// "domain", "wildcard", "server", "zone", "mac", "id", "url", "center", "minisign", "mqtt", "smtp" and "dnstap" what kind of text it is, and "port N" which
// port an address has that is given without; "secret" is of a URL whose path is in no message. `words` are the only
// values a setting takes.
type Config struct {
	File            string // the file it was read from; "" where there is none
	Overlay         string // the file of what commands subscribe to; it may not be there
	SettingsOverlay string // the file of what commands set; it may not be there
	Policy          string // the folder of the center's policy that holds here, too; "" for none

	Listen       Listen           `key:"listen"`
	TLS          TLS              `key:"tls"`
	Upstreams    []Upstream       `key:"upstreams,live,flag"` // empty: the system's resolvers
	Strategy     string           `key:"upstream_strategy,live" words:"in-order fastest parallel"`
	Hedging      bool             `key:"upstream_hedging,live"`   // what an upstream is late for goes to another one, too
	Bootstrap    []netip.AddrPort `key:"upstream_bootstrap,live"` // asked for the names of upstreams alone
	Forward      []Forward        `key:"forward,live"`
	Lists        Lists            `key:"lists"`
	Catalog      Catalog          `key:"catalog"`
	Data         Data             `key:"data"`
	Cache        Cache            `key:"cache"`
	Blocking     Blocking         `key:"blocking"`
	Access       Access           `key:"access"`
	Rebind       Rebind           `key:"rebind"`
	Special      Special          `key:"special"`
	Local        Local            `key:"local"`
	DNS64        DNS64            `key:"dns64"`
	Limits       Limits           `key:"limits"`
	Log          Log              `key:"log"`
	Evidence     Evidence         `key:"evidence"`
	Reports      []Report         `key:"reports,live"`
	Destinations Destinations     `key:"destinations"`
	Alerts       Alerts           `key:"alerts"`
	Metrics      Metrics          `key:"metrics"`
	Dnstap       Dnstap           `key:"dnstap"`
	Messages     Messages         `key:"messages"`
	Identity     Identity         `key:"identity"`
	Devices      []Device         `key:"devices,live"`
	Groups       []Group          `key:"groups,live"`
	Control      Control          `key:"control"`
	Web          Web              `key:"web"`
	Fleet        Fleet            `key:"fleet"`
	Center       Center           `key:"center"`
	Node         string           `key:"node,name,flag"` // empty: the host's name

	LastGood time.Time // when the settings in use were kept, because today's have mistakes; zero where they have none

	given  map[string]string // where each key was set; a key not in it has its default
	raw    map[string]any    // what was written there
	origin origin
}

// An origin is the texts that a Config was read from, and where in them each key
// is.
type origin struct {
	building
	overlay, settings []byte // nil: not there
	policy            []byte // what the center shares
	where             map[string]string
}

// Listen is where questions come in.
type Listen struct {
	DNS []netip.AddrPort `key:"dns,flag"`     // port 0: one that is free
	TLS []netip.AddrPort `key:"tls,port 853"` // the same, and for the next two

	QUIC           []netip.AddrPort `key:"quic,port 853"`
	HTTPS          []netip.AddrPort `key:"https,port 443"`
	HTTP           []netip.AddrPort `key:"http,port 80"` // DNS over HTTPS in clear, for TrustedProxies
	TrustedProxies []netip.Prefix   `key:"trusted_proxies"`
	ProxyProtocol  []netip.Prefix   `key:"proxy_protocol"` // whose connections begin with a header of that
}

// TLS is how this server shows to clients of encrypted transports who it is.
type TLS struct {
	Certificates []Certificate `key:"certificates"`
	Authority    string        `key:"authority" words:"none local"`
	Names        []string      `key:"names,server"` // and addresses, by which clients know this server; *. in front: names one below
	ACME         ACME          `key:"acme"`
}

// ACME is how a certificate is had of an authority on the Internet.
type ACME struct {
	Directory     string           `key:"directory,url"` // "": none is
	AcceptTerms   bool             `key:"accept_terms"`
	Names         []string         `key:"names,wildcard"`
	Email         string           `key:"email"`
	UpdateServers []netip.AddrPort `key:"update_servers"`
	UpdateKey     string           `key:"update_key,path"`
	Hook          string           `key:"hook,path"`
	AcmeDNS       string           `key:"acme_dns,path"`
	Wait          time.Duration    `key:"wait"`
}

// LocalAuthority is what TLS.Authority says where Telltale makes certificates itself.
const LocalAuthority = "local"

// A Certificate is the files of one.
type Certificate struct {
	Certificate string `key:"certificate,path"`
	Key         string `key:"key,path"`
}

// An Upstream is a resolver that unlisted names are asked of.
type Upstream struct {
	Address   ServerAddress `key:"address"`
	Addresses []netip.Addr  `key:"addresses"`     // where the name in Address is; empty: it is looked up
	Pins      []Pin         `key:"pins"`          // of public keys, one of which must be there; empty: any valid certificate
	Subnet    netip.Prefix  `key:"client_subnet"` // told to it as where clients are; not valid: nothing is
	TrustAD   bool          `key:"trust_ad"`      // its AD bit is passed on to clients that ask for it
}

// A Forward is zones whose names are asked of servers of their own alone, by everybody or
// by the devices and groups it names.
type Forward struct {
	Zones     []string        `key:"zones,zone"`   // domains as in Rebind.Allow, or prefixes; none: all names of Devices and Groups
	Devices   []string        `key:"devices,name"` // names of Config.Devices
	Groups    []string        `key:"groups,name"`  // names of Config.Groups
	Upstreams []ServerAddress `key:"upstreams"`
}

// Lists is where block lists come from.
type Lists struct {
	Dir           string         `key:"dir,path,flag"`
	Settings      []List         `key:"settings,live"`
	Subscriptions []Subscription `key:"subscriptions,live"`
}

// A List is how one list of the directory, or a shipped one, is used.
type List struct {
	Name       string  `key:"name,name"` // the file name without its ending
	Enabled    bool    `key:"enabled"`
	Observe    Observe `key:"observe"`
	Mode       string  `key:"mode" words:"null nxdomain nodata refused custom"` // "": Blocking.Mode
	Match      string  `key:"match" words:"subtree exact"`                      // "": subtree
	Format     string  `key:"format" words:"auto domains hosts wildcard adblock dnsmasq unbound rpz regex"`
	Answers    bool    `key:"answers"`                      // its lines may answer with addresses of their own
	Suffixes   bool    `key:"suffixes"`                     // its lines may block public suffixes, or except them
	Exceptions bool    `key:"exceptions"`                   // of a subscription: its exceptions hold for other lists' blocks, too
	Tier       string  `key:"tier" words:"telemetry mixed"` // "": Blocking.Tier
	Order      int     `key:"order"`                        // the lower first where rules tie

	Schedule Schedule `key:"schedule"` // when it is in force
}

// A Subscription is a list that is fetched by URL.
type Subscription struct {
	List       `key:",inline"`
	URL        string        `key:"url,url"`
	Refresh    time.Duration `key:"refresh"`
	Annotation Annotation    `key:"annotation"`
}

// An Annotation holds for every line of a list that has none of its own.
type Annotation struct {
	Vendor  string `key:"vendor"`
	Product string `key:"product"`
	Purpose string `key:"purpose"`
	Tier    string `key:"tier" words:"telemetry mixed essential"`
	Region  string `key:"region"`
	Source  string `key:"source"`
	Breaks  string `key:"breaks"`
}

// Catalog is where later editions of the catalogue, the shipped lists, come from.
type Catalog struct {
	URL string `key:"url,url,live"`      // of the archive; "" for none: the program's own edition
	Key string `key:"key,minisign,live"` // the public key that it is signed by
}

// Data is where the query log, the keys, the lock and the control socket live.
type Data struct {
	Dir string `key:"dir,path,flag"`
}

// Cache is what could be made again: files in Dir, answers in memory.
type Cache struct {
	Dir  string `key:"dir,path,flag"` // downloads and compiled lists; unless set, "cache" in Data.Dir
	Size Bytes  `key:"size"`          // of the answers kept in memory; 0: none

	Keep        bool          `key:"keep"`              // answers are kept in Dir for the next start
	Stale       time.Duration `key:"stale,live"`        // how long after its time an answer is served where upstreams give none; 0: not at all
	Prefetch    bool          `key:"prefetch,live"`     // popular names are asked for again before their time is over
	MinTTL      time.Duration `key:"min_ttl,live"`      // bounds of the TTLs of answers; whole seconds, 0: none
	MaxTTL      time.Duration `key:"max_ttl,live"`      //
	NegativeTTL time.Duration `key:"negative_ttl,live"` // the most for answers that say that there is nothing
}

// Blocking is how a blocked name is answered.
type Blocking struct {
	Mode    string        `key:"mode,live" words:"null nxdomain nodata refused custom"`
	Custom  []netip.Addr  `key:"custom,live"` // for the mode custom
	TTL     time.Duration `key:"ttl,live"`    // whole seconds
	Tier    string        `key:"tier,live" words:"telemetry mixed"`
	Observe Observe       `key:"observe,live"` // nothing is blocked, all is recorded
}

// Access is who may ask, beside the networks this machine is on.
type Access struct {
	Allow []netip.Prefix `key:"allow,live"`
}

// Rebind is which public names may lead to private addresses.
type Rebind struct {
	Allow []string `key:"allow,domain,live"` // lower case A-labels without trailing dot; "." is all of them
}

// Special says which special names are answered here and not upstream.
type Special struct {
	Test     bool `key:"test,live"`
	Local    bool `key:"local,live"`
	Canaries bool `key:"canaries,live"` // use-application-dns.net, mask.icloud.com, mask-h2.icloud.com
}

// Local is what is answered here beside own.txt: names of the person's own network.
type Local struct {
	Records      []string `key:"records,live"`              // lines as in a zone file
	Hosts        []string `key:"hosts,path,live"`           // hosts files
	DeviceSuffix string   `key:"device_suffix,domain,live"` // the domain in which devices have names; "" for none
}

// DNS64 is whether names without IPv6 addresses get some made of their IPv4 ones.
type DNS64 struct {
	Prefix  string         `key:"prefix,nat64,live"` // "off", "auto", or a prefix
	Exclude []netip.Prefix `key:"exclude,live"`      // IPv6 addresses that count as none
}

// Limits bound what strangers can make us hold.
type Limits struct {
	Waiting        int `key:"waiting"`         // queries waiting for an upstream; more are shed
	TCPConnections int `key:"tcp_connections"` // open at once, of TLS, HTTPS and QUIC too
	ClientPrefix   int `key:"client_prefix"`   // bits that tell IPv6 clients apart
}

// Log is the query log, which `telltale log` shows.
type Log struct {
	Enabled  bool          `key:"enabled"`
	Listed   time.Duration `key:"listed"`      // how long rows of listed names are kept
	Unlisted time.Duration `key:"unlisted"`    // rows of all other names; 0: only hourly totals
	Totals   time.Duration `key:"totals"`      // hourly totals
	Attempt  time.Duration `key:"attempt_gap"` // the silence that ends an attempt
	Size     Bytes         `key:"size"`        // of the store on disk; the oldest unlisted rows go first
	Seal     bool          `key:"seal"`        // rows of listed names and the ledger are sealed
}

// Evidence is what shows others that the sealed log is unchanged.
type Evidence struct {
	Witness Witness `key:"witness"`
}

// Witness is where signed checkpoints go, so that somebody else has them.
type Witness struct {
	Dir       string        `key:"dir,path"`       // a file in it for each; "": none
	URL       string        `key:"url,url,secret"` // they are posted to it; "": none
	Timestamp string        `key:"timestamp,url"`  // of a time-stamp authority (RFC 3161); "": none
	Every     time.Duration `key:"every"`          // at most one in so long
}

// A Report is one that the server makes by itself, of the day, the week or the month
// before.
type Report struct {
	Name       string     `key:"name,name"`
	When       Recurrence `key:"when"`
	Device     string     `key:"device"` // of one device, by any word for it; "": of all
	Vendor     string     `key:"vendor"` // of one vendor; "": of all
	Format     string     `key:"format" words:"html text json csv md"`
	Pseudonyms bool       `key:"pseudonyms"`
	Dir        string     `key:"dir,path"` // unless set, "reports" in Data.Dir
	Keep       int        `key:"keep"`     // how many files; older ones are removed
}

// Alerts are what the server tells by itself, and whom.
type Alerts struct {
	Tell     []string   `key:"tell,live" words:"first-lookup went-around coverage destination-moved stopped-telemetry new-heartbeat"`    // none: nothing
	AtOnce   []string   `key:"at_once,live" words:"first-lookup went-around coverage destination-moved stopped-telemetry new-heartbeat"` // of Tell; all others wait for Digest
	Digest   Recurrence `key:"digest,live"`
	Coverage int        `key:"coverage,live"` // percent of a day that are to be recorded

	Log     bool         `key:"log,live"` // each goes to the program's messages, at once
	Webhook AlertWebhook `key:"webhook"`
	Ntfy    AlertNtfy    `key:"ntfy"`
	MQTT    AlertMQTT    `key:"mqtt"`
	SMTP    AlertSMTP    `key:"smtp"`
}

// AlertWebhook is a server that alerts are posted to as signed JSON.
type AlertWebhook struct {
	URL    string `key:"url,url,secret,live"` // "": none
	Secret string `key:"secret_file,path,live"`
}

// AlertNtfy is a topic of a server of ntfy.
type AlertNtfy struct {
	URL   string `key:"url,url,secret,live"` // of the topic; "": none
	Token string `key:"token_file,path,live"`
}

// AlertMQTT is a server of MQTT.
type AlertMQTT struct {
	Server    string `key:"server,mqtt,live"` // "": none
	User      string `key:"user,live"`
	Password  string `key:"password_file,path,live"`
	Topic     string `key:"topic,live"`     // below which alerts are published
	Discovery string `key:"discovery,live"` // the prefix by which Home Assistant finds them; "" for none
}

// AlertSMTP is a server that takes mail.
type AlertSMTP struct {
	Server   string   `key:"server,smtp,live"` // "": none
	From     string   `key:"from,live"`
	To       []string `key:"to,live"`
	User     string   `key:"user,live"`
	Password string   `key:"password_file,path,live"`
}

// Destinations is where names of the catalogue lead, and whose databases say whose
// addresses are.
type Destinations struct {
	Nightly    bool     `key:"nightly,live"`         // the names that devices asked for are asked for every night
	ASN        []string `key:"asn,path,live"`        // databases of operators; none of any kind: those that were fetched
	Country    []string `key:"country,path,live"`    // of where addresses are
	Registered []string `key:"registered,path,live"` // of where networks are registered
	Source     string   `key:"source,url,live"`      // below which databases are fetched
	Clouds     []string `key:"clouds,url,live"`      // where operators of clouds publish their ranges
}

// Metrics is what Prometheus asks for.
type Metrics struct {
	Listen  []netip.AddrPort `key:"listen,live,port 9530"` // none: nobody is answered; port 0: one that is free
	Devices bool             `key:"devices,live"`          // devices with a name of the settings are told apart
}

// Dnstap is where messages of clients go as they are answered.
type Dnstap struct {
	To string `key:"to,live,dnstap"` // unix:PATH or tcp://HOST:PORT; "": nowhere
}

// Messages is what Telltale says about itself, on standard error.
type Messages struct {
	Level  string `key:"level,live,flag" words:"debug info warn error"`
	Format string `key:"format,flag" words:"text json"`
}

// Identity is what tells devices apart, beside the neighbour table of this machine.
type Identity struct {
	FindLeases bool        `key:"find_leases,live"` // the files of DHCP servers where they usually are
	Leases     []LeaseFile `key:"leases,live"`

	Forwarders []netip.Prefix `key:"forwarders,live"` // who says whose query it passes on, and is believed

	Announcements bool `key:"announcements,live"` // what devices say to everybody on their link is listened to
	Reverse       bool `key:"reverse,live"`       // the router is asked for names of private addresses

	Makers string `key:"makers,path,live"` // the IEEE's registry of MAC addresses, a file or a directory; "": where it usually is
}

// A LeaseFile is where a DHCP server keeps its leases.
type LeaseFile struct {
	Path string `key:"path,path"`
	Kind string `key:"kind" words:"dnsmasq odhcpd dhcpd kea networkd csv"` // "": it is found out
}

// A Device is something that asks, known by any of its MACs, addresses, prefixes or
// client ids. All addresses of a prefix are the one device.
type Device struct {
	Name      string         `key:"name,name"`
	MACs      []string       `key:"mac,mac"` // lower case with colons
	Addresses []netip.Addr   `key:"address"`
	Prefixes  []netip.Prefix `key:"prefix"`
	ClientIDs []string       `key:"client_id,id"`                                                                                                                                                                     // lower case DNS labels
	Kind      string         `key:"kind" words:"phone tablet computer tv player console speaker camera printer router storage hub light plug vacuum thermostat appliance meter watch reader telephone machine other"` // "": it is guessed
	Group     string         `key:"group,name"`                                                                                                                                                                       // the name of a Group; "" for none
	Tags      []string       `key:"tag,name"`                                                                                                                                                                         // by which groups select it, and rules with $ctag
	Observe   Observe        `key:"observe"`
	Mode      string         `key:"mode" words:"null nxdomain nodata refused custom"` // "": its group's, or Blocking.Mode
	Log       bool           `key:"log"`                                              // false: nothing of it is kept
}

// A Group is devices with the same settings: those that name it, and those that it
// selects. Where a device is in several, the first in the settings that says something
// of a setting counts.
type Group struct {
	Name     string         `key:"name,name"`
	Devices  []string       `key:"device,name"` // names, identities or MACs, of configured devices or others
	Prefixes []netip.Prefix `key:"prefix"`
	Tags     []string       `key:"tag,name"`
	Kinds    []string       `key:"kind" words:"phone tablet computer tv player console speaker camera printer router storage hub light plug vacuum thermostat appliance meter watch reader telephone machine other"` // that a person said, never a guess
	Makers   []string       `key:"maker"`                                                                                                                                                                            // words of names in the IEEE's registry

	ListsOn      []string `key:"lists_on,name"` // names of lists, also of those that are off for all others
	ListsOff     []string `key:"lists_off,name"`
	ListsObserve []string `key:"lists_observe,name"`

	Tier    string  `key:"tier" words:"telemetry mixed"` // "": the list's, or Blocking.Tier
	Log     bool    `key:"log"`                          // false: nothing of them is kept
	Observe Observe `key:"observe"`
	Mode    string  `key:"mode" words:"null nxdomain nodata refused custom"` // "": Blocking.Mode

	Schedule Schedule `key:"schedule"`  // when names are blocked for them
	TimeZone string   `key:"time_zone"` // of Schedule; "" for the machine's
	StripECH bool     `key:"strip_ech"` // answers do not say how to hide a server's name when connecting to it
}

// Control is how the other commands reach the running server.
type Control struct {
	Socket string `key:"socket,path,flag"` // unless set, "telltale.sock" in Data.Dir
}

// Web is how the API and the console are reached from the network.
type Web struct {
	Listen      []netip.AddrPort `key:"listen,live,port 5380"` // none: they are not
	Path        string           `key:"path,live"`             // in front of every path; "" for none
	Hosts       []string         `key:"hosts,server,live"`     // names by which browsers may call the server, beside its addresses
	Proxies     []netip.Prefix   `key:"proxies,live"`          // who is believed what it says of clients
	TLS         string           `key:"tls,live" words:"none shared own"`
	Certificate string           `key:"certificate,path,live"` // with TLS "own"
	Key         string           `key:"key,path,live"`
}

// Fleet is this machine as a node: what it sends to the center of its fleet, and what of
// the center's holds here, too.
type Fleet struct {
	Center []string `key:"center,center"` // https://HOST:PORT, the first that answers; none: those of the invitation
	Policy bool     `key:"policy"`        // lists, devices and settings that the center shares hold here

	Unlisted  bool  `key:"unlisted"`  // rows of names that no list has are sent, too
	Bandwidth Bytes `key:"bandwidth"` // that sending takes in a second at most; 0: no bound
}

// Center is this machine as the center of a fleet (`telltale center`).
type Center struct {
	Listen  []netip.AddrPort `key:"listen,port 5390"`
	Address []string         `key:"address,center"`    // https://HOST:PORT, by which nodes reach it; for invitations
	Dir     string           `key:"dir,path"`          // unless set, "center" in Data.Dir
	Store   string           `key:"store"`             // the merged log; "": SQLite in Dir
	Share   []string         `key:"share"`             // keys of settings that hold on all nodes, too
	First   []string         `key:"first"`             // names of nodes that follow a change before all others
	Metrics []netip.AddrPort `key:"metrics,port 9531"` // on which Prometheus is answered; none: it is not
}

// CenterPort is the port of Center.Listen where none is given.
const CenterPort = 5390

// WebPort is the port of Web.Listen where none is given.
const WebPort = 5380

// What Web.TLS says.
const (
	WebTLSShared = "shared" // the certificates of TLS
	WebTLSOwn    = "own"    // Web.Certificate
)

// ServerName is by which name clients may call this server, unless tls.names says otherwise.
const ServerName = "telltale.home.arpa"

func defaults() *Config {
	return &Config{
		Listen: Listen{DNS: []netip.AddrPort{
			netip.AddrPortFrom(netip.IPv4Unspecified(), 53),
			netip.AddrPortFrom(netip.IPv6Unspecified(), 53),
		}},
		Strategy: "in-order", Hedging: true,
		Web:      Web{TLS: "none"},
		TLS:      TLS{Authority: "none", Names: []string{ServerName}, ACME: ACME{Wait: 10 * time.Second}},
		Lists:    Lists{Dir: "/etc/telltale/lists.d"},
		Data:     Data{Dir: "/var/lib/telltale"},
		Cache:    Cache{Size: 16 << 20, Stale: 24 * time.Hour, Prefetch: true},
		Blocking: Blocking{Mode: "null", TTL: 10 * time.Second, Tier: "telemetry"},
		DNS64:    DNS64{Prefix: "off"},
		Special:  Special{Test: true, Local: true, Canaries: true},
		Limits:   Limits{Waiting: 1000, TCPConnections: 256, ClientPrefix: 128},
		Log:      Log{Enabled: true, Listed: 365 * 24 * time.Hour, Unlisted: 24 * time.Hour, Totals: 3 * 365 * 24 * time.Hour, Attempt: 30 * time.Second, Size: 1 << 30, Seal: true},
		Evidence: Evidence{Witness: Witness{Every: time.Hour}},
		Fleet:    Fleet{Policy: true, Bandwidth: 1 << 20},
		Center: Center{
			Listen: []netip.AddrPort{
				netip.AddrPortFrom(netip.IPv4Unspecified(), CenterPort),
				netip.AddrPortFrom(netip.IPv6Unspecified(), CenterPort),
			},
			Share: []string{"devices", "groups", "lists.subscriptions", "lists.settings", "local.records", "blocking.mode", "blocking.tier", "blocking.observe"},
		},

		Destinations: Destinations{
			Source: "https://github.com/sapics/ip-location-db/releases/download/latest",
			Clouds: []string{"https://ip-ranges.amazonaws.com/ip-ranges.json", "https://www.gstatic.com/ipranges/cloud.json", "https://docs.oracle.com/iaas/tools/public_ip_ranges.json", "https://digitalocean.com/geo/google.csv", "https://geoip.linode.com/"},
		},

		Alerts:   Alerts{Digest: Recurrence{Text: "daily 08:00", Every: "day", Minutes: 8 * 60}, Coverage: 95, Log: true, MQTT: AlertMQTT{Topic: "telltale", Discovery: "homeassistant"}},
		Messages: Messages{Level: "info", Format: "text"},
		Identity: Identity{FindLeases: true, Announcements: true, Reverse: true},
	}
}

// Given reports whether key, such as "listen.dns", was set and is not a default.
func (c *Config) Given(key string) bool {
	_, ok := c.given[key]
	return ok
}

func (l *List) defaults()         { l.Enabled = true }
func (s *Subscription) defaults() { s.Enabled, s.Refresh = true, 24*time.Hour }
func (d *Device) defaults()       { d.Log = true }
func (r *Report) defaults()       { r.Format, r.Keep = "html", 12 }
func (g *Group) defaults()        { g.Log = true }

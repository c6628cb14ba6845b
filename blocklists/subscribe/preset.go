package subscribe

// A Preset is a wide list that is known by name, so that nobody has to copy its
// URL. None is on unless it is asked for: a wide list blocks what its authors
// think right, not only telemetry.
type Preset struct {
	Name  string
	URL   string
	Title string
}

// Presets are the lists that are known by name.
var Presets = []Preset{
	{"hagezi-light", "https://raw.githubusercontent.com/hagezi/dns-blocklists/main/wildcard/light-onlydomains.txt", "HaGeZi light: ads and tracking, nothing that breaks sites"},
	{"hagezi-normal", "https://raw.githubusercontent.com/hagezi/dns-blocklists/main/wildcard/multi-onlydomains.txt", "HaGeZi normal: ads, tracking, metrics, some malware"},
	{"hagezi-pro", "https://raw.githubusercontent.com/hagezi/dns-blocklists/main/wildcard/pro-onlydomains.txt", "HaGeZi pro: wider, for those who can allow what breaks"},
	{"hagezi-threats", "https://raw.githubusercontent.com/hagezi/dns-blocklists/main/wildcard/tif-onlydomains.txt", "HaGeZi threat intelligence: malware, phishing, scams; large"},
	{"oisd-small", "https://small.oisd.nl/", "OISD small: mostly ads, made to break nothing"},
	{"oisd-big", "https://big.oisd.nl/", "OISD big: ads, tracking, telemetry, malware, made to break nothing"},
	{"stevenblack", "https://raw.githubusercontent.com/StevenBlack/hosts/master/hosts", "StevenBlack: ads and malware, as a hosts file"},
	{"adguard", "https://adguardteam.github.io/HostlistsRegistry/assets/filter_1.txt", "AdGuard DNS filter"},
	{"perflyst-tv", "https://raw.githubusercontent.com/Perflyst/PiHoleBlocklist/master/SmartTV.txt", "Perflyst: smart TVs"},
}

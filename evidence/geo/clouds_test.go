package geo

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The forms, with ranges that are made up.
var clouds = map[string]string{
	"amazon.json": `{"syncToken": "1", "createDate": "2026-11-01-23-29-02",
		"prefixes": [{"ip_prefix": "13.248.0.0/16", "region": "GLOBAL", "service": "AMAZON"}, {"ip_prefix": "13.248.118.0/24", "region": "eu-west-1", "service": "EC2"}],
		"ipv6_prefixes": [{"ipv6_prefix": "2600:1f00::/24", "region": "us-east-1", "service": "EC2"}]}`,
	"google.json": `{"syncToken": "1", "creationTime": "2026-10-31T08:00:00", "prefixes": [{"ipv4Prefix": "34.80.0.0/15", "service": "Google Cloud", "scope": "asia-east1"}, {"ipv6Prefix": "2600:1900:4030::/44", "scope": "asia-east1"}]}`,
	"oracle.json": `{"last_updated_timestamp": "2026-10-30T10:00:00.000000", "regions": [{"region": "ap-mumbai-1", "cidrs": [{"cidr": "129.154.32.0/19", "tags": ["OCI"]}]}]}`,
	"azure.json": `{"changeNumber": 321, "cloud": "Public", "values": [
		{"name": "AzureCloud.eastus", "id": "AzureCloud.eastus", "properties": {"region": "eastus", "platform": "Azure", "systemService": "", "addressPrefixes": ["20.42.0.0/17", "2603:1030:210::/47"]}},
		{"name": "Storage.WestUS", "properties": {"region": "westus", "systemService": "AzureStorage", "addressPrefixes": ["20.42.1.0/24"]}}]}`,
	"alibaba.json": `{"RequestId": "1", "Code": 200, "Success": true, "PageSize": 2, "PageNumber": 1, "TotalCount": 3, "RegionId": "ap-southeast-1", "PublicIpAddress": ["47.74.128.0/17", "8.208.0.0/20"]}
		{"PageSize": 2, "PageNumber": 2, "TotalCount": 3, "RegionId": "ap-southeast-1", "PublicIpAddress": ["161.117.0.0/16"]}
		{"TotalCount": 1, "RegionId": "xy-nowhere-9", "PublicIpAddress": ["47.91.0.0/20"]}`,
	"digitalocean.csv": "5.101.96.0/21,NL,NL-NH,Amsterdam,1098 XH\n2400:6180::/48,SG,SG-01,Singapore,627753\n",
	"linode.csv":       "# prefix,country,region,city,postal\n172.104.32.0/19,SG,SG-01,Singapore,\n139.162.0.0/19,SG,,,\n",
}

func TestRangesOfClouds(t *testing.T) {
	dir := t.TempDir()
	files := Files{}
	for name, text := range clouds {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files[Cloud] = append(files[Cloud], path)
	}
	s, err := Open(files)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]Network{
		"13.248.118.1":     {Cloud: "Amazon Web Services", Region: "eu-west-1"},
		"13.248.1.1":       {Cloud: "Amazon Web Services", Region: "GLOBAL"},
		"2600:1f01::1":     {Cloud: "Amazon Web Services", Region: "us-east-1"},
		"34.81.2.3":        {Cloud: "Google Cloud", Region: "asia-east1"},
		"129.154.33.1":     {Cloud: "Oracle Cloud", Region: "ap-mumbai-1"},
		"2600:1900:4030::": {Cloud: "Google Cloud", Region: "asia-east1"},
		"20.42.1.1":        {Cloud: "Microsoft Azure", Region: "eastus"},
		"2603:1030:211::1": {Cloud: "Microsoft Azure", Region: "eastus"},
		"47.74.200.1":      {Cloud: "Alibaba Cloud", Region: "ap-southeast-1, Singapore"},
		"161.117.3.4":      {Cloud: "Alibaba Cloud", Region: "ap-southeast-1, Singapore"},
		"47.91.1.1":        {Cloud: "Alibaba Cloud", Region: "xy-nowhere-9"},
		"5.101.100.1":      {Cloud: "DigitalOcean", Region: "Amsterdam, NL"},
		"2400:6180::1":     {Cloud: "DigitalOcean", Region: "Singapore, SG"},
		"172.104.33.1":     {Cloud: "Linode (Akamai)", Region: "Singapore, SG"},
		"139.162.1.1":      {Cloud: "Linode (Akamai)", Region: "SG"},
		"9.9.9.9":          {},
	} {
		by := map[Source]bool{}
		got, err := s.Of(netip.MustParseAddr(addr), by)
		if err != nil || got != want || len(by) == 1 != (want.Cloud != "") {
			t.Errorf("%s: got %+v by %v, %v, want %+v", addr, got, by, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"TotalCount": 101, "RegionId": "cn-hangzhou", "PublicIpAddress": ["101.37.0.0/16"]}`: "1 of the 101 ranges of cn-hangzhou: the further pages are missing",
		"5.101.96.0/21,NL,NL-NH,Amsterdam,":                                                    "whose a geofeed is must be in its name",
		"":                                                                                     "no ranges of a cloud's operator",
		"{}":                                                                                   "in a form that is not known",
		"[1]":                                                                                  "no ranges",
		`{"prefixes": [{"ip_prefix": "13.248.0.0/16"}, {"ip_prefix": "300.1.1.0/24"}]}`:                         "1 of its ranges cannot be read",
		`{"prefixes": [{"ip_prefix": "0.0.0.0/0"}, {"ip_prefix": "13.248.0.0/16"}]}`:                            "1 of its ranges cannot be read",
		`{"prefixes": [{"ip_prefix": "13.248.0.0/16"}], "regions": [{"cidrs": [{"cidr": "129.154.32.0/19"}]}]}`: "another operator",
	} {
		if _, err := VerifyCloud("x", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	if src, err := VerifyCloud("x", []byte(clouds["google.json"])); err != nil || src.String() != "google.json of 2026-10-31" {
		t.Errorf("got %v, %v", src, err)
	}
	if src, err := VerifyCloud("https://www.digitalocean.com/geo/google.csv", []byte(clouds["digitalocean.csv"])); err != nil || src.String() != "digitalocean.csv of an unknown date" {
		t.Errorf("got %v, %v", src, err)
	}
	for text, want := range map[string]string{"": "no ranges", "1.2.3.0/24,US\nnonsense,US\n": "1 of its ranges cannot be read", "<html>\n": "1 of its ranges"} {
		if _, err := VerifyCloud("linode.csv", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a geofeed %q: got %v, want %q", text, err, want)
		}
	}
}

// A file that says no date itself has the date at which it came.
func TestRangesWithoutADateHaveThatOfTheirFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "linode.csv")
	if err := os.WriteFile(path, []byte(clouds["linode.csv"]), 0o600); err != nil {
		t.Fatal(err)
	}
	came := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	if err := os.Chtimes(path, came, came); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Files{Cloud: {path}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Sources()[0].String(), "linode.csv fetched on 2026-08-01, which says no date itself"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := s.Caveats(came.AddDate(0, 0, 89)); strings.Contains(strings.Join(got, "\n"), "days old") {
		t.Errorf("after 89 days: %q", got)
	}
	if got := s.Caveats(came.AddDate(0, 0, 92)); !strings.Contains(strings.Join(got, "\n"), "linode.csv is 92 days old") {
		t.Errorf("after 92 days: %q", got)
	}
}

// Regions of Alibaba join those that are there, and the file is as old as the oldest of them.
func TestRegionsAreAddedToThoseThatAreThere(t *testing.T) {
	answer := func(region, prefix string) string {
		return `{"TotalCount": 1, "RegionId": "` + region + `", "PublicIpAddress": ["` + prefix + `"]}`
	}
	have := []byte(answer("ap-southeast-1", "47.74.128.0/17"))
	for _, c := range []struct {
		added, day string
		ranges     int
		fetched    string
		found      string
		want       string
	}{
		{answer("ap-south-1", "149.129.128.0/18"), "2026-11-02", 2, "2026-11-01", "47.74.200.1", "ap-southeast-1, Singapore"},
		{answer("ap-southeast-1", "8.208.0.0/20"), "2026-11-03", 2, "2026-11-02", "8.208.1.1", "ap-southeast-1, Singapore"},
		{answer("ap-south-1", "147.139.0.0/17"), "2026-11-04", 2, "2026-11-03", "47.74.200.1", ""},
	} {
		all, ranges, err := AddRegions("alibaba.json", have, "2026-11-01", []byte(c.added), c.day)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseCloud("alibaba.json", all)
		if err != nil {
			t.Fatal(err)
		}
		region, _ := got.find(netip.MustParseAddr(c.found))
		if ranges != c.ranges || got.Fetched != c.fetched || region != c.want {
			t.Errorf("after %s: got %d ranges of %s, %s in %q; want %d of %s, in %q", c.added, ranges, got.Fetched, c.found, region, c.ranges, c.fetched, c.want)
		}
		have = all
	}
	amazon := []byte(clouds["amazon.json"])
	if all, ranges, err := AddRegions("amazon.json", have, "2026-11-01", amazon, "2026-11-05"); err != nil || string(all) != string(amazon) || ranges != 3 {
		t.Errorf("of another operator: got %d ranges (%v): %s", ranges, err, all)
	}
}

func FuzzCloud(f *testing.F) {
	for _, text := range clouds {
		f.Add([]byte(text))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		if c, err := parseCloud("f.json", b); err == nil {
			c.find(netip.MustParseAddr("13.248.118.1"))
		}
		if c, err := parseCloud("linode.csv", b); err == nil {
			c.find(netip.MustParseAddr("13.248.118.1"))
		}
	})
}

// Whose a geofeed is, is in the name of its file, or in the host and the file of its URL: folders and their order do not say it.
func TestWhoseAGeofeedIsIsInItsOwnName(t *testing.T) {
	for range 20 { // the order of words does not matter
		for from, want := range map[string]string{
			"/home/linode/geo/digitalocean.csv": digitalOcean, "/srv/digitalocean/linode.csv": linode, "/home/linode/geo.csv": "", "Linode-feed.csv": linode, "linode-and-digitalocean.csv": "",
			"https://geoip.linode.com/": linode, "https://digitalocean.com/geo/google.csv": digitalOcean, "https://feeds.example/linode/digitalocean.csv": digitalOcean,
			"https://feeds.example/linode/geo.csv": "", "https://linode.example/digitalocean.csv": "", "https://feeds.example/geo.csv?of=linode": "", "https://linode@feeds.example/geo.csv": "",
		} {
			if got := feedOf(from); got != want {
				t.Fatalf("%s: got %q, want %q", from, got, want)
			}
		}
	}
	if _, err := VerifyCloud("linode-and-digitalocean.csv", []byte(clouds["linode.csv"])); err == nil || !strings.Contains(err.Error(), "whose a geofeed is must be in its name, and nobody else") {
		t.Errorf("two words: got %v", err)
	}
}

package geo

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The three forms, with ranges that are made up.
var clouds = map[string]string{
	"amazon.json": `{"syncToken": "1", "createDate": "2026-11-01-23-29-02",
		"prefixes": [{"ip_prefix": "13.248.0.0/16", "region": "GLOBAL", "service": "AMAZON"}, {"ip_prefix": "13.248.118.0/24", "region": "eu-west-1", "service": "EC2"}],
		"ipv6_prefixes": [{"ipv6_prefix": "2600:1f00::/24", "region": "us-east-1", "service": "EC2"}]}`,
	"google.json": `{"syncToken": "1", "creationTime": "2026-10-31T08:00:00", "prefixes": [{"ipv4Prefix": "34.80.0.0/15", "service": "Google Cloud", "scope": "asia-east1"}, {"ipv6Prefix": "2600:1900:4030::/44", "scope": "asia-east1"}]}`,
	"oracle.json": `{"last_updated_timestamp": "2026-10-30T10:00:00.000000", "regions": [{"region": "ap-mumbai-1", "cidrs": [{"cidr": "129.154.32.0/19", "tags": ["OCI"]}]}]}`,
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
		"9.9.9.9":          {},
	} {
		by := map[Source]bool{}
		got, err := s.Of(netip.MustParseAddr(addr), by)
		if err != nil || got != want || len(by) == 1 != (want.Cloud != "") {
			t.Errorf("%s: got %+v by %v, %v, want %+v", addr, got, by, err, want)
		}
	}
	for text, want := range map[string]string{
		"":    "no ranges of a cloud's operator",
		"{}":  "in a form that is not known",
		"[1]": "no ranges",
		`{"prefixes": [{"ip_prefix": "13.248.0.0/16"}, {"ip_prefix": "300.1.1.0/24"}]}`:                         "1 of its ranges cannot be read",
		`{"prefixes": [{"ip_prefix": "0.0.0.0/0"}, {"ip_prefix": "13.248.0.0/16"}]}`:                            "1 of its ranges cannot be read",
		`{"prefixes": [{"ip_prefix": "13.248.0.0/16"}], "regions": [{"cidrs": [{"cidr": "129.154.32.0/19"}]}]}`: "another operator",
	} {
		if _, err := VerifyCloud([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	if src, err := VerifyCloud([]byte(clouds["google.json"])); err != nil || src.String() != "google.json of 2026-10-31" {
		t.Errorf("got %v, %v", src, err)
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
	})
}

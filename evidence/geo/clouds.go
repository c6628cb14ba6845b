package geo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"
)

// Cloud is the kind of files in which operators of clouds publish their ranges.
const Cloud Kind = "cloud"

// A cloud is the ranges that one operator has published.
type cloud struct {
	Source
	operator string
	ranges   []cloudRange
}

type cloudRange struct {
	prefix netip.Prefix
	region string
}

// mostRanges is how many ranges a file may have.
const mostRanges = 200_000

// cloudFile has the keys of the files that are known: Amazon's ip-ranges.json, Google's
// cloud.json and Oracle's public_ip_ranges.json.
type cloudFile struct {
	CreateDate   string `json:"createDate"`             // Amazon: 2006-01-02-15-04-05
	CreationTime string `json:"creationTime"`           // Google
	Updated      string `json:"last_updated_timestamp"` // Oracle
	Prefixes     []struct {
		Amazon  string `json:"ip_prefix"`
		Google4 string `json:"ipv4Prefix"`
		Google6 string `json:"ipv6Prefix"`
		Region  string `json:"region"`
		Scope   string `json:"scope"`
	} `json:"prefixes"`
	Amazon6 []struct {
		Prefix string `json:"ipv6_prefix"`
		Region string `json:"region"`
	} `json:"ipv6_prefixes"`
	Regions []struct {
		Region string `json:"region"`
		CIDRs  []struct {
			CIDR string `json:"cidr"`
		} `json:"cidrs"`
	} `json:"regions"`
}

// parseCloud reads the ranges of one operator, which the file's form tells.
func parseCloud(path string, b []byte) (*cloud, error) {
	var f cloudFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("it has no ranges of a cloud's operator: %w", err)
	}
	c := &cloud{Source: Source{Kind: Cloud, File: filepath.Base(path)}}
	bad := 0
	add := func(operator, prefix, region string) {
		if prefix == "" {
			return
		}
		p, err := netip.ParsePrefix(prefix)
		if err != nil || p.Bits() == 0 || c.operator != "" && c.operator != operator || len(c.ranges) == mostRanges {
			bad++
			return
		}
		c.operator = operator
		c.ranges = append(c.ranges, cloudRange{p.Masked(), printableName(region)})
	}
	for _, p := range f.Prefixes {
		add("Amazon Web Services", p.Amazon, p.Region)
		add("Google Cloud", p.Google4, p.Scope)
		add("Google Cloud", p.Google6, p.Scope)
	}
	for _, p := range f.Amazon6 {
		add("Amazon Web Services", p.Prefix, p.Region)
	}
	for _, r := range f.Regions {
		for _, p := range r.CIDRs {
			add("Oracle Cloud", p.CIDR, r.Region)
		}
	}
	switch {
	case len(c.ranges) == 0:
		return nil, errors.New("it has no ranges of a cloud's operator, or in a form that is not known: those of Amazon (ip-ranges.json), Google (cloud.json) and Oracle (public_ip_ranges.json) are")
	case bad > 0:
		return nil, fmt.Errorf("%d of its ranges cannot be read, are of another operator, or are too many", bad)
	}
	for _, date := range []string{f.CreateDate, f.CreationTime, f.Updated} {
		if len(date) >= len(time.DateOnly) {
			if day, err := time.Parse(time.DateOnly, date[:len(time.DateOnly)]); err == nil {
				c.Built = day.Format(time.DateOnly)
			}
		}
	}
	return c, nil
}

// find returns the region of the smallest range that an address is in.
func (c *cloud) find(addr netip.Addr) (region string, ok bool) {
	bits := -1
	for i := range c.ranges {
		if r := &c.ranges[i]; r.prefix.Bits() > bits && r.prefix.Contains(addr) {
			region, bits = r.region, r.prefix.Bits()
		}
	}
	return region, bits >= 0
}

// CloudFiles are the names under which files of operators are kept.
var CloudFiles = map[string]string{"Amazon Web Services": "amazon.json", "Google Cloud": "google.json", "Oracle Cloud": "oracle.json"}

// VerifyCloud reads the ranges of a cloud's operator, and says under which name they are
// kept.
func VerifyCloud(b []byte) (Source, error) {
	c, err := parseCloud("", b)
	if err != nil {
		return Source{}, err
	}
	c.File = CloudFiles[c.operator]
	return c.Source, nil
}

package geo

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Cloud is the kind of files in which operators of clouds publish their ranges.
const Cloud Kind = "cloud"

// A cloud is the ranges that one operator has published.
type cloud struct {
	Source
	operator string
	ranges   []cloudRange
	bad      int // ranges that cannot be read, are of another operator, or are too many
}

type cloudRange struct {
	prefix netip.Prefix
	region string
}

// mostRanges is how many ranges a file may have.
const mostRanges = 200_000

// Operators whose ranges are known. The words are in findings and never change.
const (
	amazon       = "Amazon Web Services"
	google       = "Google Cloud"
	oracle       = "Oracle Cloud"
	azure        = "Microsoft Azure"
	alibaba      = "Alibaba Cloud"
	digitalOcean = "DigitalOcean"
	linode       = "Linode (Akamai)"
)

// knownForms are the forms that are read, for whoever has another one.
const knownForms = "those of Amazon (ip-ranges.json), Google (cloud.json), Oracle (public_ip_ranges.json), Azure (ServiceTags_Public_DATE.json), Alibaba (what DescribePublicIpAddress answers) " +
	"and the geofeeds of DigitalOcean and Linode are"

// cloudFile has the keys of the files in JSON that are known: Amazon's ip-ranges.json, Google's
// cloud.json, Oracle's public_ip_ranges.json, Azure's service tags, and what Alibaba's API
// answers to DescribePublicIpAddress.
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
	Values []struct { // Azure: a tag for each service and region, which overlap
		Name       string `json:"name"`
		Properties struct {
			Region   string   `json:"region"`
			Prefixes []string `json:"addressPrefixes"`
		} `json:"properties"`
	} `json:"values"`
	alibabaAnswer
}

// An alibabaAnswer is what Alibaba's API answers of a region.
type alibabaAnswer struct {
	Alibaba []string `json:"PublicIpAddress"`
	Region  string   `json:"RegionId"`
	Total   int      `json:"TotalCount"`      // of the region, of which a page has 100 at most
	Added   string   `json:"Added,omitempty"` // of ours: the day on which it was added, as 2006-01-02
}

// alibabaRegions are what Alibaba calls its regions, which are codes in its answers: its page
// "Region IDs", read in November 2026.
var alibabaRegions = map[string]string{
	"ap-southeast-1": "Singapore", "ap-southeast-2": "Australia (Sydney)", "ap-southeast-3": "Malaysia (Kuala Lumpur)", "ap-southeast-5": "Indonesia (Jakarta)",
	"ap-southeast-6": "Philippines (Manila)", "ap-southeast-7": "Thailand (Bangkok)", "ap-northeast-1": "Japan (Tokyo)", "ap-northeast-2": "South Korea (Seoul)", "ap-south-1": "India (Mumbai)",
	"us-east-1": "US (Virginia)", "us-west-1": "US (Silicon Valley)", "eu-central-1": "Germany (Frankfurt)", "eu-west-1": "UK (London)", "me-east-1": "UAE (Dubai)", "me-central-1": "Saudi Arabia (Riyadh)",
	"cn-qingdao": "China (Qingdao)", "cn-beijing": "China (Beijing)", "cn-zhangjiakou": "China (Zhangjiakou)", "cn-huhehaote": "China (Hohhot)", "cn-wulanchabu": "China (Ulanqab)", "cn-hangzhou": "China (Hangzhou)",
	"cn-shanghai": "China (Shanghai)", "cn-shenzhen": "China (Shenzhen)", "cn-heyuan": "China (Heyuan)", "cn-guangzhou": "China (Guangzhou)", "cn-chengdu": "China (Chengdu)", "cn-hongkong": "China (Hong Kong)",
}

// parseCloud reads the ranges of one operator, which the file's form tells, and of a geofeed
// where it is from: a URL or a path.
func parseCloud(from string, b []byte) (*cloud, error) {
	c := &cloud{Source: Source{Kind: Cloud, File: filepath.Base(from)}}
	var err error
	switch operator := feedOf(from); {
	case operator != "" && !isJSON(b):
		err = c.addFeed(operator, b)
	case !isJSON(b) && len(b) > 0:
		err = errors.New("it has no ranges of a cloud's operator, or in a form that is not known: " + knownForms + "; whose a geofeed is must be in its name, and nobody else")
	default:
		err = c.addJSON(b)
	}
	switch {
	case err != nil:
		return nil, err
	case c.bad > 0:
		return nil, fmt.Errorf("%d of its ranges cannot be read, are of another operator, or are too many", c.bad)
	case len(c.ranges) == 0:
		return nil, errors.New("it has no ranges of a cloud's operator, or in a form that is not known: " + knownForms)
	}
	return c, nil
}

func isJSON(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && (b[0] == '{' || b[0] == '[')
}

// add adds a range.
func (c *cloud) add(operator, prefix, region string) {
	if prefix == "" {
		return
	}
	p, err := netip.ParsePrefix(prefix)
	if err != nil || p.Bits() == 0 || c.operator != "" && c.operator != operator || len(c.ranges) == mostRanges {
		c.bad++
		return
	}
	c.operator = operator
	c.ranges = append(c.ranges, cloudRange{p.Masked(), printableName(region)})
}

// addJSON reads the documents of a file one after the other: Alibaba answers for each region
// and page.
func (c *cloud) addJSON(b []byte) error {
	var have, total = map[string]int{}, map[string]int{} // of Alibaba, by region
	d := json.NewDecoder(bytes.NewReader(b))
	for n := 0; ; n++ {
		var f cloudFile
		if err := d.Decode(&f); err == io.EOF && n > 0 {
			break
		} else if err != nil {
			return fmt.Errorf("it has no ranges of a cloud's operator: %w", err)
		}
		c.addFile(&f)
		have[f.Region] += len(f.Alibaba)
		total[f.Region] = max(total[f.Region], f.Total)
	}
	for region, n := range total {
		if have[region] < n {
			return fmt.Errorf("it has %d of the %d ranges of %s: the further pages are missing (PageNumber 2 and so on)", have[region], n, printableName(region))
		}
	}
	return nil
}

func (c *cloud) addFile(f *cloudFile) {
	for _, p := range f.Prefixes {
		c.add(amazon, p.Amazon, p.Region)
		c.add(google, p.Google4, p.Scope)
		c.add(google, p.Google6, p.Scope)
	}
	for _, p := range f.Amazon6 {
		c.add(amazon, p.Prefix, p.Region)
	}
	for _, r := range f.Regions {
		for _, p := range r.CIDRs {
			c.add(oracle, p.CIDR, r.Region)
		}
	}
	for _, v := range f.Values {
		if v.Name != "AzureCloud" && !strings.HasPrefix(v.Name, "AzureCloud.") {
			continue // a service, whose ranges are among these
		}
		for _, p := range v.Properties.Prefixes {
			c.add(azure, p, v.Properties.Region)
		}
	}
	for _, p := range f.Alibaba {
		region := f.Region
		if name := alibabaRegions[region]; name != "" {
			region += ", " + name
		}
		c.add(alibaba, p, region)
	}
	if day, err := time.Parse(time.DateOnly, f.Added); err == nil && (c.Fetched == "" || f.Added < c.Fetched) {
		c.Fetched = day.Format(time.DateOnly)
	}
	for _, date := range []string{f.CreateDate, f.CreationTime, f.Updated} {
		if len(date) >= len(time.DateOnly) {
			if day, err := time.Parse(time.DateOnly, date[:len(time.DateOnly)]); err == nil {
				c.Built = day.Format(time.DateOnly)
			}
		}
	}
}

// feedOf returns whose geofeed it is by where it is from: by the name of a file, or by the host and the last part of the path of a URL.
// It is "" for nobody's that is known, and where it could be of several.
func feedOf(from string) (operator string) {
	name := filepath.Base(from)
	if u, err := url.Parse(from); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		name = u.Hostname() + "/" + path.Base(u.Path)
	}
	name = strings.ToLower(name)
	for word, of := range map[string]string{"digitalocean": digitalOcean, "linode": linode} {
		if !strings.Contains(name, word) {
			continue
		}
		if operator != "" {
			return ""
		}
		operator = of
	}
	return operator
}

// addFeed reads a geofeed (RFC 8805): a range, a country, a subdivision, a city, a postal code
// a line. The region is the city and the country.
func (c *cloud) addFeed(operator string, b []byte) error {
	r := csv.NewReader(bytes.NewReader(b))
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace, r.LazyQuotes = '#', -1, true, true
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it is no geofeed: %w", err)
		}
		fields = append(fields, "", "", "")
		c.add(operator, cmp.Or(strings.TrimSpace(fields[0]), "-"), strings.Join(slices.DeleteFunc([]string{fields[3], fields[1]}, func(s string) bool { return s == "" }), ", "))
	}
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
var CloudFiles = map[string]string{
	amazon: "amazon.json", google: "google.json", oracle: "oracle.json", azure: "azure.json", alibaba: "alibaba.json", digitalOcean: "digitalocean.csv", linode: "linode.csv",
}

// VerifyCloud reads the ranges of a cloud's operator, which are from a URL or a path, and says
// under which name they are kept.
func VerifyCloud(from string, b []byte) (Source, error) {
	c, err := parseCloud(from, b)
	if err != nil {
		return Source{}, err
	}
	c.File = CloudFiles[c.operator]
	return c.Source, nil
}

// AddRegions returns what a file of an operator's ranges is to have once another one was added on a day,
// and how many ranges that are. That is the other one alone, but of Alibaba, which answers region by
// region: regions that the other one does not have are kept. file is the name that VerifyCloud said, and
// haveDay when the file that is there was written.
func AddRegions(file string, have []byte, haveDay string, b []byte, day string) (all []byte, ranges int, err error) {
	if all = b; file == CloudFiles[alibaba] {
		added, err := answersOf(b, day)
		if err != nil {
			return nil, 0, err
		}
		if before, err := parseCloud(file, have); err == nil && before.operator == alibaba {
			kept, err := answersOf(have, haveDay)
			if err != nil {
				return nil, 0, err
			}
			added = append(slices.DeleteFunc(kept, func(a alibabaAnswer) bool {
				return slices.ContainsFunc(added, func(b alibabaAnswer) bool { return a.Region == b.Region })
			}), added...)
		}
		var text bytes.Buffer
		for i := range added {
			if err := json.NewEncoder(&text).Encode(&added[i]); err != nil {
				return nil, 0, err
			}
		}
		all = text.Bytes()
	}
	c, err := parseCloud(file, all)
	if err != nil {
		return nil, 0, err
	}
	return all, len(c.ranges), nil
}

// answersOf returns Alibaba's answers in a file. Those that say no day have the one that is given.
func answersOf(b []byte, day string) (all []alibabaAnswer, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	for {
		var a alibabaAnswer
		if err := d.Decode(&a); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		a.Added = cmp.Or(a.Added, day)
		all = append(all, a)
	}
}

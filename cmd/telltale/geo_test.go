package main

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A database takes the place of the one that is there only when it is whole, of its kind and
// not older.
func TestDatabasesAreFetched(t *testing.T) {
	database := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("../../evidence/geo/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	files := map[string][]byte{"/geo/origin-asn.mmdb": database("asn.mmdb"), "/geo/server-country.mmdb": database("country.mmdb"), "/geo/iptoasn-country.mmdb": database("registered.mmdb"),
		"/amazon": []byte(`{"createDate": "2026-11-01-23-29-02", "prefixes": [{"ip_prefix": "13.248.0.0/16", "region": "eu-west-1"}]}`)}
	var serve atomic.Pointer[map[string][]byte]
	serve.Store(&files)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := (*serve.Load())[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	}))
	defer srv.Close()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "telltale.yaml"), "data: {dir: data}\ndestinations: {source: \""+srv.URL+"/geo/\", clouds: [\""+srv.URL+"/amazon\"]}\n")
	run := func(status int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if got := command(t.Context(), append(args, "--config", filepath.Join(dir, "telltale.yaml")), &out, &out, nil); got != status {
			t.Errorf("%q: status %d, want %d: %s", args, got, status, out.String())
		}
		return out.String()
	}
	wants := func(out string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("want %q in %s", text, out)
			}
		}
	}
	wants(run(0, "geo", "show"), "no address database is read", "geo update")
	wants(run(0, "geo", "update"), "asn.mmdb: fetched, of 2026-06-17", "country.mmdb: fetched, of 2026-06-17", "registered.mmdb: fetched", "amazon.json: fetched, of 2026-11-01")
	wants(run(0, "geo", "update"), "asn.mmdb: unchanged", "registered.mmdb: unchanged", "amazon.json: unchanged")
	wants(run(0, "geo", "show", "--json"), `"kind":"asn"`, `"built":"2026-06-17"`, `"state":"used"`, `"file":"amazon.json"`)
	alibaba := filepath.Join(dir, "saved.json")
	writeFile(t, alibaba, `{"TotalCount": 2, "RegionId": "ap-southeast-1", "PublicIpAddress": ["47.74.128.0/17"]}`)
	wants(run(1, "geo", "add", alibaba), "saved.json: failed: it has 1 of the 2 ranges of ap-southeast-1", "nothing was replaced")
	writeFile(t, alibaba, `{"TotalCount": 1, "RegionId": "ap-southeast-1", "PublicIpAddress": ["47.74.128.0/17"]}`)
	wants(run(1, "geo", "add", alibaba, filepath.Join(dir, "none.json")), "alibaba.json: added, fetched on 20", "none.json: failed: no such file")
	wants(run(0, "geo", "show"), "alibaba.json: used, fetched on 20")
	another, again := filepath.Join(dir, "mumbai.json"), filepath.Join(dir, "again.json")
	writeFile(t, another, `{"TotalCount": 2, "RegionId": "ap-south-1", "PublicIpAddress": ["149.129.128.0/18"]} {"TotalCount": 2, "RegionId": "ap-south-1", "PublicIpAddress": ["147.139.0.0/17"]}`)
	writeFile(t, again, `{"TotalCount": 2, "RegionId": "ap-southeast-1", "PublicIpAddress": ["47.74.128.0/17", "8.208.0.0/20"]}`)
	wants(run(0, "geo", "add", another, again), "no date itself, 3 ranges in all", "no date itself, 4 ranges in all")
	if out := run(1, "geo", "add", "--json", filepath.Join(dir, "telltale.yaml")); !strings.Contains(out, `"kind":"cloud"`) {
		t.Errorf("of which kind the file is, is not said: %s", out)
	}
	if out := run(1, "geo", "add", filepath.Join(dir, "telltale.yaml")); !strings.HasPrefix(out, "cloud: ") {
		t.Errorf("got %s, want the kind in front", out)
	}
	wants(run(2, "geo", "add"), "the file of an operator of a cloud")
	older := maps.Clone(files)
	older["/amazon"] = bytes.ReplaceAll(files["/amazon"], []byte("2026-11-01"), []byte("2026-10-01"))
	serve.Store(&older)
	wants(run(1, "geo", "update"), "/amazon: it is of 2026-10-01, and the one that is there of 2026-11-01: --force takes it")
	wants(run(0, "geo", "show"), "amazon.json: used, of 2026-11-01")
	wants(run(0, "geo", "update", "--force"), "amazon.json: fetched, of 2026-10-01")
	cut := map[string][]byte{"/geo/origin-asn.mmdb": files["/geo/origin-asn.mmdb"][:100], "/geo/server-country.mmdb": files["/geo/origin-asn.mmdb"]}
	serve.Store(&cut)
	wants(run(1, "geo", "update", "--force"), "no MaxMind DB", "of another kind (asn ipvAll), not of country", "the server says 404 Not Found", "/amazon: the server says 404", "nothing was replaced")
	wants(run(0, "geo", "show"), "asn.mmdb: used, of 2026-06-17", "country.mmdb: used, of 2026-06-17")
	writeFile(t, filepath.Join(dir, "data/geo/country.mmdb"), "garbage")
	wants(run(1, "geo", "show"), "country.mmdb: failed", "no MaxMind DB", "geo update")
	serve.Store(&files)
	wants(run(0, "geo", "update"), "country.mmdb: fetched")
}

package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	module = "telltale/"
	tree   = "../.." // the module's root, from here
)

// mayImport is the floor plan: what each package may import beside the standard
// library, tests not counted. A module of others stands for all its packages.
// Change it on purpose or not at all.
var mayImport = map[string]string{
	"atomicfile": "",
	"clock":      "golang.org/x/sys",

	"packaging": "",
	"sorting":   "",

	"web/ui": "",

	"fleet/authority": "atomicfile",
	"fleet/policy":    "atomicfile",
	"fleet/roster":    "atomicfile querylog/seal",

	"liveview": "golang.org/x/text",

	"metrics": "blocklists devices dnswire querylog",

	"offered": "golang.org/x/sys",

	"cmd/telltale": "atomicfile blocklists blocklists/catalog blocklists/format blocklists/inspect blocklists/matcher blocklists/subscribe blocklists/suffixes breakage clock config devices devices/corrections devices/kinds devices/oui devices/same dnstap/send dnswire evidence evidence/alert evidence/bundle evidence/candidate evidence/destination evidence/experiment evidence/geo evidence/letter evidence/post evidence/render evidence/rhythm evidence/witness fleet fleet/authority fleet/clickhouse fleet/policy fleet/roster liveview metrics offered packaging peerlogs peersettings querylog querylog/seal resolver resolver/listen/certs resolver/listen/certs/acme resolver/upstream watch web web/access web/ui " +
		"github.com/gdamore/tcell/v3 github.com/spf13/cobra github.com/spf13/pflag golang.org/x/net golang.org/x/sys rsc.io/qr",
	"config": "atomicfile watch github.com/spf13/pflag github.com/spf13/viper go.yaml.in/yaml/v3 golang.org/x/net/idna",

	"dnstap":      "",
	"dnstap/send": "blocklists devices dnstap querylog",

	"dnswire": "",

	"blocklists":           "atomicfile dnswire blocklists/format blocklists/matcher blocklists/rules watch github.com/cespare/xxhash/v2",
	"blocklists/catalog":   "dnswire blocklists/format aead.dev/minisign golang.org/x/net",
	"blocklists/format":    "dnswire github.com/ulikunitz/xz golang.org/x/net golang.org/x/text",
	"blocklists/inspect":   "dnswire blocklists blocklists/format blocklists/matcher blocklists/rules blocklists/suffixes github.com/cespare/xxhash/v2",
	"blocklists/matcher":   "atomicfile dnswire github.com/cespare/xxhash/v2 golang.org/x/sys",
	"blocklists/rules":     "atomicfile dnswire blocklists/format blocklists/matcher blocklists/suffixes github.com/cespare/xxhash/v2",
	"blocklists/subscribe": "atomicfile dnswire blocklists/format github.com/cespare/xxhash/v2 github.com/ulikunitz/xz golang.org/x/net golang.org/x/sync golang.org/x/time",

	"blocklists/suffixes":     "dnswire github.com/cespare/xxhash/v2 golang.org/x/net",
	"blocklists/suffixes/gen": "blocklists/suffixes dnswire golang.org/x/net",

	"breakage": "blocklists devices dnswire querylog",

	"devices/corrections": "atomicfile",
	"devices":             "devices/announce devices/leases watch github.com/mdlayher/netlink github.com/vishvananda/netlink golang.org/x/net golang.org/x/sys golang.org/x/time",

	"devices/announce": "devices/leases dnswire",
	"devices/leases":   "",
	"devices/kinds":    "",
	"devices/oui":      "",
	"devices/same":     "",

	"querylog":      "atomicfile blocklists blocklists/format clock devices dnswire querylog/seal github.com/cespare/xxhash/v2 github.com/ncruces/go-sqlite3 golang.org/x/net golang.org/x/sys golang.org/x/text",
	"querylog/seal": "golang.org/x/mod",

	"resolver": "atomicfile blocklists clock devices dnswire querylog resolver/cache resolver/dns64 resolver/listen resolver/listen/certs resolver/overload resolver/packets resolver/rebind resolver/upstream " +
		"github.com/dchest/siphash github.com/miekg/dns golang.org/x/sys/unix", // a raw socket: what a router announces
	"resolver/cache":             "dnswire",
	"resolver/dns64":             "",
	"resolver/dnstest":           "github.com/miekg/dns github.com/quic-go/quic-go go.uber.org/goleak", // beside tests
	"resolver/listen/certs":      "atomicfile watch",
	"resolver/listen":            "dnswire resolver/listen/certs resolver/overload resolver/packets github.com/quic-go/quic-go golang.org/x/net golang.org/x/sys",
	"resolver/overload":          "golang.org/x/net",
	"resolver/packets":           "golang.org/x/sys",
	"resolver/rebind":            "dnswire golang.org/x/net",
	"resolver/upstream":          "atomicfile dnswire resolver/packets watch github.com/quic-go/quic-go golang.org/x/sys",
	"resolver/listen/certs/acme": "atomicfile resolver/listen/certs github.com/miekg/dns golang.org/x/crypto",

	"peerlogs": "dnstap dnswire github.com/ncruces/go-sqlite3",

	"peersettings": "blocklists/format github.com/ncruces/go-sqlite3 github.com/pelletier/go-toml/v2 go.yaml.in/yaml/v3",

	"watch": "github.com/fsnotify/fsnotify",

	"web":        "blocklists blocklists/catalog devices dnswire evidence evidence/candidate evidence/destination evidence/experiment evidence/rhythm querylog web/access github.com/danielgtaylor/huma/v2",
	"web/access": "atomicfile golang.org/x/crypto",

	"evidence":            "blocklists devices evidence/experiment evidence/rhythm querylog",
	"evidence/alert":      "atomicfile evidence evidence/destination evidence/experiment evidence/post evidence/rhythm querylog github.com/eclipse/paho.mqtt.golang",
	"evidence/bundle":     "querylog/seal golang.org/x/mod",
	"evidence/experiment": "devices evidence/stats querylog",
	"evidence/dispute":    "blocklists devices dnswire evidence/destination evidence/experiment evidence/geo querylog", // beside tests
	"evidence/household":  "blocklists devices devices/corrections dnswire querylog",                                   // beside tests
	"evidence/logtest":    "devices querylog",                                                                          // beside tests
	"evidence/render":     "evidence evidence/candidate evidence/rhythm querylog",
	"evidence/post":       "",
	"evidence/rhythm":     "devices querylog",
	"evidence/candidate":  "evidence evidence/rhythm querylog golang.org/x/net",
	"evidence/witness":    "atomicfile clock evidence/post github.com/notaryproject/tspclient-go",
	"evidence/stats":      "gonum.org/v1/gonum",
	"evidence/letter":     "evidence querylog",

	"fleet":           "blocklists clock config devices querylog",
	"fleet/storetest": "blocklists devices dnswire fleet querylog", // beside tests

	"fleet/clickhouse":            "devices fleet querylog",
	"fleet/clickhouse/servertest": "", // beside tests

	"evidence/destination": "blocklists/catalog evidence/geo golang.org/x/net",
	"evidence/geo":         "github.com/oschwald/maxminddb-golang/v2",
}

// allMayImport is what every package may import: it stands in for a package of the
// standard library.
const allMayImport = "sorting"

// Programs and packages of the benchmarks measure from outside, and may use the
// few packages that have functions to be measured alone.
const benchMayImport = "bench/names blocklists blocklists/format blocklists/matcher dnswire github.com/miekg/dns golang.org/x/net golang.org/x/sys"

func TestImports(t *testing.T) {
	if testing.Short() {
		t.Skip("go list takes a second")
	}
	for _, goos := range []string{"linux", "darwin"} {
		for _, pkg := range packages(t, goos) {
			name := strings.TrimPrefix(pkg.ImportPath, module)
			allowed, ok := mayImport[name]
			if strings.HasPrefix(name, "bench/") {
				allowed, ok = benchMayImport, true
			}
			if !ok {
				t.Errorf("%s is not in the floor plan", name)
				continue
			}
			for _, path := range pkg.Imports {
				if !standard(path) && !mayUse(allowed+" "+allMayImport, strings.TrimPrefix(path, module)) {
					t.Errorf("%s must not import %s", name, path)
				}
			}
		}
	}
}

func mayUse(allowed, path string) bool {
	for a := range strings.FieldsSeq(allowed) {
		theirs := strings.Contains(a, ".")
		if path == a || theirs && strings.HasPrefix(path, a+"/") {
			return true
		}
	}
	return false
}

// standard reports whether path is of the standard library: the modules of
// others begin with a host name, ours with the module's name.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.HasPrefix(path, module) && !strings.Contains(first, ".")
}

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T, goos string) []listed {
	t.Helper()
	list := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "./...")
	list.Dir = tree
	list.Env = append(list.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg listed
		if err := d.Decode(&pkg); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, pkg)
	}
}

// What runs before main cannot be given its dependencies, fails without a way
// to say so, and costs every command its time.
func TestNothingRunsBeforeMain(t *testing.T) {
	files := token.NewFileSet()
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != tree && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: a function init", files.Position(f.Pos()))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"telltale/web"
)

// An answer is what the API answered a request.
type answer struct {
	status int
	tag    string // as it stands in the header
	body   string
}

func (a *answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%v of %s", err, a.body)
	}
}

// call sends a request to the API of the server; ifMatch is left out where it is empty.
func (srv *testServer) call(method, path, ifMatch string, body any) answer {
	srv.t.Helper()
	text := []byte(nil)
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			srv.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(srv.t.Context(), method, "http://telltale"+web.Prefix+path, strings.NewReader(string(text)))
	if err != nil {
		srv.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if ifMatch != "" {
		req.Header.Set("If-Match", ifMatch)
	}
	resp, err := newClient(srv.settings()).http.Do(req)
	if err != nil {
		srv.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		srv.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("ETag"), string(got)}
}

func TestOwnRulesAreEditedLineByLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := startTestServer(t, dir, everything(t), "groups: [{name: kids}]\n")
	own := filepath.Join(dir, "lists", "own.txt")
	first := srv.call("GET", "/rules", "", nil)
	var f web.RuleFile
	if first.into(t, &f); first.status != 200 || first.tag == "" || f.Path != own || !f.Own {
		t.Fatalf("got %+v", first)
	}
	put := srv.call("PUT", "/rules", first.tag, web.RuleText{Text: "# mine\nads.example  # no\n@@||ok.example^$client='tv'\n"})
	if put.into(t, &f); put.status != 200 || put.tag == first.tag || len(f.Lines) != 3 || f.Lines[1].Comment != "no" || f.Lines[1].Rules[0].Does != "block" || f.Lines[2].Rules[0].Clients[0] != "tv" {
		t.Fatalf("got %+v", put)
	}
	if got := srv.answerTo("x.ads.example.", "A"); got != "0.0.0.0" {
		t.Errorf("once it is written: got %s", got)
	}

	// Somebody else has the first version still: neither's rules are lost.
	var p web.Problem
	late := srv.call("PUT", "/rules", first.tag, web.RuleText{Text: "other.example\n"})
	if late.into(t, &p); late.status != 412 || p.ETag != strings.Trim(put.tag, `"`) || p.Text == nil || !strings.Contains(*p.Text, "ads.example") {
		t.Errorf("got %+v", late)
	}
	for _, f := range []struct {
		what, method, path, tag string
		body                    any
		status                  int
		want                    string
	}{
		{"a line of a version that is gone", "DELETE", "/rules/2", first.tag, nil, 412, `"text":"# mine\nads.example`},
		{"no version", "DELETE", "/rules/2", "", nil, 428, "If-Match"},
		{"no version of a text", "PUT", "/rules", "", web.RuleText{}, 428, "If-Match"},
		{"a version that is none", "PUT", "/rules", "abc", web.RuleText{}, 422, "double quotes"},
		{"two versions", "PUT", "/rules", `"a", "b"`, web.RuleText{}, 422, "one ETag"},
		{"a comment", "DELETE", "/rules/1", put.tag, nil, 404, "no rule in that line"},
		{"a line that is none", "DELETE", "/rules/9", put.tag, nil, 404, "no rule in that line"},
		{"line 0", "DELETE", "/rules/0", put.tag, nil, 422, "expected number"},
		{"no number", "DELETE", "/rules/x", put.tag, nil, 422, "invalid integer"},
		{"a rule for a version that is gone", "POST", "/rules", first.tag, web.Rule{Name: "x.example", Action: "block"}, 412, "etag"},
		{"no more rules for a name, of a version that is gone", "DELETE", "/rules?name=ads.example", first.tag, nil, 412, "etag"},
		{"a rule of an address that nobody had", "POST", "/rules", put.tag, web.Rule{Name: "y.example", Action: "block", Device: "192.0.2.99"}, 201, "was ever seen: the rule holds for nobody"},
		{"which is removed by the version that is gone with it", "DELETE", "/rules?name=y.example&device=192.0.2.99", put.tag, nil, 412, "etag"},
		{"and without one", "DELETE", "/rules?name=y.example&device=192.0.2.99", "", nil, 200, "removed"},
		{"bad lines", "PUT", "/rules", put.tag, web.RuleText{Text: "a.example\nno rule !\n/(/\n"}, 422, `"mistakes":[{"line":2,"text":"no rule"`},
		{"another directory", "GET", "/rules?file=../telltale.yaml", "", nil, 404, "no file of your own rules"},
		{"a root", "GET", "/rules?file=/etc/passwd", "", nil, 404, "these are: own.txt, groups/kids.txt"},
		{"too much", "PUT", "/rules", put.tag, web.RuleText{Text: strings.Repeat("x", 1<<20+1)}, 422, "expected length"},
		{"a text with NUL", "PUT", "/rules", "*", web.RuleText{Text: "a\x00b"}, 422, "mistakes"},
	} {
		if got := srv.call(f.method, f.path, f.tag, f.body); got.status != f.status || !strings.Contains(got.body, f.want) {
			t.Errorf("%s: got %d %.300s, want %d %s", f.what, got.status, got.body, f.status, f.want)
		}
	}
	if text, _ := os.ReadFile(own); string(text) != "# mine\nads.example  # no\n@@||ok.example^$client='tv'\n" {
		t.Errorf("own.txt is\n%s", text)
	}
	gone := srv.call("DELETE", "/rules/2", put.tag, nil)
	if gone.status != 200 {
		t.Errorf("got %+v", gone)
	}
	if got := srv.answerTo("x.ads.example.", "A"); got != "192.0.2.4" {
		t.Errorf("once it is removed: got %s", got)
	}
	if got := srv.call("POST", "/rules", gone.tag, web.Rule{Name: "ads.example", Action: "block", Comment: "again", Seconds: 60}); got.status != 201 {
		t.Errorf("got %+v", got)
	}
	group := srv.call("GET", "/rules?file=groups/kids.txt", "", nil)
	if got := srv.call("PUT", "/rules?file=groups/kids.txt", group.tag, web.RuleText{Text: "games.example\n"}); got.status != 200 || !strings.Contains(got.body, `"group":"kids"`) {
		t.Errorf("got %+v", got)
	}
	if got := srv.call("PUT", "/rules?keep_bad_lines=true", "*", web.RuleText{Text: "no rule !\n"}); got.status != 200 || !strings.Contains(got.body, `"bad_lines":1`) {
		t.Errorf("a text that is meant as it is: got %+v", got)
	}
	if got := srv.call("GET", "/rules/files", "", nil); !strings.Contains(got.body, `"file":"own.txt"`) || !strings.Contains(got.body, `"file":"groups/kids.txt"`) {
		t.Errorf("got %+v", got)
	}
}

func TestAPreviewSaysWhatARuleWouldChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := startTestServer(t, dir, everything(t), "devices: [{name: tv, address: 127.0.0.1}]\n")
	for _, name := range []string{"ads.example.", "ads.example.", "x.ads.example.", "www.example."} {
		srv.answerTo(name, "A")
	}
	got := srv.call("POST", "/rules/preview", "", web.RuleText{Text: "ads.example\nno rule !\n"})
	var p web.RulePreview
	if got.into(t, &p); got.status != 200 || p.Names != 2 || p.Looked < 3 || len(p.BadLines) != 1 || p.LeftOut != "" {
		t.Fatalf("got %+v", got)
	}
	if n := p.Changed[0]; n.Name != "ads.example" || n.Now != "pass" || n.Then != "block" || n.Lookups != 2 || len(n.Devices) != 1 || n.Devices[0].Name != "tv" {
		t.Errorf("got %+v", n)
	}
	if got := srv.answerTo("ads.example.", "A"); got != "192.0.2.4" {
		t.Errorf("a preview has changed what is answered: got %s", got)
	}
	if got := srv.call("POST", "/rules/preview", "", web.RuleText{Text: "ads.example\n@@||ads.example^$client='tv'\n"}); !strings.Contains(got.body, `"then":"allow"`) {
		t.Errorf("for a client: got %+v", got)
	}
	save(t, filepath.Join(dir, "lists", "mine.txt"), "ads.example\n")
	soon(t, "a list", "422", func() string {
		return strconv.Itoa(srv.call("POST", "/rules/preview?file=mine.txt", "", web.RuleText{Text: ""}).status)
	})
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale/web"
)

// An apiOperation is an operation as the OpenAPI document describes it.
type apiOperation struct {
	method, path, id string
	parameters       []map[string]any
	kind             string         // of the body; "" for none
	body             map[string]any // its schema
}

// A hostileAPI calls the operations of a running server's API, without a network between.
type hostileAPI struct {
	t       *testing.T
	handler http.Handler
	schemas map[string]any
	all     []apiOperation
	seen    map[int]int // calls by status
}

func newHostileAPI(t *testing.T) *hostileAPI {
	t.Helper()
	srv := startTestServer(t, t.TempDir(), everything(t), "devices: [{name: tv, address: 127.0.0.1}]\ngroups: [{name: kids}]\n")
	srv.answerTo("www.example.", "A")
	h := &hostileAPI{t: t, handler: web.Handler(srv.app.apiOptions()), seen: map[int]int{}}
	w := h.send("GET", web.Prefix+"/openapi.json", "", nil)
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string           `json:"operationId"`
			Parameters  []map[string]any `json:"parameters"`
			RequestBody struct {
				Content map[string]struct {
					Schema map[string]any `json:"schema"`
				} `json:"content"`
			} `json:"requestBody"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	h.schemas = document.Components.Schemas
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(document.Paths[path])) {
			op := document.Paths[path][method]
			o := apiOperation{method: strings.ToUpper(method), path: path, id: op.OperationID, parameters: op.Parameters}
			for kind, content := range op.RequestBody.Content {
				o.kind, o.body = kind, content.Schema
			}
			h.all = append(h.all, o)
		}
	}
	if len(h.all) < 40 {
		t.Fatalf("the document has %d operations", len(h.all))
	}
	return h
}

// counted is a body that says how much of it was read.
type counted struct {
	io.Reader
	read int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += int64(n)
	return n, err
}

// send calls an operation for at most a second, and refuses what no answer may be.
func (h *hostileAPI) send(method, target, kind string, body io.Reader) *httptest.ResponseRecorder {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Second)
	defer cancel()
	if body == nil {
		body = http.NoBody
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://telltale"+target, body)
	if err != nil {
		h.t.Fatalf("%s %q: %v", method, target, err)
	}
	r.RequestURI = target
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	w := httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			h.t.Errorf("%s %.300s: panic: %v", method, target, p)
		}
	}()
	h.handler.ServeHTTP(w, r)
	h.seen[w.Code]++
	switch {
	case w.Code == http.StatusInternalServerError:
		h.t.Errorf("%s %.300s: %.300s", method, target, w.Body.String())
	case w.Code >= 400 && w.Code != 404 && w.Code != 405 && w.Header().Get("Content-Type") != "application/problem+json":
		h.t.Errorf("%s %.300s: %d of type %q", method, target, w.Code, w.Header().Get("Content-Type"))
	case w.Body.Len() > 8<<20:
		h.t.Errorf("%s %.300s: %d octets", method, target, w.Body.Len())
	}
	return w
}

// target returns the address of an operation with values for its parameters.
func (o *apiOperation) target(value func(p map[string]any) string) string {
	path, query := o.path, url.Values{}
	for _, p := range o.parameters {
		name := p["name"].(string)
		switch v := value(p); p["in"] {
		case "path":
			path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(v))
		case "query":
			query.Set(name, v)
		}
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// hostileTexts are values of parameters and fields that somebody may try.
var hostileTexts = []string{
	"", "x", "0", "-1", "1e9", "99999999999999999999", "-9223372036854775808", "true", "null", "\x00", "\xff\xfe", "é\u202e\u0000", "../../../etc/passwd", "/etc/passwd", "own.txt", "%00",
	"' OR 1=1 --", "<script>alert(1)</script>", strings.Repeat("a.", 200) + "example", strings.Repeat("x", 5000), "*", `"`, "127.0.0.1", "tv", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
}

// Each line is a body that no operation may stumble over.
func hostileBodies() map[string]string {
	return map[string]string{
		"nothing": "", "null": "null", "a list": "[]", "an object": "{}", "a text": `"x"`, "a number": "1e400", "half": `{"name":"`, "two": "{}{}",
		"deep lists": strings.Repeat("[", 20_000), "deep objects": strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"no UTF-8": "{\"name\":\"\xff\xfe\"}", "a key twice": `{"name":"a","name":"b"}`, "many keys": "{" + strings.TrimSuffix(strings.Repeat(`"a":1,`, 5000), ",") + "}",
		"zeros": strings.Repeat("\x00", 1000), "a proto": `{"__proto__":{"x":1},"constructor":1}`,
	}
}

// No operation has an internal error, or reads without bound, whatever it is asked.
func TestNoOperationStumbles(t *testing.T) {
	t.Parallel()
	h := newHostileAPI(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	bodies := hostileBodies()
	tries := func() bool { return rnd.IntN(6) == 0 || os.Getenv("API_CALLS") != "" } // all would take half a minute
	for _, o := range h.all {
		if o.id == "get-findings" { // it looks at this machine's network
			continue
		}
		plain := o.target(func(map[string]any) string { return "x" })
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FETCH"} {
			if tries() && method != o.method && !slices.ContainsFunc(h.all, func(other apiOperation) bool { return other.path == o.path && other.method == method }) {
				h.send(method, plain, "", nil)
			}
		}
		for _, text := range hostileTexts {
			if tries() && len(o.parameters) > 0 && !strings.Contains(o.id, "stream") {
				h.send(o.method, o.target(func(map[string]any) string { return text }), "", nil)
			}
		}
		if o.kind == "" {
			continue
		}
		for _, what := range slices.Sorted(maps.Keys(bodies)) {
			if tries() {
				h.send(o.method, plain, o.kind, strings.NewReader(bodies[what]))
			}
		}
		for _, kind := range []string{"text/plain", "application/cbor", "application/xml", "multipart/form-data", "application/json; charset=utf-16", "x", "\x7f"} {
			if tries() {
				h.send(o.method, plain, kind, strings.NewReader(`{"name":"x"}`))
			}
		}
		if !tries() {
			continue
		}
		endless := &counted{Reader: io.MultiReader(strings.NewReader(`{"name":"`), zeros{})}
		if w := h.send(o.method, plain, o.kind, endless); w.Code < 400 || endless.read > 20<<20 {
			t.Errorf("%s: a body without end: %d after %d octets", o.id, w.Code, endless.read)
		}
	}
	t.Logf("calls by status: %v", h.seen)
}

// zeros is a text without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// apiCalls is how many calls a run makes: API_CALLS, unless that is not set.
func apiCalls(t *testing.T, unless int) int {
	text := os.Getenv("API_CALLS")
	if text == "" {
		return unless
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("API_CALLS: %v", err)
	}
	return n
}

// Calls that are made of the document at random are refused or answered, and end no server.
func TestCallsMadeOfTheDocument(t *testing.T) {
	t.Parallel()
	h := newHostileAPI(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	slow := []string{"get-findings", "log-in", "set-up", "add-account", "change-passphrase", "rotate-key", "refresh-lists", "ask-destinations", "update-catalogue"}
	all := slices.DeleteFunc(slices.Clone(h.all), func(o apiOperation) bool {
		return slices.Contains(slow, o.id) && os.Getenv("API_CALLS") == "" || o.id == "get-findings" || strings.Contains(o.id, "stream")
	})
	for range apiCalls(t, 200) {
		o := &all[rnd.IntN(len(all))]
		target := o.target(func(p map[string]any) string {
			schema, _ := p["schema"].(map[string]any)
			v := h.value(rnd, schema, 0)
			if text, is := v.(string); is {
				return text
			}
			return fmt.Sprint(v)
		})
		var body io.Reader
		if o.kind != "" {
			text, err := json.Marshal(h.value(rnd, o.body, 0))
			if err != nil {
				t.Fatal(err)
			}
			if rnd.IntN(4) == 0 && len(text) > 0 {
				text[rnd.IntN(len(text))] = byte(rnd.Uint32())
			}
			body = bytes.NewReader(text)
		}
		h.send(o.method, target, o.kind, body)
	}
	t.Logf("calls by status: %v", h.seen)
}

// value returns a value for a schema, most often one that fits.
func (h *hostileAPI) value(rnd *rand.Rand, schema map[string]any, depth int) any {
	if ref, ok := schema["$ref"].(string); ok {
		schema, _ = h.schemas[ref[strings.LastIndexByte(ref, '/')+1:]].(map[string]any)
	}
	odd := []any{nil, true, -1, 1e300, "", []any{}, map[string]any{"x": "y"}, hostileTexts[rnd.IntN(len(hostileTexts))]}
	if rnd.IntN(12) == 0 || depth > 6 {
		return odd[rnd.IntN(len(odd))]
	}
	if words, ok := schema["enum"].([]any); ok {
		return words[rnd.IntN(len(words))]
	}
	kind, _ := schema["type"].(string)
	if kinds, ok := schema["type"].([]any); ok && len(kinds) > 0 {
		kind, _ = kinds[0].(string)
	}
	switch kind {
	case "string":
		if schema["format"] == "date-time" {
			return time.Unix(rnd.Int64N(1<<33), 0).UTC().Format(time.RFC3339)
		}
		return hostileTexts[rnd.IntN(len(hostileTexts))]
	case "integer", "number":
		return []any{0, 1, 2, 60, 1 << 20, -5, int64(1) << 62}[rnd.IntN(7)]
	case "boolean":
		return rnd.IntN(2) == 0
	case "array":
		items, _ := schema["items"].(map[string]any)
		list := []any{}
		for range rnd.IntN(4) {
			list = append(list, h.value(rnd, items, depth+1))
		}
		return list
	case "object":
		fields, _ := schema["properties"].(map[string]any)
		out := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if name == "$schema" || rnd.IntN(5) == 0 {
				continue
			}
			field, _ := fields[name].(map[string]any)
			out[name] = h.value(rnd, field, depth+1)
		}
		return out
	}
	return odd[rnd.IntN(len(odd))]
}

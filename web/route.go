package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// add adds an operation to the API, with what it needs (accessOf). I is a struct whose fields with a tag path, query or
// header are parameters, and whose Body or RawBody, if any, is the request's body. O is the
// body of the response: none for nothing, one with an ETag for tagged, and stream for one that is
// written bit by bit.
//
// This is all that is made anew for each operation. huma.Register is generic throughout, and
// its code for each operation took 30 kB of the program.
func add[I, O any](api huma.API, op huma.Operation, answer func(context.Context, *I) (O, error)) {
	route(api, &op, reflect.TypeFor[I](), reflect.TypeFor[O](), func(ctx context.Context, in any) (any, error) {
		return answer(ctx, in.(*I))
	})
}

// nothing is a request without parameters, or a response without a body.
type nothing struct{}

// with is a request with a body.
type with[T any] struct{ Body T }

// tagged is a response with a body and its ETag, by which a client says in If-Match what it
// means to change.
type tagged[T any] struct {
	ETag string // without quotes
	Body T
}

func (t tagged[T]) tagAndBody() (string, any) { return t.ETag, t.Body }
func (tagged[T]) bodyType() reflect.Type      { return reflect.TypeFor[T]() }

type tagger interface {
	tagAndBody() (tag string, body any)
	bodyType() reflect.Type
}

// A stream writes the body of a response while it is made.
type stream func(huma.Context)

// route is add for types that are known when the program runs. The value that answer is given
// is a pointer to one of type in.
func route(api huma.API, op *huma.Operation, in, out reflect.Type, answer func(context.Context, any) (any, error)) {
	schemas := api.OpenAPI().Components.Schemas
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	request := describeRequest(schemas, op, in)
	describeResponse(schemas, op, out)
	if len(op.Errors) > 0 {
		if request.takesAnything() {
			op.Errors = append(op.Errors, http.StatusUnprocessableEntity)
		}
		op.Errors = append(op.Errors, http.StatusInternalServerError)
	}
	describeErrors(schemas, op)
	needs := accessOf(op)
	if op.Extensions == nil {
		op.Extensions = map[string]any{}
	}
	op.Extensions["x-access"] = needs
	api.OpenAPI().AddOperation(op)

	api.Adapter().Handle(op, func(c huma.Context) {
		if err := permit(c.Context(), op, needs); err != nil {
			respond(api, c, 0, problem(err))
			return
		}
		input := reflect.New(in)
		if refused := request.read(api, c, input.Elem()); refused != nil {
			huma.WriteErr(api, c, refused.status, refused.message, refused.errors...)
			return
		}
		c.SetReadDeadline(time.Time{}) // that of the whole request would end a long answer
		body, err := answer(c.Context(), input.Interface())
		if errors.Is(err, ErrNotInForce) {
			record(c.Context(), api, op, input.Interface(), ", not in force")
		}
		if err != nil {
			respond(api, c, 0, problem(err))
			return
		}
		record(c.Context(), api, op, input.Interface(), "")
		if write, ok := body.(stream); ok {
			write(c)
			return
		}
		if t, ok := body.(tagger); ok {
			var tag string
			tag, body = t.tagAndBody()
			c.SetHeader("ETag", strconv.Quote(tag))
		}
		respond(api, c, op.DefaultStatus, body)
	})
}

// respond writes a response: body, or nothing where it is of type nothing. An error of huma's
// has its status itself.
func respond(api huma.API, c huma.Context, status int, body any) {
	kind := "application/json"
	switch b := body.(type) {
	case nothing:
		c.SetStatus(status)
		return
	case huma.StatusError:
		status = b.GetStatus()
		if f, ok := body.(huma.ContentTypeFilter); ok {
			kind = f.ContentType(kind)
		}
	}
	var text bytes.Buffer // so that what cannot be written is an error and not half a body
	if err := api.Marshal(&text, "application/json", body); err != nil {
		huma.WriteErr(api, c, http.StatusInternalServerError, "the answer cannot be written as JSON", err)
		return
	}
	c.SetHeader("Content-Type", kind)
	c.SetStatus(status)
	c.BodyWriter().Write(text.Bytes()) // a client that is gone hears nothing
}

// A requestType is how requests of an operation are read.
type requestType struct {
	parameters []parameter
	body       []int        // index of the field; none without a body
	raw        bool         // the body is taken as it is
	schema     *huma.Schema // of the body
	defaults   []defaultValue
	most       int64 // octets of a body
	patience   time.Duration
	secret     bool // nothing of a request is told again: it may be a pass phrase at the wrong place
}

// A parameter is a field that is read from the path, the query or a header.
type parameter struct {
	in, name string
	field    []int
	required bool
	unless   string // the value where none is given
	schema   *huma.Schema
}

// A defaultValue is what a field of the body is where it is left out.
type defaultValue struct {
	field []int
	value string
}

// takesAnything reports whether a request can be wrong.
func (t *requestType) takesAnything() bool {
	return len(t.parameters) > 0 || t.body != nil && !t.raw
}

func describeRequest(schemas huma.Registry, op *huma.Operation, in reflect.Type) *requestType {
	t := &requestType{most: op.MaxBodyBytes, patience: 5 * time.Second, secret: hasSecrets(op.Path)}
	for _, f := range reflect.VisibleFields(in) {
		switch {
		case f.Anonymous:
		case f.Name == "Body":
			t.body = f.Index
			t.schema = schemas.Schema(f.Type, true, op.OperationID+"Request")
			t.schema.PrecomputeMessages()
			t.defaults = defaultsOf(f)
			op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: t.schema}}}
		case f.Name == "RawBody":
			t.body, t.raw = f.Index, true
			op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{f.Tag.Get("contentType"): {
				Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"},
			}}}
		default:
			t.parameters = append(t.parameters, parameterOf(schemas, op, f))
		}
	}
	return t
}

// defaultsOf are the defaults of the fields of a body.
func defaultsOf(body reflect.StructField) (all []defaultValue) {
	if body.Type.Kind() != reflect.Struct {
		return nil
	}
	for _, f := range reflect.VisibleFields(body.Type) {
		if value, ok := f.Tag.Lookup("default"); ok {
			if f.Type.Kind() != reflect.String {
				panic("a default of a body's field that is no text: " + f.Name)
			}
			all = append(all, defaultValue{slices.Concat(body.Index, f.Index), value})
		}
	}
	return all
}

// parameterOf reads a field's tags, and describes the parameter.
func parameterOf(schemas huma.Registry, op *huma.Operation, f reflect.StructField) parameter {
	p := parameter{field: f.Index, unless: f.Tag.Get("default")}
	for _, in := range []string{"path", "query", "header"} {
		if name, ok := f.Tag.Lookup(in); ok {
			p.in, p.name = in, name
		}
	}
	if p.in == "" {
		panic("a field of a request that is neither a parameter nor the body: " + f.Name)
	}
	p.required = p.in == "path" || f.Tag.Get("required") == "true"
	p.schema = huma.SchemaFromField(schemas, f, "")
	described := &huma.Param{Name: p.name, In: p.in, Description: p.schema.Description, Required: p.required, Schema: p.schema}
	if p.in == "query" {
		described.Explode = new(bool)
	}
	op.Parameters = append(op.Parameters, described)
	return p
}

// describeResponse describes a successful response.
func describeResponse(schemas huma.Registry, op *huma.Operation, out reflect.Type) {
	status := strconv.Itoa(op.DefaultStatus)
	if op.Responses[status] == nil {
		op.Responses[status] = &huma.Response{Description: http.StatusText(op.DefaultStatus)}
	}
	if t, ok := reflect.Zero(out).Interface().(tagger); ok {
		op.Responses[status].Headers = map[string]*huma.Param{"ETag": {Schema: &huma.Schema{Type: huma.TypeString}}}
		out = t.bodyType()
	}
	if out != reflect.TypeFor[nothing]() && out != reflect.TypeFor[stream]() {
		schema := schemas.Schema(out, true, op.OperationID+"Response")
		op.Responses[status].Content = map[string]*huma.MediaType{"application/json": {Schema: schema}}
	}
}

// describeErrors describes the responses of op.Errors, or that there are errors.
func describeErrors(schemas huma.Registry, op *huma.Operation) {
	kind := huma.ErrorModel{}
	content := map[string]*huma.MediaType{kind.ContentType("application/json"): {Schema: schemas.Schema(reflect.TypeFor[Problem](), true, "Error")}}
	for _, code := range op.Errors {
		op.Responses[strconv.Itoa(code)] = &huma.Response{Description: http.StatusText(code), Content: content}
	}
	if len(op.Errors) == 0 {
		op.Responses["default"] = &huma.Response{Description: "Error", Content: content}
	}
}

// A refusal is what is wrong with a request.
type refusal struct {
	status  int
	message string
	errors  []error
}

const (
	mostErrors = 20  // of a request that an answer tells; a request may have as many as its body has keys
	mostEchoed = 100 // octets of each thing of a request that an error tells again
)

// invalidRequest is the refusal of what was looked at and is wrong. It is small, whatever the
// request was: huma says with each unknown key the whole object that has it.
func (t *requestType) invalidRequest(status int, wrong []error) *refusal {
	more := len(wrong) - mostErrors
	if more > 0 {
		wrong = wrong[:mostErrors:mostErrors]
	}
	for i, err := range wrong {
		var d *huma.ErrorDetail
		if !errors.As(err, &d) {
			continue
		}
		told := huma.ErrorDetail{Message: shortened(d.Message), Location: shortened(d.Location)}
		switch v := d.Value.(type) {
		case bool, float64, int64:
			told.Value = v
		case string:
			if len(v) <= mostEchoed {
				told.Value = v
			}
		}
		if t.secret {
			told.Value = nil
		}
		wrong[i] = &told
	}
	if more > 0 {
		wrong = append(wrong, &huma.ErrorDetail{Message: fmt.Sprintf("and %d more", more)})
	}
	return &refusal{status, "validation failed", wrong}
}

// shortened returns the beginning of a text of a request, where it is long.
func shortened(text string) string {
	if len(text) <= 2*mostEchoed {
		return text
	}
	return strings.ToValidUTF8(text[:2*mostEchoed], "") + "..."
}

// hasSecrets reports whether requests to a path have pass phrases, codes or tokens.
func hasSecrets(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, Prefix+"/"), "/")
	return slices.Contains([]string{"session", "setup", "account", "accounts", "links", "tokens"}, first)
}

// read reads a request into v, and returns what is wrong with it.
func (t *requestType) read(api huma.API, c huma.Context, v reflect.Value) *refusal {
	at, found := huma.NewPathBuffer(make([]byte, 0, 128), 0), &huma.ValidateResult{}
	for i := range t.parameters {
		t.parameters[i].read(api, c, v, at, found)
	}
	if t.body != nil {
		if refused := t.readBody(api, c, v.FieldByIndex(t.body), at, found); refused != nil {
			return refused
		}
	}
	if len(found.Errors) > 0 {
		return t.invalidRequest(http.StatusUnprocessableEntity, found.Errors)
	}
	for _, d := range t.defaults {
		if f := v.FieldByIndex(d.field); f.IsZero() {
			f.SetString(d.value)
		}
	}
	return nil
}

func (p *parameter) read(api huma.API, c huma.Context, v reflect.Value, at *huma.PathBuffer, found *huma.ValidateResult) {
	at.Reset()
	at.Push(p.in)
	at.Push(p.name)
	var text string
	switch p.in {
	case "path":
		text = c.Param(p.name)
	case "query":
		text = c.Query(p.name)
	case "header":
		text = c.Header(p.name)
	}
	if text == "" {
		text = p.unless
	}
	if text == "" {
		if p.required {
			found.Add(at, "", "required "+p.in+" parameter is missing")
		}
		return
	}
	value, err := setText(v.FieldByIndex(p.field), text)
	if err != nil {
		found.Add(at, text, err.Error())
		return
	}
	huma.Validate(api.OpenAPI().Components.Schemas, p.schema, at, huma.ModeWriteToServer, value, found)
}

// setText sets a field to the value that text says, and returns that value.
func setText(f reflect.Value, text string) (any, error) {
	switch f.Kind() {
	case reflect.String:
		f.SetString(text)
		return text, nil
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, errors.New("invalid boolean")
		}
		f.SetBool(b)
		return b, nil
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, f.Type().Bits())
		if err != nil {
			return nil, errors.New("invalid integer")
		}
		f.SetInt(n)
		return n, nil
	case reflect.Slice: // of strings
		all := strings.Split(text, ",")
		f.Set(reflect.ValueOf(all))
		return all, nil
	}
	panic("a parameter of a kind that is not read: " + f.Type().String())
}

// readBody reads a body into f.
func (t *requestType) readBody(api huma.API, c huma.Context, f reflect.Value, at *huma.PathBuffer, found *huma.ValidateResult) *refusal {
	c.SetReadDeadline(time.Now().Add(t.patience)) // not all that answer have one: tests
	body, err := io.ReadAll(io.LimitReader(c.BodyReader(), t.most+1))
	var netErr net.Error
	switch {
	case int64(len(body)) > t.most:
		return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the request's body is larger than %d octets", t.most), nil}
	case errors.As(err, &netErr) && netErr.Timeout():
		return &refusal{http.StatusRequestTimeout, "the request's body did not come in time", nil}
	case err != nil:
		return &refusal{http.StatusBadRequest, "the request's body cannot be read", []error{err}}
	case len(body) == 0:
		return &refusal{http.StatusBadRequest, "request body is required", nil}
	}
	if t.raw {
		f.SetBytes(body)
		return nil
	}
	kind := c.Header("Content-Type")
	if kind == "" {
		kind = "application/json"
	}
	var parsed any
	if err := api.Unmarshal(kind, body, &parsed); err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, huma.ErrUnknownContentType) {
			status = http.StatusUnsupportedMediaType
		}
		return t.invalidRequest(status, append(found.Errors, &huma.ErrorDetail{Location: "body", Message: err.Error()}))
	}
	at.Reset()
	at.Push("body")
	before := len(found.Errors)
	huma.Validate(api.OpenAPI().Components.Schemas, t.schema, at, huma.ModeWriteToServer, parsed, found)
	if len(found.Errors) > before {
		return nil
	}
	if err := api.Unmarshal(kind, body, f.Addr().Interface()); err != nil {
		found.Errors = append(found.Errors, &huma.ErrorDetail{Location: "body", Message: err.Error()})
	}
	return nil
}

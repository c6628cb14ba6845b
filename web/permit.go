package web

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// An Access is what somebody needs in order to call an operation. Each includes those before
// it. The words are in the OpenAPI document (x-access) and never change.
type Access string

const (
	Public Access = "none"  // not even to be logged in: to log in
	Read   Access = "read"  // look at what is known
	Rules  Access = "rules" // say what is blocked: own rules, pauses, searches for what broke
	Admin  Access = "admin" // all else that changes something
)

// Includes reports whether who has a may do what needs b.
func (a Access) Includes(b Access) bool {
	all := []Access{Read, Rules, Admin}
	return slices.Contains(all, b) && slices.Index(all, a) >= slices.Index(all, b)
}

// accessOf returns what an operation needs: all that is read is Read, all that changes something
// is Admin, but for these.
func accessOf(op *huma.Operation) Access {
	switch op.OperationID {
	case "add-rule", "remove-rule", "put-rules", "remove-rule-line", "preview-rules", "check-lists", "query", "pause", "resume", "begin-search", "answer-search", "stop-search", "add-note", "observe-candidate", "end-observing":
		return Rules
	case "get-session", "log-in", "log-out", "set-up", "look-at-link":
		return Public
	case "change-passphrase", "begin-codes", "confirm-codes", "remove-codes", // of one's own account
		"export-evidence": // what is in a bundle may be read
		return Read
	case "get-accounts", "get-tokens":
		return Admin
	}
	if op.Method == http.MethodGet {
		return Read
	}
	return Admin
}

// A Caller is on whose behalf a request is answered.
type Caller struct {
	Name    string   // of the account or token, as the ledger has it
	Access  Access   // what they may do
	Limited bool     // they may see and pause the devices below alone
	Devices []string // identities

	MayPause bool // they may pause blocking for these devices
}

// socketCaller is who asks over the control socket: the server's own user, by a command.
var socketCaller = Caller{Name: "command", Access: Admin}

type callerKey struct{}

// WithCaller returns a context of requests that are answered on behalf of c. Without it,
// requests are those of the control socket, which nobody but the server's own user can open.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns on whose behalf a request is answered.
func CallerOf(ctx context.Context) Caller {
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c
	}
	return socketCaller
}

// isOfSocket reports whether a request came by the control socket.
func isOfSocket(ctx context.Context) bool {
	_, byNetwork := ctx.Value(callerKey{}).(Caller)
	return !byNetwork
}

// Who returns the name of who asks, for lines of the ledger.
func Who(ctx context.Context) string { return CallerOf(ctx).Name }

// IsSocket reports whether it is who asks over the control socket. No account or token has its name.
func (c *Caller) IsSocket() bool { return c.Name == socketCaller.Name }

// MaySee reports whether the caller may see a device, by its identity.
func (c *Caller) MaySee(device string) bool {
	return !c.Limited || slices.Contains(c.Devices, device)
}

// forDevices marks an operation whose function keeps to the devices of the caller. All others
// are refused to callers that are limited to some.
func forDevices(op huma.Operation) huma.Operation {
	op.Extensions = map[string]any{"x-devices": true}
	return op
}

// permit returns why the caller may not call an operation.
func permit(ctx context.Context, op *huma.Operation, needs Access) error {
	c := CallerOf(ctx)
	switch {
	case needs == Public:
		return nil
	case c.Access == "":
		return huma.Error401Unauthorized("nobody is logged in")
	case !c.Access.Includes(needs):
		return huma.Error403Forbidden("this needs the access " + string(needs) + ", and you have " + string(c.Access))
	case c.Limited && op.Extensions["x-devices"] == nil:
		return huma.Error403Forbidden("this is about more than the devices that you may see")
	}
	return nil
}

package acme

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// startAcmeDNS starts a server that takes updates of one account, as acme-dns documents them.
func startAcmeDNS(t *testing.T, status int) (url string, values *[]string) {
	values = new([]string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Subdomain, Txt string }
		switch {
		case status != http.StatusOK:
			http.Redirect(w, r, "/elsewhere", status)
		case r.Method != http.MethodPost || r.URL.Path != "/update":
			w.WriteHeader(http.StatusNotFound)
		case r.Header.Get("X-Api-User") != "user" || r.Header.Get("X-Api-Key") != "password" || json.NewDecoder(r.Body).Decode(&body) != nil || body.Subdomain != "sub":
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"error": "forbidden"}`))
		default:
			*values = append(*values, body.Txt)
			json.NewEncoder(w).Encode(map[string]string{"txt": body.Txt})
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, values
}

func TestAcmeDNS(t *testing.T) {
	url, values := startAcmeDNS(t, http.StatusOK)
	file := filepath.Join(t.TempDir(), "acme-dns.json")
	text := `{"DNS.example": {"server_url": "` + url + `/", "username": "user", "password": "password", "subdomain": "sub", "fulldomain": "sub.auth.example", "allowfrom": []},
		"*.other.example": {"server_url": "` + url + `", "username": "user", "password": "wrong", "subdomain": "sub"}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	accounts, err := ReadAcmeDNS(file)
	if err != nil {
		t.Fatal(err)
	}
	a := AcmeDNS{Accounts: accounts, Agent: "telltale/test"}
	for _, value := range []string{"one", "two"} {
		if err := a.Present(t.Context(), "_acme-challenge.dns.example", value); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.CleanUp(t.Context(), "_acme-challenge.dns.example", "one"); err != nil || !slices.Equal(*values, []string{"one", "two"}) {
		t.Errorf("got %v, %v", *values, err)
	}
	if err := a.Present(t.Context(), "_acme-challenge.other.example", "x"); err == nil || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "forbidden") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong password: %v", err)
	}
	if err := a.Present(t.Context(), "_acme-challenge.none.example", "x"); err == nil {
		t.Error("a name without an account is no error")
	}
	if got := a.Lacks([]string{"dns.example", "*.dns.example", "other.example"}); got != "" {
		t.Errorf("%s is said to have no account", got)
	}
	if got := a.Lacks([]string{"dns.example", "*.none.example"}); got != "*.none.example" {
		t.Errorf("got %q, want the name that has none", got)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAcmeDNS(file); err == nil {
		t.Error("a file that others can read is used")
	}
}

// The password is sent to the one server of the settings.
func TestAcmeDNSFollowsNobody(t *testing.T) {
	url, values := startAcmeDNS(t, http.StatusTemporaryRedirect)
	a := AcmeDNS{Accounts: map[string]AcmeDNSAccount{"dns.example": {Server: url, User: "user", Password: "password", Subdomain: "sub"}}}
	if err := a.Present(t.Context(), "_acme-challenge.dns.example", "x"); err == nil || !strings.Contains(err.Error(), "redirects") || len(*values) > 0 {
		t.Errorf("%v, %v", err, *values)
	}
}

func TestAccountsThatAreNone(t *testing.T) {
	const rest = `"username": "u", "password": "p", "subdomain": "s"}}`
	for _, bad := range []string{
		"", "[]", `{"dns.example": 1}`, `{"dns.example": {` + rest, `{"dns.example": {"server_url": "auth.example", ` + rest,
		`{"dns.example": {"server_url": "http://auth.example", ` + rest, `{"dns.example": {"server_url": "ftp://auth.example", ` + rest,
		`{"dns.example": {"server_url": "https://auth.example", "username": "u", "subdomain": "s"}}`,
	} {
		if got, err := parseAcmeDNS([]byte(bad)); err == nil {
			t.Errorf("%s: got %v", bad, got)
		}
	}
	if got, err := parseAcmeDNS([]byte(`{"dns.example": {"server_url": "https://auth.example", ` + rest)); err != nil || len(got) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

package alert

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale/querylog"
)

func testWay() Way {
	return Way{Dial: new(net.Dialer).DialContext, Agent: "telltale/test", Zone: time.UTC}
}

func testMessage() *Message {
	var all []Alert
	for _, device := range []string{"tv", "Zoë's phone"} {
		all = append(all, Alert{ID: id(FirstLookup, device), Kind: FirstLookup, Time: querylog.Time{Time: noon}, Found: querylog.Time{Time: noon}, Node: "attic", Device: device, Label: device, Vendor: "Acme", Name: "x.example", Text: device + " asked for x.example\n.\n", Command: "telltale log"})
	}
	return newMessage("attic", all, 0, 0, noon)
}

func secretIn(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The values are those that libraries of Standard Webhooks test themselves by.
func TestSignatures(t *testing.T) {
	if got, want := sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAWebhookGetsSignedJSON(t *testing.T) {
	m := testMessage()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		stamp, _ := strconv.ParseInt(r.Header.Get("Webhook-Timestamp"), 10, 64)
		var got Message
		if err := json.Unmarshal(body, &got); err != nil || got.ID != m.ID || len(got.Alerts) != 2 || r.Header.Get("Content-Type") != "application/json" || r.UserAgent() != "telltale/test" {
			t.Errorf("got %s, %v", body, err)
		}
		if r.Header.Get("Webhook-Id") != m.ID || time.Since(time.Unix(stamp, 0)) > time.Minute || r.Header.Get("Webhook-Signature") != sign("horse", m.ID, r.Header.Get("Webhook-Timestamp"), body) {
			t.Errorf("got %v", r.Header)
		}
	}))
	defer server.Close()
	p := NewWebhook(server.URL+"/hidden", secretIn(t, "horse\n"), testWay())
	if err := p.Send(t.Context(), m); err != nil || strings.Contains(p.To, "hidden") {
		t.Errorf("got %v at %s", err, p.To)
	}
}

func TestNtfyGetsAText(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Title") != "Telltale: 2 alerts" || r.Header.Get("Authorization") != "Bearer tk_1" || !strings.Contains(string(body), "Zoë's phone asked for x.example") || len(body) > ntfyMost {
			t.Errorf("got %v\n%s", r.Header, body)
		}
	}))
	defer server.Close()
	if err := NewNtfy(server.URL+"/topic", secretIn(t, "tk_1"), testWay()).Send(t.Context(), testMessage()); err != nil {
		t.Error(err)
	}
	if got := ascii("Zoë\r\nX: y"); got != "Zo???X: y" {
		t.Errorf("got %q", got)
	}
}

func TestSecretsThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "gone"): "no such file or directory", dir: "is a directory", write("empty", "\n", 0o600): "the first line of",
		write("long", strings.Repeat("horse", 1000), 0o600): "at most 4096 octets", write("open", "horse", 0o622): "run chmod 0600",
	} {
		_, err := readSecret("alerts.smtp.password_file", path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "horse") || !strings.HasPrefix(err.Error(), "alerts.smtp.password_file: ") {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if got, err := readSecret("x", write("good", " horse \r\nmore\n", 0o444)); got != "horse" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// A wire is a server that a test speaks for.
func wire(t *testing.T, speak func(conn net.Conn, r *bufio.Reader)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			speak(conn, bufio.NewReader(conn))
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// readMQTT reads a packet's first octet and what is behind its head.
func readMQTT(r *bufio.Reader) (first byte, body []byte, err error) {
	if first, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	length, shift := 0, 0
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		length |= int(b&0x7f) << shift
		if shift += 7; b < 0x80 {
			break
		}
	}
	body = make([]byte, length)
	_, err = io.ReadFull(r, body)
	return first, body, err
}

func TestAServerOfMQTTThatDoesNotTakeIt(t *testing.T) {
	for _, f := range []struct {
		name  string
		speak func(conn net.Conn, r *bufio.Reader)
		want  string
	}{
		{"bad password", func(c net.Conn, r *bufio.Reader) { readMQTT(r); c.Write([]byte{0x20, 2, 0, 5}); readMQTT(r) }, "it refuses the connection: Connection Refused: Not Authorised"},
		{"a code that there is not", func(c net.Conn, r *bufio.Reader) { readMQTT(r); c.Write([]byte{0x20, 2, 0, 99}) }, "it refuses the connection"},
		{"HTTP", func(c net.Conn, r *bufio.Reader) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "does not speak MQTT"},
		{"a length of 268 MB", func(c net.Conn, r *bufio.Reader) { readMQTT(r); c.Write([]byte{0x20, 0xff, 0xff, 0xff, 0x7f}) }, "another length than it may have"},
		{"another packet", func(c net.Conn, r *bufio.Reader) { readMQTT(r); c.Write([]byte{0x40, 2, 0, 1}) }, "its first packet is no CONNACK"},
		{"goes away", func(c net.Conn, r *bufio.Reader) { readMQTT(r); c.Write([]byte{0x20, 2, 0, 0}); readMQTT(r) }, "ends the connection"},
		{"another acknowledgement", func(c net.Conn, r *bufio.Reader) {
			readMQTT(r)
			c.Write([]byte{0x20, 2, 0, 0})
			readMQTT(r)
			c.Write([]byte{0x40, 2, 0, 77})
		}, "does not acknowledge what is published at"},
		{"hangs", func(c net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }, "does not answer in time"},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := NewMQTT(MQTT{Server: "mqtt://" + wire(t, f.speak), Topic: "telltale", Discovery: "homeassistant", Node: "attic", User: "u", PasswordFile: secretIn(t, "horse")}, testWay())
			wantError(t, p, f.want)
		})
	}
}

// wantError sends a message that is not taken.
func wantError(t *testing.T, p Place, want string) {
	t.Helper()
	limit := 20 * time.Second
	if strings.Contains(want, "in time") {
		limit = 200 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := p.Send(ctx, testMessage())
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "horse") {
		t.Errorf("got %v, want %q", err, want)
	}
}

// Home Assistant's documentation of MQTT discovery asks for these.
func TestWhatHomeAssistantIsTold(t *testing.T) {
	o := MQTT{Topic: "home/telltale", Discovery: "homeassistant", Node: "Zoë's attic/1"}
	all, err := o.publications(testMessage(), "telltale/test")
	if err != nil || len(all) != 5 {
		t.Fatalf("got %d, %v", len(all), err)
	}
	var event, sensor map[string]any
	if json.Unmarshal(all[0].body, &event) != nil || json.Unmarshal(all[1].body, &sensor) != nil {
		t.Fatal("no JSON")
	}
	if all[0].topic != "homeassistant/event/telltale_Zo__s_attic_1/alert/config" || !all[0].retain || event["state_topic"] != "home/telltale/alert" || fmt.Sprint(event["event_types"]) != "[test first-lookup went-around coverage destination-moved stopped-telemetry new-heartbeat]" || event["unique_id"] == "" {
		t.Errorf("got %s: %s", all[0].topic, all[0].body)
	}
	if all[1].topic != "homeassistant/sensor/telltale_Zo__s_attic_1/last_alert/config" || !all[1].retain || sensor["state_topic"] != "home/telltale/last" || sensor["json_attributes_topic"] != "home/telltale/last" || sensor["unique_id"] == event["unique_id"] {
		t.Errorf("got %s: %s", all[1].topic, all[1].body)
	}
	for _, i := range []int{2, 3} {
		var got map[string]any
		if json.Unmarshal(all[i].body, &got) != nil || all[i].topic != "home/telltale/alert" || all[i].retain || got["event_type"] != "first-lookup" || got["id"] == "" {
			t.Errorf("got %s: %s", all[i].topic, all[i].body)
		}
	}
	if all[4].topic != "home/telltale/last" || !all[4].retain || !strings.Contains(string(all[4].body), `"count":2`) {
		t.Errorf("got %s: %s", all[4].topic, all[4].body)
	}
	o.Discovery = ""
	if all, err := o.publications(testMessage(), "x"); err != nil || len(all) != 3 {
		t.Errorf("got %d, %v", len(all), err)
	}
}

// speakSMTP answers as lines say: each is for the next command that begins with a word.
func speakSMTP(greeting string, answers ...string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		io.WriteString(c, greeting+"\r\n")
		for _, answer := range answers {
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
			io.WriteString(c, answer+"\r\n")
		}
		io.Copy(io.Discard, r)
	}
}

func TestAServerOfMailThatDoesNotTakeIt(t *testing.T) {
	for _, f := range []struct {
		name  string
		user  string
		clear bool
		speak func(net.Conn, *bufio.Reader)
		want  string
	}{
		{"no encryption", "", false, speakSMTP("220 hi", "250 mail"), "offers no encryption (STARTTLS): nothing was sent"},
		{"no encryption for a password", "u", true, speakSMTP("220 hi", "250-mail\r\n250 AUTH PLAIN"), "the password was not sent"},
		{"it is not for us", "", true, speakSMTP("554 no service for you"), `it says 554 "no service for you"`},
		{"an address that it does not know", "", true, speakSMTP("220 hi", "250 mail", "250 ok", "550 \x1b[31mno such user"), `it takes no mail for b@example.org: it says 550 "\x1b[31mno such user"`},
		{"a mail that it does not want", "", true, speakSMTP("220 hi", "250 mail", "250 ok", "250 ok", "354 go", "452 full"), "it says"},
		{"hangs", "", true, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }, "does not answer in time"},
		{"a line without an end", "", true, func(c net.Conn, _ *bufio.Reader) { c.Write(bytes.Repeat([]byte("2"), 1<<20)) }, "says more than 256 KiB"},
		{"lines without an end", "", true, func(c net.Conn, r *bufio.Reader) {
			io.WriteString(c, "220 hi\r\n")
			r.ReadString('\n')
			c.Write(bytes.Repeat([]byte("250-mail\r\n"), 1<<17))
		}, "says more than 256 KiB"},
		{"HTTP", "", true, speakSMTP("HTTP/1.1 400 Bad Request"), "HTTP/1.1"},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			wantError(t, NewSMTP(SMTP{Server: "smtp://" + wire(t, f.speak), From: "a@example.org", To: []string{"b@example.org"}, User: f.user, PasswordFile: secretIn(t, "horse"), Clear: f.clear}, testWay()), f.want)
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		wantError(t, NewSMTP(SMTP{Server: "smtps://" + ln.Addr().String(), From: "a@example.org", To: []string{"b@example.org"}}, testWay()), "refused")
		wantError(t, NewMQTT(MQTT{Server: "mqtts://" + ln.Addr().String(), Topic: "t"}, testWay()), "refused")
	})
}

func TestAMailIsOne(t *testing.T) {
	m := testMessage()
	m.Alerts = m.Alerts[1:]
	text, err := (&SMTP{From: "a@example.org", To: []string{"b@example.org", "c@example.org"}}).mail(m, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	got, err := mail.ReadMessage(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	to, err := got.Header.AddressList("To")
	if err != nil || len(to) != 2 {
		t.Errorf("got %v, %v", to, err)
	}
	if date, err := got.Header.Date(); err != nil || !date.Equal(noon) {
		t.Errorf("got %v, %v", date, err)
	}
	if id := got.Header.Get("Message-Id"); id != "<"+m.ID+"@example.org>" {
		t.Errorf("got %q", id)
	}
	if s := got.Header.Get("Subject"); !strings.HasPrefix(s, "=?utf-8?q?") {
		t.Errorf("got %q", s)
	}
}

func TestAuthLogin(t *testing.T) {
	l := &login{"u", "horse"}
	user, err1 := l.Next([]byte("Username:"), true)
	password, err2 := l.Next([]byte("Password:"), true)
	if _, err := l.Next([]byte("Shoe size:"), true); err == nil || string(user) != "u" || string(password) != "horse" || errors.Join(err1, err2) != nil {
		t.Errorf("got %s, %s, %v", user, password, err)
	}
}

// A place that takes less than all of a message is told, too, which alerts are not in it.
func TestEachPlaceIsToldWhatWasDropped(t *testing.T) {
	m := testMessage()
	m.More, m.Dropped = 4, 7
	for most := range len(m.Text(time.UTC)) {
		if text := string(short(m, most, time.UTC)); most > 400 && (len(text) > most || !strings.Contains(text, "7 earlier ones were too many") || !strings.Contains(text, "4 more are told")) {
			t.Errorf("in %d octets: %s", most, text)
		}
	}
	o := MQTT{Topic: "home/telltale"}
	all, err := o.publications(m, "x")
	if last := string(all[len(all)-1].body); err != nil || !strings.Contains(last, `"dropped":7`) || !strings.Contains(last, `"more":4`) {
		t.Errorf("got %s, %v", last, err)
	}
}

package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"telltale/evidence/post"
)

// A Way is how places are reached.
type Way struct {
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	TLS   *tls.Config // nil for the system's authorities
	Agent string
	Zone  *time.Location // of texts; nil for the machine's
}

func (w *Way) transport() http.RoundTripper { return post.Transport(w.Dial, w.TLS) }

func (w *Way) zone() *time.Location {
	if w.Zone == nil {
		return time.Local
	}
	return w.Zone
}

// secure makes a connection one of TLS to a server of that name.
func (w *Way) secure(conn net.Conn, host string) *tls.Conn {
	return tls.Client(conn, w.tlsOf(host))
}

func (w *Way) tlsOf(host string) *tls.Config {
	c := &tls.Config{}
	if w.TLS != nil {
		c = w.TLS.Clone()
	}
	c.ServerName = host
	return c
}

// open connects to a server, for as long as ctx lasts.
func (w *Way) open(ctx context.Context, address string) (net.Conn, error) {
	conn, err := w.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if end, ok := ctx.Deadline(); ok {
		conn.SetDeadline(end)
	}
	return conn, nil
}

// inTime says of an error that it is one of time.
func inTime(err error) error {
	var late net.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &late) && late.Timeout():
		return errors.New("it does not answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends the connection")
	}
	return err
}

const maxSecret = 4096 // octets

// readSecret reads the file of a setting: its first line. An error never has what is in it.
func readSecret(setting, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s: others may write %s: run chmod 0600 %[2]s", setting, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSpace(line); line == "" || len(text) > maxSecret {
		return "", fmt.Errorf("%s: the first line of %s is to be the secret, in at most %d octets", setting, path, maxSecret)
	}
	return line, nil
}

// NewLog is the program's own messages.
func NewLog(logger *slog.Logger) Place {
	return Place{Name: "log", To: "the messages of this server", AtOnce: true, Send: func(_ context.Context, m *Message) error {
		for i := range m.Alerts {
			a := &m.Alerts[i]
			logger.Warn("alert: "+a.Text, "kind", a.Kind, "id", a.ID, "see", a.Command)
		}
		return nil
	}}
}

// NewWebhook is a server that a message is posted to as JSON, signed as Standard Webhooks
// 1.0 says with the secret of a file: in base64 behind "whsec_", or any line.
func NewWebhook(url, secretFile string, w Way) Place {
	return Place{Name: "webhook", To: post.Shown(url), Send: func(ctx context.Context, m *Message) error {
		secret, err := readSecret("alerts.webhook.secret_file", secretFile)
		if err != nil {
			return err
		}
		body, err := json.Marshal(m)
		if err != nil {
			return err
		}
		stamp := strconv.FormatInt(time.Now().Unix(), 10)
		p := post.Post{URL: url, Setting: "alerts.webhook.url", Body: body, Transport: w.transport(), Header: http.Header{
			"Content-Type": {"application/json"}, "User-Agent": {w.Agent},
			"Webhook-Id": {m.ID}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {sign(secret, m.ID, stamp, body)},
		}}
		_, err = p.Send(ctx)
		return err
	}}
}

// sign signs a post.
func sign(secret, id, stamp string, body []byte) string {
	key := []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if raw, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			key = raw
		}
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// ntfyMost is the longest text in octets that servers of ntfy take as a message: a longer
// one becomes a file.
const ntfyMost = 4000

// NewNtfy is a topic of a server of ntfy.
func NewNtfy(url, tokenFile string, w Way) Place {
	return Place{Name: "ntfy", To: post.Shown(url), Send: func(ctx context.Context, m *Message) error {
		header := http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "User-Agent": {w.Agent}, "Title": {ascii(m.Title())}, "Tags": {"telltale"}}
		if tokenFile != "" {
			token, err := readSecret("alerts.ntfy.token_file", tokenFile)
			if err != nil {
				return err
			}
			header.Set("Authorization", "Bearer "+token)
		}
		p := post.Post{URL: url, Setting: "alerts.ntfy.url", Body: short(m, ntfyMost, w.zone()), Transport: w.transport(), Header: header}
		_, err := p.Send(ctx)
		return err
	}}
}

// ascii is a text as a header of HTTP may have it.
func ascii(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// short is a message's text in at most so many octets: whole alerts, and how many more
// there are.
func short(m *Message, most int, zone *time.Location) []byte {
	if text := m.Text(zone); len(text) <= most {
		return []byte(text)
	}
	var b bytes.Buffer
	for i := range m.Alerts {
		block := m.Alerts[i].block(zone)
		rest := fmt.Sprintf("and %d more: telltale alerts\n", len(m.Alerts)-i) + m.left()
		if b.Len()+len(block)+len(rest) > most {
			b.WriteString(rest)
			return b.Bytes()
		}
		b.WriteString(block)
	}
	b.WriteString(m.left())
	return b.Bytes()
}

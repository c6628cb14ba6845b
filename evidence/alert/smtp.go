package alert

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"net/textproto"
	"net/url"
	"strings"
	"time"
)

// An SMTP is a server that takes mail, and whom it is from and for.
type SMTP struct {
	Server       string // smtp or smtps, name and port
	From         string
	To           []string
	User         string // "": none
	PasswordFile string
	Node         string
	Clear        bool // it is in one's own network, and may be without TLS
}

// NewSMTP is a server that takes mail.
func NewSMTP(o SMTP, w Way) Place {
	return Place{Name: "smtp", To: o.Server, Send: func(ctx context.Context, m *Message) error {
		return inTime(said(o.send(ctx, &w, m)))
	}}
}

// mostSaid is how many octets a mail server may send in all, with those of TLS: net/smtp has
// no limit for a line.
const mostSaid = 256 << 10

// A mostRead is a connection of which a bounded number of octets is read.
type mostRead struct {
	net.Conn
	left int
}

func (m *mostRead) Read(b []byte) (int, error) {
	if m.left == 0 {
		return 0, fmt.Errorf("it says more than %d KiB: this is no mail server", mostSaid>>10)
	}
	n, err := m.Conn.Read(b[:min(len(b), m.left)])
	m.left -= n
	return n, err
}

// said is an error of a server's answer with a word on whose it is.
func said(err error) error {
	var answer *textproto.Error
	if errors.As(err, &answer) {
		return fmt.Errorf("it says %d %.200q", answer.Code, answer.Msg)
	}
	return err
}

func (o *SMTP) send(ctx context.Context, w *Way, m *Message) error {
	u, err := url.Parse(o.Server)
	if err != nil {
		return errors.New("alerts.smtp.server is not valid")
	}
	host := u.Hostname()
	conn, err := w.open(ctx, net.JoinHostPort(host, cmp.Or(u.Port(), map[string]string{"smtps": "465"}[u.Scheme], "587")))
	if err != nil {
		return err
	}
	defer conn.Close()
	conn = &mostRead{Conn: conn, left: mostSaid}
	if u.Scheme == "smtps" {
		conn = w.secure(conn, host)
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	encrypted := u.Scheme == "smtps"
	if offered, _ := c.Extension("STARTTLS"); offered && !encrypted {
		if err := c.StartTLS(w.tlsOf(host)); err != nil {
			return err
		}
		encrypted = true
	}
	if !encrypted && !o.Clear {
		return errors.New("it offers no encryption (STARTTLS): nothing was sent")
	}
	if err := o.logIn(c, host, encrypted); err != nil {
		return err
	}
	if err := c.Mail(o.From); err != nil {
		return err
	}
	for _, to := range o.To {
		if err := c.Rcpt(to); err != nil {
			return fmt.Errorf("it takes no mail for %s: %w", to, said(err))
		}
	}
	body, err := c.Data()
	if err != nil {
		return err
	}
	text, err := o.mail(m, w.zone())
	if err != nil {
		return err
	}
	if _, err := body.Write(text); err != nil {
		return err
	}
	if err := body.Close(); err != nil {
		return err
	}
	c.Quit() // it has taken it
	return nil
}

// logIn says who we are, in the best way that the server offers.
func (o *SMTP) logIn(c *smtp.Client, host string, encrypted bool) error {
	if o.User == "" {
		return nil
	}
	if !encrypted {
		return errors.New("it offers no encryption (STARTTLS): the password was not sent")
	}
	password := ""
	if o.PasswordFile != "" {
		var err error
		if password, err = readSecret("alerts.smtp.password_file", o.PasswordFile); err != nil {
			return err
		}
	}
	_, ways := c.Extension("AUTH")
	switch ways := strings.Fields(ways); {
	case has(ways, "PLAIN"):
		return c.Auth(smtp.PlainAuth("", o.User, password, host))
	case has(ways, "LOGIN"):
		return c.Auth(&login{o.User, password})
	case has(ways, "CRAM-MD5"):
		return c.Auth(smtp.CRAMMD5Auth(o.User, password))
	}
	return errors.New("it offers no way to log in that is known here (PLAIN, LOGIN, CRAM-MD5): leave out alerts.smtp.user, or use another server")
}

func has(words []string, word string) bool {
	for _, w := range words {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

// A login is AUTH LOGIN, which some servers have alone and net/smtp has not.
type login struct{ user, password string }

func (l *login) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (l *login) Next(question []byte, more bool) ([]byte, error) {
	switch {
	case !more:
		return nil, nil
	case strings.HasPrefix(strings.ToLower(string(question)), "user"):
		return []byte(l.user), nil
	case strings.HasPrefix(strings.ToLower(string(question)), "pass"):
		return []byte(l.password), nil
	}
	return nil, errors.New("it asks for something else than user and password")
}

// mail is a message as RFC 5322 has it.
func (o *SMTP) mail(m *Message, zone *time.Location) ([]byte, error) {
	var b bytes.Buffer
	_, domain, _ := strings.Cut(o.From, "@")
	for _, field := range [][2]string{
		{"From", "Telltale <" + o.From + ">"},
		{"To", strings.Join(o.To, ", ")},
		{"Subject", mime.QEncoding.Encode("utf-8", plain(m.Title()))},
		{"Date", m.Made.In(zone).Format(time.RFC1123Z)},
		{"Message-ID", "<" + m.ID + "@" + domain + ">"}, // the same when it is sent again
		{"Auto-Submitted", "auto-generated"},            // RFC 3834: nobody's absence is to answer it
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", field[0], field[1])
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	_, err := q.Write([]byte(strings.ReplaceAll(m.Text(zone), "\n", "\r\n")))
	return b.Bytes(), errors.Join(err, q.Close())
}

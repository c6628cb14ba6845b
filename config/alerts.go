package config

import (
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// checkAlerts refuses to send alerts in clear through networks of others: they say what
// the devices of a home do.
func (c *Config) checkAlerts(d *decoding) {
	a := &c.Alerts
	first := make(map[string]string)
	for i, word := range a.Tell {
		unique(d, first, word, fmt.Sprintf("alerts.tell[%d]", i), "condition")
	}
	for i, word := range a.AtOnce {
		if key := fmt.Sprintf("alerts.at_once[%d]", i); word != "" && !slices.Contains(a.Tell, word) && !d.wrong(key) {
			d.mistake(key, "found "+quote(word)+", which is not in alerts.tell", "it in alerts.tell, too")
		}
	}
	if n := a.Coverage; (n < 1 || n > 100) && !d.wrong("alerts.coverage") {
		d.mistake("alerts.coverage", fmt.Sprintf("found %d", n), "1 to 100, in percent")
	}
	c.checkWebhook(d)
	if u := encrypted(d, "alerts.ntfy.url", a.Ntfy.URL, "https"); u != nil && strings.Trim(u.Path, "/") == "" {
		d.mistake("alerts.ntfy.url", "no topic", "the topic's URL, such as https://ntfy.example/TOPIC")
	}
	encrypted(d, "alerts.mqtt.server", a.MQTT.Server, "mqtts")
	for _, of := range []struct{ key, value string }{{"alerts.mqtt.topic", a.MQTT.Topic}, {"alerts.mqtt.discovery", a.MQTT.Discovery}} {
		if strings.ContainsAny(of.value, "+#\x00") || strings.HasPrefix(of.value, "/") || strings.HasSuffix(of.value, "/") || strings.HasPrefix(of.value, "$") {
			d.mistake(of.key, "found "+quote(of.value), "a topic without + and #, and no slash at its ends")
		}
	}
	if a.MQTT.Server != "" && a.MQTT.Topic == "" {
		d.mistake("alerts.mqtt.topic", "none", "the topic below which alerts are published, such as telltale")
	}
	if a.MQTT.Password != "" && a.MQTT.User == "" {
		d.mistake("alerts.mqtt.password_file", "no alerts.mqtt.user beside it", "the user whose password it is")
	}
	c.checkMail(d)
}

func (c *Config) checkWebhook(d *decoding) {
	w := &c.Alerts.Webhook
	encrypted(d, "alerts.webhook.url", w.URL, "https")
	if w.URL != "" && w.Secret == "" && !d.wrong("alerts.webhook.secret_file") {
		d.mistake("alerts.webhook.url", "no alerts.webhook.secret_file beside it", "a file with the secret that posts are signed by: head -c 32 /dev/urandom | base64 makes one")
	}
}

func (c *Config) checkMail(d *decoding) {
	m := &c.Alerts.SMTP
	encrypted(d, "alerts.smtp.server", m.Server, "smtps", "smtp") // smtp changes to TLS before anything is sent
	if m.Server != "" {
		if m.From == "" && !d.wrong("alerts.smtp.from") {
			d.mistake("alerts.smtp.from", "none", "the address that mail is from, such as telltale@example.org")
		}
		if len(m.To) == 0 && !d.wrong("alerts.smtp.to") {
			d.mistake("alerts.smtp.to", "none", "the addresses that mail goes to")
		}
	}
	address := func(key, text string) {
		if a, err := mail.ParseAddress(text); text != "" && (err != nil || a.Name != "" || a.Address != text) {
			d.mistake(key, "found "+quote(text), "a mail address such as you@example.org")
		}
	}
	address("alerts.smtp.from", m.From)
	for i, to := range m.To {
		address(fmt.Sprintf("alerts.smtp.to[%d]", i), to)
	}
	if m.Password != "" && m.User == "" {
		d.mistake("alerts.smtp.password_file", "no alerts.smtp.user beside it", "the user whose password it is")
	}
}

// InOwnNetwork reports whether the server is in one's own network by its address or name.
func (m *AlertSMTP) InOwnNetwork() bool {
	u, err := url.Parse(m.Server)
	return err == nil && isOwnHost(u.Hostname())
}

// encrypted makes a URL a mistake that has none of the schemes and does not stay in
// one's own network. It returns the URL; nil for none.
func encrypted(d *decoding, key, text string, schemes ...string) *url.URL {
	u, err := url.Parse(text)
	if text == "" || err != nil {
		return nil
	}
	if !slices.Contains(schemes, u.Scheme) && !isOwnHost(u.Hostname()) {
		d.mistake(key, "found "+quote(withoutPath(text))+": it is not encrypted", schemes[0]+"://; without encryption only an address of your own network (192.168.1.5) or a name that only it has (nas, nas.local, nas.lan)")
	}
	return u
}

// isOwnHost reports whether a host is in one's own network by its address or name.
func isOwnHost(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
	}
	name := "." + strings.ToLower(strings.TrimSuffix(host, "."))
	return strings.Count(name, ".") == 1 || slices.ContainsFunc([]string{".local", ".lan", ".home.arpa", ".internal", ".localhost"}, func(end string) bool { return strings.HasSuffix(name, end) })
}

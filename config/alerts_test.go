package config

import (
	"strings"
	"testing"
)

func TestMistakesOfAlerts(t *testing.T) {
	for _, f := range []struct{ name, text, want string }{
		{"a condition that there is not", "{tell: [first-lokup]}", `1: alerts.tell[0]: found "first-lokup"; expected first-lookup, went-around, coverage, destination-moved, stopped-telemetry or new-heartbeat; did you mean first-lookup?`},
		{"a condition twice", "{tell: [coverage, coverage]}", `1: alerts.tell[1]: found "coverage" a second time, first as alerts.tell[0]; expected each condition once`},
		{"at once what is not told", "{at_once: [coverage]}", `1: alerts.at_once[0]: found "coverage", which is not in alerts.tell; expected it in alerts.tell, too`},
		{"a digest at no time", "{digest: hourly}", `1: alerts.digest: found "hourly"; expected ` + recurrenceShape},
		{"no percentage", "{coverage: 101}", "1: alerts.coverage: found 101; expected 1 to 100, in percent"},
		{"posts that nobody can check", "{webhook: {url: 'https://hooks.example/a'}}", "1: alerts.webhook.url: no alerts.webhook.secret_file beside it; expected a file with the secret that posts are signed by: head -c 32 /dev/urandom | base64 makes one"},
		{"posts in clear", "{webhook: {url: 'http://hooks.example/a', secret_file: s}}", `1: alerts.webhook.url: found "http://hooks.example": it is not encrypted; expected https://; without encryption only an address of your own network (192.168.1.5) or a name that only it has (nas, nas.local, nas.lan)`},
		{"a password in a URL", "{ntfy: {url: 'https://me:secret@ntfy.example/a'}}", `1: alerts.ntfy.url: found "https://***@ntfy.example"; expected an http or https URL without a user and password`},
		{"no topic", "{ntfy: {url: 'https://ntfy.example/'}}", "1: alerts.ntfy.url: no topic; expected the topic's URL, such as https://ntfy.example/TOPIC"},
		{"a server of another kind", "{mqtt: {server: 'tcp://192.168.1.5:1883'}}", `1: alerts.mqtt.server: found "tcp://192.168.1.5:1883"; expected mqtts://NAME:8883, or mqtt://NAME:1883 without encryption`},
		{"a server with a path", "{mqtt: {server: 'mqtt://192.168.1.5/a'}}", `1: alerts.mqtt.server: found "mqtt://192.168.1.5/a"; expected mqtts://NAME:8883, or mqtt://NAME:1883 without encryption`},
		{"a secret topic in clear", "{ntfy: {url: 'http://ntfy.example/s3cr3t?auth=s'}}", `1: alerts.ntfy.url: found "http://ntfy.example": it is not encrypted; expected https://; without encryption only an address of your own network (192.168.1.5) or a name that only it has (nas, nas.local, nas.lan)`},
		{"a secret topic of no scheme", "{ntfy: {url: 'ntfy.example/s3cr3t'}}", `1: alerts.ntfy.url: found "ntfy.example"; expected an http or https URL without a user and password`},
		{"a server in clear elsewhere", "{mqtt: {server: 'mqtt://198.51.100.7'}}", `1: alerts.mqtt.server: found "mqtt://198.51.100.7": it is not encrypted; expected mqtts://; without encryption only an address of your own network (192.168.1.5) or a name that only it has (nas, nas.local, nas.lan)`},
		{"a pattern of topics", "{mqtt: {server: 'mqtt://nas', topic: 'a/#'}}", `1: alerts.mqtt.topic: found "a/#"; expected a topic without + and #, and no slash at its ends`},
		{"a password of nobody", "{mqtt: {server: 'mqtt://nas', password_file: p}}", "1: alerts.mqtt.password_file: no alerts.mqtt.user beside it; expected the user whose password it is"},
		{"a password in the settings", "{mqtt: {password: secret}}", "1: alerts.mqtt.password: there is no such setting; did you mean alerts.mqtt.password_file?"},
		{"mail from and to nobody", "{smtp: {server: 'smtps://mail.example'}}", "1: alerts.smtp.from: none; expected the address that mail is from, such as telltale@example.org\n1: alerts.smtp.to: none; expected the addresses that mail goes to"},
		{"an address with a header in it", `{smtp: {server: 'smtps://mail.example', from: a@example.org, to: ["b@example.org, c@example.org"]}}`, `1: alerts.smtp.to[0]: found "b@example.org, c@example.org"; expected a mail address such as you@example.org`},
		{"an address with a name", `{smtp: {server: 'smtps://mail.example', from: 'Me <a@example.org>', to: b@example.org}}`, `1: alerts.smtp.from: found "Me <a@example.org>"; expected a mail address such as you@example.org`},
	} {
		t.Run(f.name, func(t *testing.T) {
			_, err := build("telltale.yaml", []byte("alerts: "+f.text), nil, nil)
			if err == nil {
				t.Fatal("it is taken")
			}
			if got := strings.ReplaceAll(err.Error(), "telltale.yaml:", ""); got != f.want {
				t.Errorf("got  %s\nwant %s", got, f.want)
			}
		})
	}
	for _, text := range []string{
		"{webhook: {url: 'http://192.168.1.5:8123/api/webhook/a', secret_file: s}, mqtt: {server: 'mqtt://homeassistant.local:1883'}, ntfy: {url: 'http://nas/topic'}}",
		"{tell: coverage, at_once: coverage, smtp: {server: 'smtp://mail.example:587', from: a@example.org, to: [b@example.org, c@example.org]}}",
	} {
		if _, err := build("telltale.yaml", []byte("alerts: "+text), nil, nil); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

package alert

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// An MQTT is a server of MQTT 3.1.1, and where on it alerts are published.
type MQTT struct {
	Server       string // mqtt or mqtts, name and port
	User         string // "": none
	PasswordFile string // "": none
	Topic        string // alerts are at Topic/alert, the last one is retained at Topic/last
	Discovery    string // the prefix by which Home Assistant finds them; "": none
	Node         string
}

// NewMQTT is a server of MQTT. It is connected to for each message: nothing is to be kept
// alive in between, and a message is taken when the server has acknowledged each part of it.
func NewMQTT(o MQTT, w Way) Place {
	return Place{Name: "mqtt", To: o.Server, Send: func(ctx context.Context, m *Message) error {
		all, err := o.publications(m, w.Agent)
		if err != nil {
			return err
		}
		return inTime(o.publish(ctx, &w, m.ID, all))
	}}
}

// A publication is what is published at one topic.
type publication struct {
	topic  string
	retain bool
	body   []byte
}

// An mqttEvent is an alert for subscribers: event_type is what Home Assistant reads.
type mqttEvent struct {
	EventType string `json:"event_type"`
	Alert
}

// lastText is how much of a text is the state of a sensor: Home Assistant takes 255 characters.
const lastText = 250

// A mqttLast is the last alert.
type mqttLast struct {
	State   string `json:"state"`
	Count   int    `json:"count"` // in the message that had it
	More    int    `json:"more,omitempty"`
	Dropped int    `json:"dropped,omitempty"`
	Alert
}

// publications are what a message is on a server: first what Home Assistant finds it by.
func (o *MQTT) publications(m *Message, agent string) (all []publication, err error) {
	add := func(topic string, retain bool, body any) {
		text, failed := json.Marshal(body)
		err = errors.Join(err, failed)
		all = append(all, publication{topic, retain, text})
	}
	if o.Discovery != "" {
		node := "telltale_" + topicWord(o.Node)
		device := map[string]any{"identifiers": []string{node}, "name": "Telltale " + plain(o.Node), "sw_version": agent}
		origin := map[string]any{"name": "Telltale", "sw_version": agent}
		add(o.Discovery+"/event/"+node+"/alert/config", true, map[string]any{
			"name": "Alert", "unique_id": node + "_alert", "state_topic": o.Topic + "/alert", "event_types": append([]string{Test}, Kinds...),
			"icon": "mdi:eye-outline", "device": device, "origin": origin,
		})
		add(o.Discovery+"/sensor/"+node+"/last_alert/config", true, map[string]any{
			"name": "Last alert", "unique_id": node + "_last_alert", "state_topic": o.Topic + "/last", "value_template": "{{ value_json.state }}",
			"json_attributes_topic": o.Topic + "/last", "icon": "mdi:eye-outline", "device": device, "origin": origin,
		})
	}
	for i := range m.Alerts {
		add(o.Topic+"/alert", false, mqttEvent{m.Alerts[i].Kind, m.Alerts[i]}) // one that is retained would happen again at each start of a subscriber
	}
	last := &m.Alerts[len(m.Alerts)-1]
	state := []rune(last.Text)
	add(o.Topic+"/last", true, mqttLast{string(state[:min(len(state), lastText)]), len(m.Alerts), m.More, m.Dropped, *last})
	return all, err
}

// topicWord is a text as one level of a topic of Home Assistant's discovery.
func topicWord(text string) string {
	return strings.Map(func(r rune) rune {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
			return '_'
		}
		return r
	}, text)
}

// publish connects, publishes all at least once each (QoS 1), and ends the connection.
func (o *MQTT) publish(ctx context.Context, w *Way, id string, all []publication) error {
	u, err := url.Parse(o.Server)
	if err != nil {
		return errors.New("alerts.mqtt.server is not valid")
	}
	conn, err := w.open(ctx, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), map[string]string{"mqtts": "8883"}[u.Scheme], "1883")))
	if err != nil {
		return err
	}
	defer conn.Close()
	if u.Scheme == "mqtts" {
		conn = w.secure(conn, u.Hostname())
	}
	c := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	c.ProtocolName, c.ProtocolVersion, c.CleanSession, c.Keepalive = "MQTT", 4, true, 60
	c.ClientIdentifier = "telltale" + strings.TrimPrefix(id, "message-") // at most 23 letters and digits, which every server takes
	c.ClientIdentifier = c.ClientIdentifier[:min(len(c.ClientIdentifier), 23)]
	if o.User != "" {
		c.Username, c.UsernameFlag = o.User, true
	}
	if o.PasswordFile != "" {
		password, err := readSecret("alerts.mqtt.password_file", o.PasswordFile)
		if err != nil {
			return err
		}
		c.Password, c.PasswordFlag = []byte(password), true
	}
	if err := c.Write(conn); err != nil {
		return err
	}
	reply, err := readShort(conn)
	if err != nil {
		return err
	}
	ack, ok := reply.(*packets.ConnackPacket)
	if !ok {
		return errors.New("it does not speak MQTT 3.1.1: its first packet is no CONNACK")
	}
	if ack.ReturnCode != packets.Accepted {
		return fmt.Errorf("it refuses the connection: %s", packets.ConnackReturnCodes[ack.ReturnCode])
	}
	for i := range all {
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.TopicName, p.Payload, p.Retain, p.Qos, p.MessageID = all[i].topic, all[i].body, all[i].retain, 1, uint16(i+1)
		if err := p.Write(conn); err != nil {
			return err
		}
		reply, err := readShort(conn)
		if err != nil {
			return err
		}
		if ack, ok := reply.(*packets.PubackPacket); !ok || ack.MessageID != p.MessageID {
			return fmt.Errorf("it does not acknowledge what is published at %s", p.TopicName)
		}
	}
	packets.NewControlPacket(packets.Disconnect).Write(conn) // all is taken by now
	return nil
}

// readShort reads a packet of a server. All that may come, CONNACK and PUBACK, have two
// octets behind their head: the library would make room for whatever length is said.
func readShort(conn io.Reader) (packets.ControlPacket, error) {
	var b [4]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return nil, err
	}
	if b[1] != 2 {
		return nil, errors.New("it does not speak MQTT 3.1.1: a packet has another length than it may have")
	}
	return packets.ReadPacket(bytes.NewReader(b[:]))
}

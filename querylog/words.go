package querylog

// words are what the numbers of a column mean. The numbers are stored, in the
// store and in the journal: they never change, and none is given a new meaning.
// testdata/numbers.golden holds them.
type words []string

// of returns the word for a number, or "" where there is none: a later version
// wrote it.
func (w words) of(n int64) string {
	if n < 0 || n >= int64(len(w)) {
		return ""
	}
	return w[n]
}

// number returns the number of a word, or -1.
func (w words) number(word string) int64 {
	for n, have := range w {
		if have == word && word != "" {
			return int64(n)
		}
	}
	return -1
}

// The numbers of blocklists.Action, and UnknownVerdict.
var verdictWords = words{0: "pass", 1: "allow", 2: "block", 3: "observe", 4: "answer", 5: "unknown"}

// The numbers of blocklists.Level: how specific an attribution is.
var levelWords = words{0: "", 1: "owner", 2: "list", 3: "rule"}

// The numbers of Source: where an answer came from.
var sourceWords = words{1: "policy", 2: "cache", 3: "upstream", 4: "error", 5: "rebind", 6: "shed", 7: "failure", 8: "stale"}

// The numbers of Transport.
var transportWords = words{1: "udp", 2: "tcp", 3: "tls", 4: "https", 5: "quic"}

// The numbers of devices.Source: what a binding rests on.
var bindingSourceWords = words{1: "configured-mac", 2: "configured-address", 3: "configured-prefix", 4: "neighbour", 5: "bare-address", 6: "this-host", 7: "configured-client-id", 8: "client-id", 9: "lease", 10: "forwarder"}

// The numbers of devices.Confidence.
var confidenceWords = words{1: "low", 2: "medium", 3: "high", 4: "imported"}

// The numbers of blocklists.Class: what kind of rule decided.
var classWords = words{0: "", 1: "own", 2: "important-exception", 3: "important-block", 4: "exception", 5: "block", 6: "special", 7: "list-exception"}

// The numbers of blocklists.ObservedBy: what made a block an observe.
var observedByWords = words{0: "", 1: "list", 2: "schedule", 3: "tier", 4: "device", 5: "group", 6: "pause", 7: "everything", 8: "tcp-only",
	9: "pause-device", 10: "pause-group", 11: "pause-list", 12: "pause-vendor",
	13: "observe", 14: "observe-device", 15: "observe-group", 16: "observe-list", 17: "observe-vendor"}

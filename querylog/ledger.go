package querylog

// Kinds of events that the log itself records. Others come from Log.Report.
const (
	KindStart     = "start"            // a server began to keep the log
	KindStop      = "stop"             // it ended in an orderly way
	KindCrash     = "crash"            // it had ended without notice: nothing was recorded between Since and Until
	KindFailure   = "failure"          // something cannot be written; lookups are counted in memory meanwhile, or their rows not signed
	KindRecovered = "recovered"        // it can be again
	KindLost      = "lost"             // lookups are missing, and how many
	KindFolded    = "folded"           // lookups are counted without their names
	KindStore     = "store"            // a damaged store was set aside
	KindClock     = "clock"            // the clock jumped between Since and Until, or is not trusted
	KindRetention = "retention"        // rows were deleted
	KindMigration = "migration"        // the store of an earlier version is copied, and when it is done
	KindRestored  = "restored"         // the log is a copy made at Since; what came between then and Until is not in it
	KindSuspended = "suspended"        // the process did not run between Since and Until
	KindForgotten = "device-forgotten" // what was recorded of a device was deleted at a person's wish
	KindImported  = "imported"         // lookups that another server logged were added to the log; Since and Until are when they came
	KindSealing   = "sealing"          // from where on the log is sealed, or is not; and which key signs
	KindCopied    = "store-copied"     // a copy of the store goes on elsewhere: this is another one from then on
	KindUnshipped = "unshipped"        // rows were deleted before a centre had them
	KindAttempts  = "attempts"         // how attempts are counted changed; or lookups between Since and Until were each counted as one
)

// Kinds of events by which an experiment is kept, and nothing else is: its name is their
// subject. Package evidence/experiment makes and reads them.
const (
	KindExperimentPlanned   = "experiment-planned"
	KindExperimentStarted   = "experiment-started"
	KindExperimentMarked    = "experiment-marked"
	KindExperimentStopped   = "experiment-stopped"
	KindExperimentCancelled = "experiment-cancelled"
)

// Kinds are all kinds of events that there are, in the order in which
// docs/querylog.md explains them.
var Kinds = []string{
	KindStart, KindStop, KindCrash, KindFailure, KindRecovered, KindLost, KindFolded, KindStore, KindClock, KindSuspended,
	KindRetention, KindForgotten, KindMigration, KindRestored, KindCopied, KindUnshipped, KindImported, KindAttempts, KindSealing,
	"overload",
	"lists-loaded", "list-added", "reload", "reload-failed", "list-failed", "list-held", "list-accepted", kindListRecovered, "catalogue",
	"cache-failed", "cache-damaged",
	"pause", "resume", "observe", "observe-ended", "rule", "rule-ended", "schedule",
	"account", "token", "change",
	"groups-clash", "config-changed", "config-refused", "config-last-good",
	"ech",
	"upstream-up", "upstream-failing", "upstream-down", "upstream-looped", "upstream-self", "upstream-returns", "upstream-none",
	"address-contested", "mac-shared", "bindings-evicted", "bindings-limited", "neighbours-unavailable", "neighbours-lost", "neighbours-back",
	"lease-file", "lease-disagrees", "name-claimed",
	"finding", "finding-over",
	"report-failed",
	"discovery",
	"destination", "destination-moved", "destinations-asked",
	KindExperimentPlanned, KindExperimentStarted, KindExperimentMarked, KindExperimentStopped, KindExperimentCancelled,
}

const kindListRecovered = "list-recovered"

// An Event is one line of the quality ledger, which says where the log has gaps
// and what else bears on how far it can be relied on.
type Event struct {
	Time    Time   `json:"time"`
	Node    string `json:"node"`
	Kind    string `json:"kind"`
	Subject string `json:"subject,omitempty"` // what it is about: a list, a file
	Detail  string `json:"detail,omitempty"`
	Since   Time   `json:"since,omitzero"` // the time it speaks of
	Until   Time   `json:"until,omitzero"`
}

package querylog

// States of the migration of a store of version 1, in meta under "migration".
// They are stored and never change.
const (
	migrationRuns = 1
	migrationDone = 2
)

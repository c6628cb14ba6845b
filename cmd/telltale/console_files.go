package main

import "io/fs"

// consoleFiles returns the files of the console; nil: this program has none.
func consoleFiles() fs.FS { return nil }

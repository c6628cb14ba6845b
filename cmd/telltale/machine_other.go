//go:build !linux

package main

func clockSynced() (synced, known bool) { return false, false }

func freeBytes(path string) (int64, bool) { return 0, false }

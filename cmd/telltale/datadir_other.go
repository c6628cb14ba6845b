//go:build !unix

package main

func checkDataDir(string) error { return nil }

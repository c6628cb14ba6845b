//go:build !unix

package main

func checkDataDir(string) error { return nil }

func checkSameUser(...string) error { return nil }

func giveToOwner(string, string) error { return nil }

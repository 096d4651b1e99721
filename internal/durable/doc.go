// Package durable holds what everything that writes files to last has in
// common: a lock against a second process, folders that keep a new name after
// a power cut, and commits that many callers share. It knows nothing of what
// is written.
package durable

// Package prometheus stands in for the client library.
package prometheus

// MustRegister fills a global registry.
func MustRegister() {}

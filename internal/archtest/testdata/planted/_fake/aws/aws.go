// Package aws stands in for the SDK.
package aws

// Config is a type of the SDK.
type Config struct{}

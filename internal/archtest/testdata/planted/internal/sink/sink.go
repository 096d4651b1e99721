// Package sink is what all sinks may know.
package sink

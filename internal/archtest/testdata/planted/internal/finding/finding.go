// Package finding is innocent.
package finding

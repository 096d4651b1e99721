// Package sqlite stands in for the database driver.
package sqlite

// Package budget is innocent.
package budget

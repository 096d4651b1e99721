// Package unknown stands nowhere in the design.
package unknown

// want: has no place in the design
import _ "fmt"

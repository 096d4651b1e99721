// Package dir knows the other adapter.
package dir

// want: imports example.com/planted/internal/awsapi: an adapter knows pkg alone
import _ "example.com/planted/internal/awsapi"

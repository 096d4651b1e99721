// Package structs has structs that embed and keep what they must not, beside innocent ones.
package structs

import (
	"context"
	"io"
	"sync"

	"example.com/planted/pkg/good"
)

type inner struct{ n int }

type alsoInner inner

type pair[K, V any] struct {
	k K
	v V
}

type reader interface{ io.Reader }

// want: pkg/structs.embedder embeds inner
type embedder struct {
	inner
	m int
}

// want: pkg/structs.pointer embeds alsoInner
type pointer struct{ *alsoInner }

// want: pkg/structs.instance embeds pair
type instance struct{ pair[string, int] }

// want: pkg/structs.nested embeds inner
type nested struct {
	rows []struct{ *inner }
}

// want: pkg/structs.outsider embeds good/Config
type outsider struct{ good.Config }

// want: pkg/structs.local embeds inner
func within() any {
	type local struct{ inner }
	return local{}
}

// plain is an exception of the test.
type plain struct{ inner }

type innocent struct {
	sync.Mutex
	good.Value
	reader
	io.Closer
	inner inner
	one   good.Config
	list  []embedder
}

// want: pkg/structs.keeper keeps a context
type keeper struct {
	n   int
	ctx context.Context
}

// want: pkg/structs.heir keeps a context
type heir struct{ context.Context }

// want: pkg/structs.list keeps a context
type list struct{ all map[string][]context.Context }

type asker struct {
	do     func(ctx context.Context) error
	finder interface {
		Find(ctx context.Context) error
	}
	cancel context.CancelFunc
}

package dir

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Dir is a folder that stands for a bucket. Its methods are those of
// fetch.Objects and safe for concurrent use.
type Dir struct {
	tree   tree
	links  links
	litter *tally // paths that listings left out as litter
}

// Open opens the folder at path. Close it after the last body is closed.
func Open(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open folder %s: %w", path, bare(err))
	}
	t := tree{root}
	return &Dir{tree: t, links: newLinks(t), litter: newTally()}, nil
}

// Close closes the folder.
func (d *Dir) Close() error { return d.tree.root.Close() }

// Litter returns how many paths listings have left out as litter so far. A path
// counts once. The count stops at 100,000.
func (d *Dir) Litter() int { return d.litter.count() }

// Repeats returns how many links listings have left out so far, because they
// follow another link to the same folder. A path counts once. The count stops at
// 100,000.
func (d *Dir) Repeats() int { return d.links.repeats.count() }

// Get opens the file that stands for o. Errors wrap fs.ErrNotExist where there
// is none, or where no file could have such a key. They wrap fs.ErrPermission
// where something is there that may not or must not be read. Where a sidecar
// cannot be read, Get returns the body, no metadata and an error that wraps
// finding.ErrMetadata. Get ignores o.Size. The body ends in ctx's error once ctx
// is done.
func (d *Dir) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("get %s: %w", o, err)
	}
	name, ok := local(o.Key)
	if !ok {
		return nil, nil, fmt.Errorf("get %s: no file can have this key: %w", o, fs.ErrNotExist)
	}
	f, size, err := d.tree.open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("get %s: %w", o, err)
	}
	b := &body{ctx: ctx, file: f, left: size}
	meta, err := d.tree.metadata(name)
	if err != nil {
		return b, nil, fmt.Errorf("get %s: %w", o, err)
	}
	return b, meta, nil
}

// body is an open file that is expected to keep the size it had.
type body struct {
	ctx  context.Context // of the Get that opened it
	file *os.File
	left int64 // bytes until its size is reached
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.file.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		return n, fmt.Errorf("read %s: shorter than when it was opened: %w", b.file.Name(), io.ErrUnexpectedEOF)
	}
	return n, err
}

func (b *body) Close() error { return b.file.Close() }

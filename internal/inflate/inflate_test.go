package inflate_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
)

const limit = 1 << 20

func zip(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// named is a container with every optional part of the header.
func named(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Name, z.Comment, z.Extra = "log.json", "a comment", []byte("extra")
	if _, err := z.Write(b); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32() >> 28) // half a byte: neither constant nor beyond compression
	}
	return b
}

func edit(b []byte, change func([]byte)) []byte {
	b = bytes.Clone(b)
	change(b)
	return b
}

func TestCopy(t *testing.T) {
	// The last one has nothing but the longest matches, some of which begin at
	// the last byte of the room for a piece.
	for _, want := range [][]byte{
		nil, []byte("x"), []byte(`{"Records":[]}`), noise(64<<10 - 1), noise(64 << 10), noise(200_000),
		append([]byte(`{"Re`), bytes.Repeat([]byte("="), 200_000)...),
	} {
		for name, in := range map[string][]byte{"plain header": zip(want), "full header": named(want)} {
			for how, r := range map[string]io.Reader{
				"at once":         bytes.NewReader(in),
				"byte by byte":    iotest.OneByteReader(bytes.NewReader(in)),
				"end with data":   iotest.DataErrReader(bytes.NewReader(in)),
				"end byte by one": iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(in))),
			} {
				var out bytes.Buffer
				sum, n, err := inflate.Copy(&out, r, inflate.Options{Limit: limit})
				if err != nil || !bytes.Equal(out.Bytes(), want) || n != int64(len(want)) || sum != sha256.Sum256(want) {
					t.Errorf("%d bytes, %s, %s: got %d, %s, %v", len(want), name, how, n, sum, err)
				}
			}
		}
		b, sum, err := inflate.Bytes(bytes.NewReader(zip(want)), inflate.Options{Limit: limit})
		if err != nil || !bytes.Equal(b, want) || sum != sha256.Sum256(want) {
			t.Errorf("%d bytes: Bytes: %d, %v", len(want), len(b), err)
		}
		sum, n, err := inflate.Copy(nil, bytes.NewReader(zip(want)), inflate.Options{Limit: limit})
		if err != nil || n != int64(len(want)) || sum != sha256.Sum256(want) {
			t.Errorf("%d bytes, no writer: %d, %v", len(want), n, err)
		}
	}
}

func TestContainerFaults(t *testing.T) {
	good := zip(noise(3000))
	n := len(good)
	le := binary.LittleEndian
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"control", good, nil},
		{"empty", nil, inflate.ErrNotGzip},
		{"one byte", good[:1], inflate.ErrNotGzip},
		{"text", []byte(`{"Records":[]}`), inflate.ErrNotGzip},
		{"zlib", []byte("\x78\x9c\x03\x00\x00\x00\x00\x01"), inflate.ErrNotGzip},
		{"a byte in front", append([]byte{0}, good...), inflate.ErrNotGzip},
		{"magic only", good[:2], inflate.ErrTruncated},
		{"header only", good[:10], inflate.ErrTruncated},
		{"no trailer", good[:n-8], inflate.ErrTruncated},
		{"half a trailer", good[:n-4], inflate.ErrTruncated},
		{"unknown method", edit(good, func(b []byte) { b[2] = 7 }), inflate.ErrCorrupt},
		{"reserved flag", edit(good, func(b []byte) { b[3] = 0x20 }), inflate.ErrCorrupt},
		{"bad block", edit(good, func(b []byte) { b[10] = 0xff }), inflate.ErrCorrupt},
		{"bad CRC", edit(good, func(b []byte) { b[n-8] ^= 1 }), inflate.ErrChecksum},
		{"bad length", edit(good, func(b []byte) { le.PutUint32(b[n-4:], 2999) }), inflate.ErrChecksum},
		{"trailer of zeros", edit(good, func(b []byte) { clear(b[n-8:]) }), inflate.ErrChecksum},
		{"second member", append(bytes.Clone(good), good...), inflate.ErrTrailing},
		{"empty second member", append(bytes.Clone(good), zip(nil)...), inflate.ErrTrailing},
		{"header of a second member", append(bytes.Clone(good), good[:10]...), inflate.ErrTrailing},
		{"text after it", append(bytes.Clone(good), "evidence"...), inflate.ErrTrailing},
		{"one byte after it", append(bytes.Clone(good), 'x'), inflate.ErrTrailing},
		{"one zero after it", append(bytes.Clone(good), 0), inflate.ErrTrailing},
		{"many zeros after it", append(bytes.Clone(good), make([]byte, 100_000)...), inflate.ErrTrailing},
		{"line feed after it", append(bytes.Clone(good), '\n'), inflate.ErrTrailing},
		{"empty first member", append(zip(nil), good...), inflate.ErrTrailing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{bytes.NewReader(tt.in), iotest.OneByteReader(bytes.NewReader(tt.in))} {
				sum, _, err := inflate.Copy(nil, r, inflate.Options{Limit: limit})
				if !errors.Is(err, tt.want) || errors.Is(err, finding.ErrContainer) != (tt.want != nil) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				whole := err == nil || errors.Is(err, inflate.ErrTrailing) || errors.Is(err, inflate.ErrChecksum)
				if whole != (sum != digest.Sum{}) {
					t.Errorf("sum %s beside the error %v", sum, err)
				}
			}
			if b, _, err := inflate.Bytes(bytes.NewReader(tt.in), inflate.Options{Limit: limit}); err != nil && b != nil {
				t.Errorf("%d bytes beside an error", len(b))
			}
		})
	}
}

func TestCutOffAnywhere(t *testing.T) {
	for _, good := range [][]byte{zip([]byte(`{"Records":[]}`)), named(noise(300)), zip(nil)} {
		for i := range len(good) {
			want := inflate.ErrTruncated
			if i < 2 {
				want = inflate.ErrNotGzip
			}
			if _, _, err := inflate.Copy(nil, bytes.NewReader(good[:i]), inflate.Options{Limit: limit}); !errors.Is(err, want) {
				t.Errorf("%d of %d bytes: %v, want %v", i, len(good), err, want)
			}
		}
	}
}

// No changed bit goes unnoticed but in the header's time and flags and in the
// padding of the last block, which say nothing of the content.
func TestEveryBitCounts(t *testing.T) {
	want := noise(300)
	good := zip(want)
	for i := range len(good) * 8 {
		bad := edit(good, func(b []byte) { b[i/8] ^= 1 << (i % 8) })
		b, _, err := inflate.Bytes(bytes.NewReader(bad), inflate.Options{Limit: limit})
		// 13: the trailer, and the length of the empty block that ends the stream.
		if err == nil && (!bytes.Equal(b, want) || i/8 < 3 || i/8 >= 10 && i/8 != len(good)-13) {
			t.Errorf("bit %d of byte %d: accepted", i%8, i/8)
		}
		if err != nil && !errors.Is(err, finding.ErrContainer) {
			t.Errorf("bit %d of byte %d: %v", i%8, i/8, err)
		}
	}
}

// once fails a single time and would then go on, as no reader should.
type once struct{ err error }

func (o *once) Read([]byte) (int, error) {
	err := o.err
	o.err = io.EOF
	return 0, err
}

// withError gives data and error in one call.
type withError struct {
	b   []byte
	err error
}

func (w *withError) Read(p []byte) (int, error) {
	n := copy(p, w.b)
	if w.b = w.b[n:]; len(w.b) == 0 {
		return n, w.err
	}
	return n, nil
}

// An error on the way says nothing about the object, wherever it comes; after
// the member's last byte too, since more might have followed.
func TestReaderErrorsPass(t *testing.T) {
	content := []byte(`{"Records":[{"a":1}]}`)
	for what, good := range map[string][]byte{"gzip": zip(content), "plain": content} {
		for _, fault := range []error{errors.New("connection reset"), io.ErrUnexpectedEOF, fmt.Errorf("read: %w", io.EOF)} {
			for i := range len(good) + 1 {
				for how, r := range map[string]io.Reader{
					"after the data": io.MultiReader(bytes.NewReader(good[:i]), iotest.ErrReader(fault)),
					"with the data":  &withError{bytes.Clone(good[:i]), fault},
					"and goes on":    io.MultiReader(bytes.NewReader(good[:i]), &once{fault}, bytes.NewReader(good[i:])),
					"and ends":       io.MultiReader(bytes.NewReader(good[:i]), &once{fault}),
				} {
					_, _, err := inflate.Copy(nil, r, inflate.Options{Limit: limit, Plain: what == "plain"})
					if !errors.Is(err, fault) || errors.Is(err, finding.ErrContainer) {
						t.Errorf("%s, %v after %d bytes, %s: got %v", what, fault, i, how, err)
					}
				}
			}
		}
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestReaderThatGivesNothing(t *testing.T) {
	good := zip(noise(300))
	for _, i := range []int{0, 1, 5, 10, 100, len(good) - 4, len(good)} {
		_, _, err := inflate.Copy(nil, io.MultiReader(bytes.NewReader(good[:i]), idle{}), inflate.Options{Limit: limit})
		if !errors.Is(err, io.ErrNoProgress) || errors.Is(err, finding.ErrContainer) {
			t.Errorf("after %d bytes: %v", i, err)
		}
	}
}

type defective struct{ io.Reader }

func (d defective) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if err == io.EOF {
		panic("index out of range")
	}
	return n, err
}

// A defect says nothing about the object, and the next one is read.
func TestDefect(t *testing.T) {
	good := zip(noise(200_000)) // read while it is inflated
	_, _, err := inflate.Copy(nil, defective{bytes.NewReader(good[:100_000])}, inflate.Options{Limit: limit})
	if err == nil || errors.Is(err, finding.ErrContainer) || !strings.Contains(err.Error(), "index out of range") {
		t.Errorf("got %v", err)
	}
	if _, _, err := inflate.Copy(nil, bytes.NewReader(good), inflate.Options{Limit: limit}); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

type fullDisk struct {
	room int
	err  error
}

func (f *fullDisk) Write(p []byte) (int, error) {
	if len(p) > f.room {
		return f.room, f.err
	}
	f.room -= len(p)
	return len(p), nil
}

func TestWriterErrorsPass(t *testing.T) {
	in := zip(noise(200_000))
	for _, fault := range []error{errors.New("no space left"), io.ErrUnexpectedEOF, io.EOF} {
		for _, room := range []int{0, 1, 70_000, 199_999} {
			_, _, err := inflate.Copy(&fullDisk{room, fault}, bytes.NewReader(in), inflate.Options{Limit: limit})
			if !errors.Is(err, fault) || errors.Is(err, finding.ErrContainer) {
				t.Errorf("room for %d: %v", room, err)
			}
		}
		if _, _, err := inflate.Copy(&fullDisk{200_000, fault}, bytes.NewReader(in), inflate.Options{Limit: limit}); err != nil {
			t.Errorf("room enough: %v", err)
		}
	}
}

func TestPlain(t *testing.T) {
	text := `{"Records":[]}`
	for _, tt := range []struct {
		name, in, want string
		err            error
	}{
		{"text", text, text, nil},
		{"one byte", "x", "x", nil},
		{"gzip", string(zip([]byte(text))), text, nil},
		{"half of the magic", "\x1f", "\x1f", nil},
		{"empty", "", "", inflate.ErrNotGzip},
		{"gzip cut off", string(zip([]byte(text))[:20]), "", inflate.ErrTruncated},
		{"gzip and more", string(zip([]byte(text))) + "x", "", inflate.ErrTrailing},
		{"magic and text", "\x1f\x8bxyz", "", inflate.ErrTruncated},
		{"too large", strings.Repeat("x", limit+1), "", inflate.ErrTooLarge},
		{"just not too large", strings.Repeat("x", limit), strings.Repeat("x", limit), nil},
	} {
		b, sum, err := inflate.Bytes(strings.NewReader(tt.in), inflate.Options{Limit: limit, Plain: true})
		if !errors.Is(err, tt.err) || string(b) != tt.want || err == nil && sum != sha256.Sum256([]byte(tt.want)) {
			t.Errorf("%s: got %d bytes, %v", tt.name, len(b), err)
		}
	}
}

func TestLimit(t *testing.T) {
	in := zip(noise(100_000))
	for n, ok := range map[int64]bool{0: false, 1: false, 65_536: false, 99_999: false, 100_000: true, 100_001: true} {
		_, _, err := inflate.Copy(nil, bytes.NewReader(in), inflate.Options{Limit: n})
		if ok && err != nil || !ok && !errors.Is(err, inflate.ErrTooLarge) || errors.Is(err, finding.ErrContainer) {
			t.Errorf("limit %d: %v", n, err)
		}
	}
	if _, _, err := inflate.Copy(nil, bytes.NewReader(zip(nil)), inflate.Options{}); err != nil {
		t.Errorf("nothing, limit 0: %v", err)
	}
}

// Neither a bomb nor a large log costs memory beyond the pooled buffers.
func TestConstantMemory(t *testing.T) {
	bomb := zip(make([]byte, 64<<20))
	warm := zip([]byte("x"))
	for _, most := range []int64{limit, 64 << 20} {
		if _, _, err := inflate.Copy(nil, bytes.NewReader(warm), inflate.Options{Limit: 1}); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, err := int64(0), error(nil)
		_, n, err = inflate.Copy(nil, bytes.NewReader(bomb), inflate.Options{Limit: most})
		runtime.ReadMemStats(&after)
		if most == limit && (!errors.Is(err, inflate.ErrTooLarge) || n > limit+64<<10) || most != limit && (err != nil || n != most) {
			t.Errorf("limit %d: read %d, %v", most, n, err)
		}
		// A pool may lose its buffers to the collector: then one set is made.
		if used := after.TotalAlloc - before.TotalAlloc; used > 512<<10 {
			t.Errorf("limit %d: %d bytes allocated", most, used)
		}
	}
}

// Pooled state must never leak from one file into another.
func TestReuse(t *testing.T) {
	good, want := zip(noise(5000)), digest.Sum(sha256.Sum256(noise(5000)))
	bad := [][]byte{good[:100], good[:1], append(bytes.Clone(good), 1), nil, []byte("text"), edit(good, func(b []byte) { b[len(b)-1] ^= 1 })}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				if _, _, err := inflate.Copy(nil, bytes.NewReader(bad[i%len(bad)]), inflate.Options{Limit: limit}); err == nil {
					t.Error("a broken container was accepted")
				}
				if sum, n, err := inflate.Copy(nil, bytes.NewReader(good), inflate.Options{Limit: limit}); err != nil || n != 5000 || sum != want {
					t.Errorf("after %d broken ones: %d, %s, %v", i, n, sum, err)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzCopy holds the reader against the standard library's: the same
// containers, the same bytes, and the same end.
func FuzzCopy(f *testing.F) {
	good := zip([]byte(`{"Records":[]}`))
	f.Add(good)
	f.Add(named([]byte("text")))
	f.Add(zip(noise(2000)))
	f.Add(append(bytes.Clone(good), good...))
	f.Add(append(bytes.Clone(good), 0))
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, in []byte) {
		want, wantErr := standard(in)
		got, sum, err := inflate.Bytes(bytes.NewReader(in), inflate.Options{Limit: limit})
		if errors.Is(err, inflate.ErrTooLarge) {
			if len(want) <= limit {
				t.Errorf("%q: too large at %d bytes", in, len(want))
			}
			return
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, the standard library: %v", in, err, wantErr)
		}
		if err != nil {
			if !errors.Is(err, finding.ErrContainer) {
				t.Errorf("%q: %v", in, err)
			}
			return
		}
		if !bytes.Equal(got, want) || sum != sha256.Sum256(want) {
			t.Errorf("%q: %q, the standard library: %q", in, got, want)
		}
	})
}

// standard reads one member that ends where in ends. Reserved flags, which
// RFC 1952 has a reader refuse, the standard library lets pass.
func standard(in []byte) ([]byte, error) {
	if len(in) > 3 && in[3]&0xe0 != 0 {
		return nil, gzip.ErrHeader
	}
	r := bytes.NewReader(in)
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	b, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil || len(b) > limit {
		return b, err
	}
	if r.Len() > 0 {
		return nil, errors.New("bytes after the member")
	}
	return b, nil
}

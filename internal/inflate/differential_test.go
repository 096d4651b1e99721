package inflate

import (
	"bytes"
	stdflate "compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/klauspost/compress/flate"
)

// TestDifferential holds the inflater against the standard library's and
// klauspost/compress: streams of all kinds of encoders, short ones and such as
// are longer than all buffers, of codes that no encoder would choose, whole and
// damaged, from readers that give pieces of all sizes. All must give the same
// bytes up to the same end, and the standard library's those before an error,
// too. TRAILSEAL_DIFFERENTIAL is the number of streams.
func TestDifferential(t *testing.T) {
	streams := 20_000
	if s := os.Getenv("TRAILSEAL_DIFFERENTIAL"); s != "" {
		var err error
		if streams, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	seed := rand.Uint64()
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), encoders: map[int]encoder{}}
	c := newContest()
	kinds := map[string]int{}
	var whole []byte
	for n := range streams {
		if n%8 == 0 {
			whole = g.stream()
		}
		in := whole
		if n%8 > 0 {
			in = g.damaged(whole)
		}
		kind, err := c.compare(in, &pieces{in, g.Rand, []int{1, 9, 4 << 10, inputBytes - wordBytes, inputBytes, 1 << 20}[g.IntN(6)]})
		if err != "" {
			t.Fatalf("seed %d, stream %d: %x: %s", seed, n, in, err)
		}
		kinds[kind]++
	}
	for _, kind := range []string{"whole", "cut off", "corrupt"} {
		if kinds[kind] < streams/50 {
			t.Errorf("only %d of %d streams are %s", kinds[kind], streams, kind)
		}
	}
	t.Logf("%v", kinds)
}

// contest reads streams with three readers.
type contest struct {
	ours      deflate
	std       io.ReadCloser
	klauspost io.ReadCloser
	out       [3]bytes.Buffer
}

func newContest() *contest {
	return &contest{std: stdflate.NewReader(nil), klauspost: flate.NewReader(nil)}
}

func (c *contest) compare(in []byte, r *pieces) (kind, difference string) {
	const most = 1 << 20
	for i := range c.out {
		c.out[i].Reset()
	}
	ourLeft, ourErr := c.read(r, most)
	var left [2]int
	var errs [2]error
	for i, z := range []io.ReadCloser{c.std, c.klauspost} {
		r := bytes.NewReader(in)
		_ = z.(stdflate.Resetter).Reset(r, nil)
		_, errs[i] = io.Copy(&c.out[i+1], io.LimitReader(z, most))
		left[i] = r.Len()
	}
	if c.out[0].Len() >= most {
		return "large", ""
	}
	ours := c.out[0].Bytes()
	for i, name := range []string{"compress/flate", "klauspost/compress"} {
		theirs := c.out[i+1].Bytes()
		switch {
		case (ourErr == nil) != (errs[i] == nil) && (ourErr == nil || i == 0): // klauspost/compress takes more
			return "", fmt.Sprintf("ours: %v, %s: %v", ourErr, name, errs[i])
		case ourErr == nil && (!bytes.Equal(ours, theirs) || ourLeft != left[i]):
			return "", "other bytes or another end than " + name
		case i == 0 && errs[i] == io.ErrUnexpectedEOF && bytes.HasPrefix(ours, theirs):
			// It wants as many bits as the end of a block has, even of a literal.
		case i == 0 && ourErr != nil && !bytes.Equal(ours, theirs):
			return "", fmt.Sprintf("%d bytes before the error, %s: %d, %v", len(ours), name, len(theirs), errs[i])
		}
	}
	switch ourErr {
	case nil:
		return "whole", ""
	case ErrTruncated:
		return "cut off", ""
	}
	return "corrupt", ""
}

// pieces is a reader that gives at most so many bytes at once.
type pieces struct {
	left []byte
	*rand.Rand
	most int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 1+p.IntN(p.most))], p.left)
	p.left = p.left[n:]
	return n, nil
}

func (c *contest) read(r *pieces, most int) (left int, err error) {
	c.ours.input.reset(r)
	c.ours.reset()
	for err == nil && c.out[0].Len() < most {
		var piece []byte
		piece, err = c.ours.next()
		c.out[0].Write(piece)
	}
	if err == io.EOF {
		err = nil
	}
	return c.ours.end - c.ours.pos + len(r.left), err
}

// generator makes DEFLATE streams.
type generator struct {
	*rand.Rand
	encoders map[int]encoder // by level, and those of klauspost/compress
	w        bitWriter
}

type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

func (g *generator) encoder(w io.Writer) encoder {
	level, maker := g.IntN(12)-2, g.IntN(2)
	e := g.encoders[level*2+maker]
	if e == nil {
		if maker == 0 {
			e, _ = stdflate.NewWriter(w, level)
		} else {
			e, _ = flate.NewWriter(w, level)
		}
		g.encoders[level*2+maker] = e
	}
	e.Reset(w)
	return e
}

func (g *generator) stream() []byte {
	if g.IntN(2) == 0 {
		return g.encoded()
	}
	g.w = bitWriter{}
	if g.IntN(8) == 0 { // or no match could reach far
		g.stored(windowBytes)
	}
	for last := false; !last; {
		last = g.IntN(3) > 0
		g.block(last)
	}
	return g.w.b
}

// encoded is what an encoder makes of some content.
func (g *generator) encoded() []byte {
	content := g.content()
	var out bytes.Buffer
	w := g.encoder(&out)
	for len(content) > 0 {
		n := 1 + g.IntN(len(content))
		_, _ = w.Write(content[:n])
		if content = content[n:]; g.IntN(4) == 0 {
			_ = w.Flush()
		}
	}
	_ = w.Close()
	return out.Bytes()
}

func (g *generator) content() []byte {
	if g.IntN(16) == 0 {
		return g.long()
	}
	b := make([]byte, g.IntN(1<<g.IntN(12)))
	letters := 1 + g.IntN(256)
	for i := range b {
		b[i] = byte(g.IntN(letters))
	}
	for range g.IntN(8) { // repeats, of all distances
		if len(b) > 1 {
			at := 1 + g.IntN(len(b)-1)
			from := g.IntN(at)
			for i := at; i < min(len(b), at+g.IntN(600)); i++ {
				b[i] = b[from+i-at]
			}
		}
	}
	return b
}

// long is content that goes through the window several times, with matches of
// all lengths and distances up to the window's.
func (g *generator) long() []byte {
	b := make([]byte, 0, 300_000)
	most := g.IntN(cap(b))
	for len(b) < most {
		switch from := len(b) - 1 - g.IntN(40_000); {
		case from < 0 || g.IntN(8) == 0:
			for range 1 + g.IntN(1<<g.IntN(8)) {
				b = append(b, byte(g.Uint32()>>g.IntN(8)))
			}
		default:
			for range 1 + g.IntN(1<<g.IntN(13)) {
				b = append(b, b[from])
				from++
			}
		}
	}
	return b[:min(most, len(b))]
}

func (g *generator) damaged(in []byte) []byte {
	in = bytes.Clone(in)
	for range g.IntN(4) {
		if len(in) > 0 {
			in[g.IntN(len(in))] ^= 1 << g.IntN(8)
		}
	}
	switch g.IntN(4) {
	case 0:
		in = in[:g.IntN(len(in)+1)]
	case 1:
		in = append(in, byte(g.IntN(256)), byte(g.IntN(256)))
	}
	return in
}

// block is a block of a code of any widths, with any symbols: hardly an encoder
// would choose such.
func (g *generator) block(last bool) {
	w := &g.w
	w.bits(boolBit(last), 1)
	w.bits(2, 2)
	litLens, offsets := 257+g.IntN(30), 1+g.IntN(30)
	widths := append(g.widths(litLens, 256), g.widths(offsets, -1)...)
	w.bits(litLens-257, 5)
	w.bits(offsets-1, 5)
	w.bits(15, 4)
	g.writeWidths(widths)
	lit, off := codewords(widths[:litLens]), codewords(widths[litLens:])
	for range g.IntN(200) {
		s := g.IntN(litLens)
		if litLens > 257 && g.IntN(2) == 0 {
			s = 257 + g.IntN(litLens-257)
		}
		if widths[s] == 0 || s == 256 {
			continue
		}
		if s < 256 {
			w.code(lit[s], int(widths[s]))
			continue
		}
		o := g.IntN(offsets)
		if widths[litLens+o] == 0 {
			continue
		}
		w.code(lit[s], int(widths[s]))
		w.bits(g.IntN(1<<(litLenMeaning[s]&0xff)), int(litLenMeaning[s]&0xff))
		w.code(off[o], int(widths[litLens+o]))
		w.bits(g.IntN(1<<(offsetMeaning[o]&0xff)), int(offsetMeaning[o]&0xff))
	}
	w.code(lit[256], int(widths[256]))
}

// stored writes a stored block of n bytes.
func (g *generator) stored(n int) {
	g.w.bits(0, 3)
	g.w.n = (g.w.n + 7) &^ 7
	g.w.bits(n|^n<<16, 32)
	for range n {
		g.w.b = append(g.w.b, byte(g.Uint32()))
	}
	g.w.n += 8 * n
}

// writeWidths writes widths in a code in which 13 of the 19 symbols take 4 bits
// and 6 take 5.
func (g *generator) writeWidths(widths []uint8) {
	var own [widthSymbols]uint8
	for s := range own {
		if own[s] = 4; s >= 13 {
			own[s] = 5
		}
	}
	for _, s := range widthOrder {
		g.w.bits(int(own[s]), 3)
	}
	codes := codewords(own[:])
	for i := 0; i < len(widths); {
		run := 1
		for i+run < len(widths) && widths[i+run] == widths[i] {
			run++
		}
		switch {
		case widths[i] == 0 && run >= 11:
			run = min(run, 138)
			g.w.code(codes[18], 5)
			g.w.bits(run-11, 7)
		case widths[i] == 0 && run >= 3:
			run = min(run, 10)
			g.w.code(codes[17], 5)
			g.w.bits(run-3, 3)
		case i > 0 && widths[i-1] == widths[i] && run >= 3:
			run = min(run, 6)
			g.w.code(codes[16], 5)
			g.w.bits(run-3, 2)
		default:
			run = 1
			g.w.code(codes[widths[i]], int(own[widths[i]]))
		}
		i += run
	}
}

// widths are those of a random complete code for n symbols, in which always is
// used; sometimes of an empty one, or of one codeword.
func (g *generator) widths(n, always int) []uint8 {
	w := make([]uint8, n)
	if always < 0 && g.IntN(8) == 0 {
		if g.IntN(2) == 0 {
			w[g.IntN(n)] = 1
		}
		return w
	}
	leaves := []uint8{1, 1}
	for want := 2 + g.IntN(max(1, n-1)); len(leaves) < min(n, want); {
		i := g.IntN(len(leaves))
		if g.IntN(2) == 0 {
			i = len(leaves) - 1 // go deep
		}
		if leaves[i] == maxWidth {
			i = g.IntN(len(leaves))
		}
		if leaves[i] == maxWidth {
			continue
		}
		leaves[i]++
		leaves = append(leaves, leaves[i])
	}
	symbols := g.Perm(n)
	if n == 1 {
		leaves = leaves[:1]
	}
	for i, l := range leaves {
		w[symbols[i]] = l
	}
	if always >= 0 && w[always] == 0 {
		w[always], w[symbols[0]] = w[symbols[0]], 0
	}
	return w
}

// codewords are those of RFC 1951, section 3.2.2.
func codewords(widths []uint8) []int {
	codes := make([]int, len(widths))
	code := 0
	for w := uint8(1); w <= maxWidth; w++ {
		code <<= 1
		for s := range widths {
			if widths[s] == w {
				codes[s] = code
				code++
			}
		}
	}
	return codes
}

type bitWriter struct {
	b []byte
	n int // bits
}

func (w *bitWriter) bits(v, n int) {
	for i := range n {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (w.n % 8)
		w.n++
	}
}

// code writes a codeword, its highest bit first.
func (w *bitWriter) code(v, n int) {
	for i := n - 1; i >= 0; i-- {
		w.bits(v>>i, 1)
	}
}

func boolBit(b bool) int {
	if b {
		return 1
	}
	return 0
}

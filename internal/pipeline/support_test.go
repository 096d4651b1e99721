package pipeline_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
)

// differ returns how two values differ as text, "" where they do not.
func differ(want, got any) string {
	w, g := fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)
	if w == g {
		return ""
	}
	return "- " + w + "\n+ " + g
}

// incompressible returns n bytes that gzip cannot make fewer.
func incompressible(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// stored returns b as gzip without compression, which is fast.
func stored(b []byte) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
	if err == nil {
		_, err = z.Write(b)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err)
	}
	return out.Bytes()
}

package awsapi

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

type clientFunc func(*http.Request) (*http.Response, error)

func (f clientFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// A body is read and closed, and offers nothing else to net/http.
func TestBodiesAreRead(t *testing.T) {
	sent := 0
	c := readOnly{clientFunc(func(r *http.Request) (*http.Response, error) {
		sent++
		if _, writes := r.Body.(io.WriterTo); writes && r.Body != http.NoBody {
			t.Error("the body has a WriteTo")
		}
		if r.Body == nil {
			return nil, nil
		}
		_, err := io.ReadAll(r.Body)
		return nil, err
	})}
	body := struct {
		io.ReadCloser
		io.WriterTo
	}{io.NopCloser(bytes.NewReader([]byte("x"))), bytes.NewReader(nil)}
	for _, b := range []io.ReadCloser{nil, http.NoBody, body} {
		r := &http.Request{Body: b}
		if _, err := c.Do(r); err != nil || b == http.NoBody && r.Body != http.NoBody {
			t.Errorf("%T: %v", b, err)
		}
	}
	if sent != 3 {
		t.Errorf("%d requests sent", sent)
	}
}

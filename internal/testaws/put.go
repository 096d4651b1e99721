package testaws

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
)

// putObject stores the body as it came. A body in the SDK's own encoding of
// chunks is refused, as other servers do.
func (s *Server) putObject(w http.ResponseWriter, r *http.Request, c call) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client has gone
	}
	encoding := r.Header.Get("Content-Encoding")
	if strings.Contains(encoding, "aws-chunked") {
		fail(w, c, apiError{status: 501, code: "NotImplemented", message: "testaws does not read aws-chunked"})
		return
	}
	sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body)))
	if sent := r.Header.Get("X-Amz-Checksum-Crc32"); sent != "" && sent != sum {
		fail(w, c, apiError{status: 400, code: "BadDigest", message: "The CRC32 you specified did not match the calculated checksum."})
		return
	}
	meta := map[string]string{}
	for name, values := range r.Header {
		if name, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-"); ok {
			meta[name] = strings.Join(values, ",")
		}
	}
	s.World.Put(c.bucket, c.key, testtrail.Stored{Body: body, Meta: meta, Encoding: encoding, Modified: time.Now().UTC()})
	w.Header().Set("Etag", etag(body))
	w.Header().Set("X-Amz-Request-Id", requestID)
	w.WriteHeader(http.StatusOK)
}

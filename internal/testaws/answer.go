package testaws

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strconv"
)

// requestID is in every answer, so that the clients' error texts are stable.
const requestID = "TESTTESTTESTTEST"

// apiError is an error as a service reports it.
type apiError struct {
	status        int
	code, message string
	region        string // of a bucket that lies elsewhere
}

// fail writes an error in the way of the service that c asks.
func fail(w http.ResponseWriter, c call, e apiError) {
	if c.json {
		writeJSON(w, e.status, map[string]string{"__type": e.code, "message": e.message})
		return
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if c.bucket == "" && c.op == "GetCallerIdentity" {
		b.WriteString(`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>`)
		element(&b, "Code", e.code)
		element(&b, "Message", e.message)
		b.WriteString(`</Error><RequestId>` + requestID + `</RequestId></ErrorResponse>`)
		writeXML(w, e.status, b.Bytes())
		return
	}
	b.WriteString(`<Error>`)
	element(&b, "Code", e.code)
	element(&b, "Message", e.message)
	if e.region != "" {
		element(&b, "Region", e.region)
	}
	element(&b, "BucketName", c.bucket)
	element(&b, "Key", c.key)
	b.WriteString(`<RequestId>` + requestID + `</RequestId><HostId>testaws</HostId></Error>`)
	writeXML(w, e.status, b.Bytes())
}

func element(b *bytes.Buffer, name, text string) {
	b.WriteByte('<')
	b.WriteString(name)
	b.WriteByte('>')
	if plain(text) {
		b.WriteString(text)
	} else {
		_ = xml.EscapeText(b, []byte(text)) // a bytes.Buffer takes everything
	}
	b.WriteString("</")
	b.WriteString(name)
	b.WriteByte('>')
}

func writeXML(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("X-Amz-Request-Id", requestID)
	write(w, status, "application/xml", body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("X-Amzn-Requestid", requestID)
	write(w, status, "application/x-amz-json-1.1", body)
}

// write sends a whole answer: its length first, then one Write.
func write(w http.ResponseWriter, status int, kind string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone
}

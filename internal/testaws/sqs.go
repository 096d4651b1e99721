package testaws

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBatch is SQS's limit of entries in a request and of received messages.
const maxBatch = 10

// sqsRequest has the members of all requests that are answered.
type sqsRequest struct {
	QueueURL   string `json:"QueueUrl"`
	QueueName  string
	Attributes map[string]string

	MaxNumberOfMessages         *int
	WaitTimeSeconds             int
	VisibilityTimeout           *int
	AttributeNames              []string
	MessageSystemAttributeNames []string

	ReceiptHandle string
	MessageBody   string
	DelaySeconds  int
	Entries       []sqsEntry
}

type sqsEntry struct {
	ID                string `json:"Id"`
	ReceiptHandle     string
	VisibilityTimeout *int
}

// entryError is why SQS refuses one message of a request.
type entryError struct{ code, message string }

// queueOf returns the name of the queue that a request is for, and leaves the
// request's body to be read again.
func queueOf(r *http.Request) string {
	b, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(b))
	var ask sqsRequest
	if err != nil || json.Unmarshal(b, &ask) != nil {
		return ""
	}
	return ask.name()
}

func (ask sqsRequest) name() string {
	if ask.QueueName != "" {
		return ask.QueueName
	}
	return ask.QueueURL[strings.LastIndexByte(ask.QueueURL, '/')+1:]
}

// serveSQS answers SQS in its JSON protocol.
func (s *Server) serveSQS(w http.ResponseWriter, r *http.Request, c call, f Fault) {
	var ask sqsRequest
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		sqsFail(w, c, entryError{"SerializationException", err.Error()})
		return
	}
	if c.op == "CreateQueue" {
		s.createQueue(w, c, ask)
		return
	}
	s.sqs.mu.Lock()
	q := s.sqs.byName[ask.name()]
	s.sqs.mu.Unlock()
	if q == nil {
		w.Header().Set("X-Amzn-Query-Error", "AWS.SimpleQueueService.NonExistentQueue;Sender")
		sqsFail(w, c, entryError{"com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist."})
		return
	}
	switch c.op {
	case "GetQueueUrl":
		writeJSON(w, http.StatusOK, map[string]string{"QueueUrl": q.URL()})
	case "GetQueueAttributes":
		writeJSON(w, http.StatusOK, map[string]any{"Attributes": q.attributes(ask.AttributeNames)})
	case "SendMessage":
		id := q.SendLate(ask.MessageBody, wholeSeconds(ask.DelaySeconds))
		writeJSON(w, http.StatusOK, map[string]string{"MessageId": id, "MD5OfMessageBody": sum(ask.MessageBody)})
	case "ReceiveMessage":
		q.serveReceive(w, r, c, ask, f)
	case "DeleteMessage", "ChangeMessageVisibility":
		if bad := q.apply(c.op, sqsEntry{ReceiptHandle: ask.ReceiptHandle, VisibilityTimeout: ask.VisibilityTimeout}); bad != nil {
			sqsFail(w, c, *bad)
			return
		}
		writeJSON(w, http.StatusOK, struct{}{})
	case "DeleteMessageBatch", "ChangeMessageVisibilityBatch":
		q.serveBatch(w, c, ask, f)
	default:
		sqsFail(w, c, entryError{"UnknownOperationException", "testaws does not do " + c.op})
	}
}

func sqsFail(w http.ResponseWriter, c call, e entryError) {
	fail(w, c, apiError{status: http.StatusBadRequest, code: e.code, message: e.message})
}

func (s *Server) createQueue(w http.ResponseWriter, c call, ask sqsRequest) {
	q := s.Queue(ask.QueueName)
	if v := ask.Attributes["VisibilityTimeout"]; v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			sqsFail(w, c, entryError{"InvalidAttributeValue", "Invalid value for the parameter VisibilityTimeout."})
			return
		}
		q.SetVisibility(wholeSeconds(n))
	}
	if p := ask.Attributes["RedrivePolicy"]; p != "" {
		var policy struct {
			Target string      `json:"deadLetterTargetArn"`
			Max    json.Number `json:"maxReceiveCount"`
		}
		err := json.Unmarshal([]byte(p), &policy)
		n, bad := policy.Max.Int64()
		if err != nil || bad != nil {
			sqsFail(w, c, entryError{"InvalidAttributeValue", "Invalid value for the parameter RedrivePolicy."})
			return
		}
		q.Redrive(s.Queue(policy.Target[strings.LastIndexByte(policy.Target, ':')+1:]), int(n))
	}
	writeJSON(w, http.StatusOK, map[string]string{"QueueUrl": q.URL()})
}

func (q *Queue) attributes(names []string) map[string]string {
	defer q.lock()()
	visible, inFlight, delayed := q.counts()
	all := map[string]string{
		"QueueArn": q.ARN(), "VisibilityTimeout": strconv.Itoa(int(q.visibility / time.Second)),
		"ApproximateNumberOfMessages":           strconv.Itoa(visible),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(inFlight),
		"ApproximateNumberOfMessagesDelayed":    strconv.Itoa(delayed),
	}
	if q.dead != nil {
		all["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, q.dead.ARN(), q.maxReceives)
	}
	for name := range all {
		if !slices.Contains(names, name) && !slices.Contains(names, "All") {
			delete(all, name)
		}
	}
	return all
}

func (q *Queue) serveReceive(w http.ResponseWriter, r *http.Request, c call, ask sqsRequest, f Fault) {
	limit, visibility := 1, (*time.Duration)(nil)
	if ask.MaxNumberOfMessages != nil {
		limit = *ask.MaxNumberOfMessages
	}
	if limit < 1 || limit > maxBatch {
		sqsFail(w, c, entryError{"InvalidParameterValue", "Value for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."})
		return
	}
	if ask.WaitTimeSeconds < 0 || ask.WaitTimeSeconds > 20 {
		sqsFail(w, c, entryError{"InvalidParameterValue", "Value for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."})
		return
	}
	if ask.VisibilityTimeout != nil {
		d := wholeSeconds(*ask.VisibilityTimeout)
		visibility = &d
	}
	if f.Empty {
		writeJSON(w, http.StatusOK, struct{}{})
		return
	}
	asked := func(name string) bool {
		names := ask.MessageSystemAttributeNames
		return slices.Contains(names, name) || slices.Contains(names, "All")
	}
	type message struct {
		MessageID     string `json:"MessageId"`
		ReceiptHandle string
		MD5OfBody     string
		Body          string
		Attributes    map[string]string `json:",omitempty"`
	}
	var list []message
	for _, m := range q.receive(r.Context(), limit, wholeSeconds(ask.WaitTimeSeconds), visibility) {
		attributes := map[string]string{}
		if asked("SentTimestamp") {
			attributes["SentTimestamp"] = strconv.FormatInt(m.sent.UnixMilli(), 10)
		}
		if asked("ApproximateReceiveCount") {
			attributes["ApproximateReceiveCount"] = strconv.Itoa(m.receives)
		}
		list = append(list, message{m.id, m.receipts[len(m.receipts)-1], sum(m.body), m.body, attributes})
	}
	answer := map[string]any{}
	if len(list) > 0 {
		answer["Messages"] = list // SQS leaves it out where there are none
	}
	writeJSON(w, http.StatusOK, answer)
}

// serveBatch answers a batch, of which a fault can have a single entry fail.
func (q *Queue) serveBatch(w http.ResponseWriter, c call, ask sqsRequest, f Fault) {
	ids := map[string]bool{}
	for _, e := range ask.Entries {
		ids[e.ID] = true
	}
	switch n := len(ask.Entries); {
	case n == 0:
		sqsFail(w, c, entryError{"EmptyBatchRequest", "There should be at least one entry in the request."})
		return
	case n > maxBatch:
		sqsFail(w, c, entryError{"TooManyEntriesInBatchRequest", fmt.Sprintf("Maximum number of entries per request are 10. You have sent %d.", n)})
		return
	case len(ids) < n:
		sqsFail(w, c, entryError{"BatchEntryIdsNotDistinct", "An id is repeated."})
		return
	}
	type done struct {
		ID string `json:"Id"`
	}
	type failed struct {
		ID          string `json:"Id"`
		SenderFault bool
		Code        string
		Message     string
	}
	answer := struct {
		Successful []done
		Failed     []failed
	}{[]done{}, []failed{}}
	for i, e := range ask.Entries {
		var bad *entryError
		scripted := f.Entry == i+1
		if !scripted || f.After {
			bad = q.apply(strings.TrimSuffix(c.op, "Batch"), e)
		}
		if scripted {
			bad = &entryError{f.Code, f.Message}
		}
		if bad != nil {
			answer.Failed = append(answer.Failed, failed{e.ID, !scripted, bad.code, bad.message})
		} else {
			answer.Successful = append(answer.Successful, done{e.ID})
		}
	}
	writeJSON(w, http.StatusOK, answer)
}

// apply does op to one message.
func (q *Queue) apply(op string, e sqsEntry) *entryError {
	switch v := e.VisibilityTimeout; {
	case op == "DeleteMessage":
		return q.remove(e.ReceiptHandle)
	case v == nil:
		return &entryError{"MissingParameter", "The request must contain the parameter VisibilityTimeout."}
	case *v < 0 || *v > 43200:
		return &entryError{"InvalidParameterValue", fmt.Sprintf("Value %d for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200.", *v)}
	default:
		return q.hide(e.ReceiptHandle, wholeSeconds(*v))
	}
}

func wholeSeconds(n int) time.Duration { return time.Duration(n) * time.Second }

func sum(body string) string {
	b := md5.Sum([]byte(body))
	return hex.EncodeToString(b[:])
}

package deploy

import (
	"encoding/json"
	"testing"
)

// notifications is the configuration of a bucket's, as the API takes it.
type notifications struct {
	Queues []struct {
		ID       string `json:"Id"`
		QueueArn string
		Events   []string
		Filter   struct {
			Key struct {
				FilterRules []struct{ Name, Value string }
			}
		}
	} `json:"QueueConfigurations"`
	EventBridge *struct{} `json:"EventBridgeConfiguration"`
}

func parseNotifications(t *testing.T, text string) (n notifications) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if len(n.Queues) > 1 || (len(n.Queues) == 1) == (n.EventBridge != nil) {
		t.Fatalf("not one way of delivery: %s", text)
	}
	return n
}

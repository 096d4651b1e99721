// Package notify reads what queues carry: S3's event notifications, plain or
// inside SNS, EventBridge's, CloudTrail's own, and the messages that announce
// nothing. It turns a body into the objects that it names and does nothing
// else: it does no I/O, visits no URL and trusts no name.
//
// Whoever can write to the queue chooses every byte of a body. Buckets and
// keys are therefore only data: the caller compares buckets with its sources
// (Keep) and keys with the grammar of package trail, and what an announced
// object is worth is decided by the digest chain alone.
//
// Fields that are not needed are ignored whatever they hold, since AWS adds
// some; those that are needed must have their documented form, or the whole
// body is ErrUnknown and left for the queue's redrive policy.
package notify

// Package notify reads the bodies of messages that announce objects: event
// notifications of S3, plain or inside SNS, events of EventBridge, CloudTrail's
// own notifications, and the messages that announce nothing.
//
// [Parse] turns a body into the objects that it names. It does no I/O, visits
// no URL and trusts no name. Everyone who can write to the queue chooses every
// byte of a body. So buckets and keys are only data: the caller compares
// buckets with its sources and keys with the grammar of package trail, and the
// digest chain alone decides what an announced object is worth.
//
// AWS adds fields to these bodies, so Parse ignores the fields that it does not
// need, whatever they hold. The fields that it needs must have their documented
// form. Otherwise the whole body is [ErrUnknown] and stays in the queue for its
// redrive policy.
//
// [Delivery] is what a source of announcements, such as package queue, gives to
// a worker. It stands here because both sides know this package and neither
// knows the other.
//
// The forms are documented in these pages of AWS:
//
//   - S3 user guide: notification-content-structure.html, ev-events.html,
//     notification-how-to-event-types-and-destinations.html,
//     lifecycle-configure-notification.html
//   - SNS developer guide: sns-message-and-json-formats.html
//   - CloudTrail user guide: configure-sns-notifications-for-cloudtrail.html
package notify

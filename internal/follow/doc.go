// Package follow decides how far a digest chain has come and what to do next. It
// does no I/O and reads no clock.
//
// A chain is followed from its oldest digest to its newest. Its state is two
// values: the Head says what is done, and the Frontier holds the digests that are
// known and not done. Next looks at the oldest of them, read and judged, and says
// what to do:
//
//	             ┌──────────────────────────────────────────────┐
//	             ▼                                              │
//	Frontier.Oldest ──> read and judge ──> Next ──┬─ WalkBack ──┤ older digests by signed names
//	                                              ├─ List ──────┤ older digests by listing
//	                                              ├─ Again ─────┤ an older digest became known
//	                                              ├─ Skip ──────┤ Frontier.Done
//	                                              ├─ Forget ────┤ Frontier.Done with an error
//	                                              ├─ PassOver ──┤ head stored, Frontier.Done
//	                                              ├─ Quarantine ┤ head stored, Frontier.Done
//	                                              ├─ Emit ──────┘ logs, flush, head stored, Frontier.Done
//	                                              └─ Wait ──> the chain stands, and is tried again later
//
// A name proves nothing. So only a trusted digest moves the head's cursor, or one that the
// operator skips. What lies between the head and the next digest is reported before that
// is emitted.
package follow

// Package verify proves the trails of a bucket or of a folder: it finds the
// digest chains, walks each from its newest digest to its oldest, checks every
// log file that they list, and looks for what no digest lists.
//
//	discover ──> places (prefix, organization, account, region)
//	list     ──> chains (trail, home region) with the ends of their digests
//	walk     ──> each digest: container, place, key, signature, link, window
//	logs     ──> each listed log: place, container, hash        (in parallel)
//	unlisted ──> each object of the log folders: is it listed?
//	explain  ──> each gap: which verified event tells who switched logging off?
//
// A walk is sequential, since each digest vouches for the one before it; what
// it needs is fetched ahead, and the logs are checked beside it.
//
// The package turns facts into findings and reasons into UNVERIFIED. It never
// calls a failure to read tampering, never calls valid what was not read, and
// never lets an object that is not proven steer it: where a digest fails, the
// walk goes on by the names of the listing.
package verify

// Package trail holds the nouns of AWS CloudTrail: trail ARNs, the grammar of
// the keys below AWSLogs/, digest chains, objects, records and events.
//
// It does no I/O but through an io.Reader it is given, knows no cryptography and
// depends on the standard library alone. Nothing in it proves anything: a name
// says where to look, and a record is worth what the log file is worth that it
// is from.
//
// # Words
//
//   - A trail is a configuration of CloudTrail that delivers log files and
//     digest files to a bucket. Its name and its home region are in its [ARN].
//   - An [Object] is one stored file of a bucket or folder. Its key is its name.
//   - A [Place] is where the files of one account and region lie in a bucket.
//   - A log file is an object with records. A [LogKey] is its parsed key.
//   - A digest file is an object that lists the log files of an hour with their
//     hashes. A [DigestKey] is its parsed key.
//   - A digest chain is the sequence of digest files of one trail, account and
//     region. A [Chain] names it.
//   - A record is one entry of a log file: the bytes of one JSON value, as they
//     are in the inflated file. Its number is its index in the file, from 0.
//     [Splitter] cuts a file that is written to it, and [Records] one that it
//     reads.
//   - An event is a record that [CheckRecord] accepts: one JSON object, which
//     every reader understands alike. [Event] reads its members.
//   - An odd record is a record that CheckRecord refuses. It is part of the
//     signed file, so it says nothing about tampering.
//   - A record is too large when it has more than [MaxRecord] bytes. It is
//     counted, and not read.
//   - A [Batch] is some events of one log file as lines to emit.
//
// # Keys
//
// CloudTrail lays a bucket out like this (AWS CloudTrail User Guide, "Finding
// your CloudTrail log files" and "CloudTrail digest file structure"):
//
//	[prefix/]AWSLogs/[o-ID/]ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/
//	  ACCOUNT_CloudTrail_REGION_YYYYMMDDTHHmmZ_UNIQUE.json.gz
//	[prefix/]AWSLogs/[o-ID/]ACCOUNT/CloudTrail-Digest/REGION/YYYY/MM/DD/
//	  ACCOUNT_CloudTrail-Digest_REGION_TRAIL_HOMEREGION_YYYYMMDDTHHMMSSZ[_backfill].json.gz
//
// An organization trail adds the organization id. A trail name may hold
// underscores and even look like a region, so keys are parsed from both ends
// and never by a greedy pattern.
//
// # Records
//
// A log file is {"Records":[...]} or, of aggregated events, a list of records. A
// Splitter reads each record once, to find its end and to check it.
package trail

// Package trail holds the nouns of AWS CloudTrail: trail ARNs, the grammar of
// the keys below AWSLogs/, digest chains, objects and records.
//
// It owns names and their text forms and nothing else: it does no I/O but
// through an io.Reader it is given, knows no cryptography and depends on the
// standard library alone.
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
package trail

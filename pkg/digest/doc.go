// Package digest is the format of CloudTrail's digest files and the checks
// that a digest chain allows. It parses, compares and verifies; it never
// fetches, never inflates and never decides what a failed check means.
//
// # The format on one page
//
// Once an hour CloudTrail writes, for each account and region of a trail with
// log file validation, a digest file: one JSON object that lists every log
// file delivered in that hour with the SHA-256 of its inflated bytes.
//
//	{
//	  "awsAccountId": "111122223333",
//	  "digestStartTime": "2026-03-01T11:08:11Z",     window, in delivery time
//	  "digestEndTime": "2026-03-01T12:08:11Z",
//	  "digestS3Bucket": "trail-bucket",              its own original location
//	  "digestS3Object": "AWSLogs/111122223333/CloudTrail-Digest/...json.gz",
//	  "digestPublicKeyFingerprint": "31e8...",       MD5 of the key's DER bytes
//	  "digestSignatureAlgorithm": "SHA256withRSA",
//	  "newestEventTime": "...", "oldestEventTime": "...",    null without logs
//	  "previousDigestS3Bucket": "trail-bucket",      all five null in a
//	  "previousDigestS3Object": "AWSLogs/...",       starting digest
//	  "previousDigestHashValue": "ed96...",          SHA-256 of its inflated bytes
//	  "previousDigestHashAlgorithm": "SHA-256",
//	  "previousDigestSignature": "8270...",
//	  "logFiles": [ {"s3Bucket", "s3Object", "hashValue", "hashAlgorithm": "SHA-256",
//	                 "newestEventTime", "oldestEventTime"} ]
//	}
//
// The object is stored gzipped. Its signature, hex, is user metadata of the
// object ("signature", with "signature-algorithm"), and again the successor's
// previousDigestSignature. Signed, with RSASSA-PKCS1-v1_5 and SHA-256, is the
// string to sign: four lines without a line feed at the end,
//
//	digestEndTime
//	digestS3Bucket/digestS3Object
//	hex SHA-256 of the inflated digest bytes
//	previousDigestSignature, or the word null
//
// The public key is one of those that CloudTrail lists for the region
// (ListPublicKeys). All customers of a region share its keys, so a good
// signature says "CloudTrail in this region signed this", and not "for this
// account": that is what CheckLocation is for.
//
// Sources: AWS CloudTrail User Guide, "CloudTrail digest file structure" and
// "Custom implementations of CloudTrail log file integrity validation".
package digest

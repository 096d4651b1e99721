// Package dir reads a folder as if it were a bucket: a mirror that
// `aws s3 sync` made, an evidence disk, a USB stick. A file's path below the
// folder is its key, and the folder stands for whatever bucket is asked for.
//
// It never opens anything outside the folder, whatever keys and symbolic links
// say, never waits on a pipe or touches a device, never writes and never looks
// into an object's bytes.
//
// # Links and special files
//
// A relative link that stays inside the folder is followed. One that leaves
// it, leads nowhere or leads to a folder that holds it is neither followed nor
// passed over: List yields it as an object, Folders as a folder (nobody knows
// which it is), and whoever then looks into it gets an error that wraps
// fs.ErrPermission. Pipes, sockets and devices are objects of the same sort. So
// nothing that was put in a log file's place reads as its absence.
//
// # Metadata
//
// A plain copy has lost its objects' user metadata, and with it the signature
// of the newest digest (each older one is repeated by its successor). A
// sidecar next to an object can keep it: the file KEY.metadata.json with the
// JSON that `aws s3api head-object` prints, of which only Metadata is read:
//
//	{"Metadata": {"signature": "6a2f...", "signature-algorithm": "SHA256withRSA"}}
//
// A sidecar is at most 64 KiB. One that is there and cannot be read or parsed
// is an error of its object, never taken for an absent one. List leaves a
// sidecar out where its object is there; Get opens it by its own key all the
// same.
package dir

// Package dir reads a folder as if it were a bucket: a mirror that
// `aws s3 sync` made, an evidence disk, a USB stick. A file's path below the
// folder is its key, and the folder stands for any bucket that is asked for.
//
// The package never opens a file outside the folder, whatever keys and
// symbolic links say. It never waits on a pipe, touches a device or writes. It
// reads the content of a file in three cases only: Get, a file whose name is that
// of litter, and a sidecar.
//
// # Links and special files
//
// A relative link that stays inside the folder is followed. A link is broken if
// it leaves the folder, leads nowhere, or if more than eight links lie on its
// path. List yields a broken link as an object,
// Children as a folder, because its kind is not known. A call that looks into it
// returns an error that wraps fs.ErrPermission. Pipes, sockets and devices are
// objects of the same sort. So an object that was put in a log file's place does
// not read as its absence.
//
// List and Children enter a folder through one link at most. Otherwise links
// that fan out from folder to folder would have paths without number. The
// followed link is the first that leads to the folder in a walk of the whole
// tree in the order of the keys. The walk itself enters each folder through one
// link at most, so nested links count too. The followed link does not depend on
// what was asked before, or on concurrent calls. It changes only with the tree.
// Listings leave out the other links to the folder, links to a folder that holds
// them, and what lies below such links. Repeats counts them.
//
// A link inside the folder leads to something inside the folder. So every file is
// listed at its own path, and once more for each followed link that leads to a
// folder above it. A link that is left out hides another name, but not a file.
// Get opens a key through any link that is not broken: if a digest in one of two
// linked trees lists a log, the log is found there.
//
// # Litter
//
// Desktops and file systems leave files behind that belong to no bucket:
// .DS_Store, ._*, Thumbs.db, desktop.ini, and all files below lost+found,
// .Trash*, System Volume Information, $RECYCLE.BIN, .Spotlight-V100, .fseventsd
// and .TemporaryItems. Case does not count. List and Children leave such a file
// out, unless it begins like gzip or JSON: then it can be evidence. They also
// leave out such a file or folder if it cannot be read. Litter counts what was
// left out. A link or special file of such a name is listed as any other. Get
// opens each of them by its key.
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
// Where `gunzip -r` made X.json of X.json.gz, the sidecar of either name is that
// of X.json. Two that say different things are an error.
//
// A sidecar is at most 64 KiB. If a sidecar cannot be read or parsed, Get returns
// the content of its object with an error that wraps finding.ErrMetadata. Such a
// sidecar is never taken for an absent one.
//
// List and Children leave a sidecar out where its object is there. They read it
// first: a file that cannot be read, that has no Metadata or that has Records is
// an object. Get opens a sidecar by its own key all the same.
package dir

package archtest

// exceptions are the violations of Structs that the module has, each with its reason. The list
// only shrinks: where a type has fewer methods, its number follows, and where it breaks no
// rule any more, its line goes.
var exceptions = map[string]string{
	// Values of plain data: a value is what it embeds, and more.
	"internal/follow.Candidate embeds Known":            "a value: a known digest, read and judged",
	"pkg/chain.Step embeds Ref":                         "a value: a name of a digest, read and judged",
	"pkg/finding.Finding embeds Subject":                "a value of the output: the members of Subject are its own",
	"pkg/finding.Note embeds Subject":                   "a value of the output: the members of Subject are its own",
	"pkg/finding.Unverified embeds Subject":             "a value of the output: the members of Subject are its own",
	"pkg/trail.Chain embeds Place":                      "a value: a place, and what is named there",
	"pkg/trail.DigestKey embeds Chain":                  "a value: a chain, and one digest of it",
	"pkg/trail.LogKey embeds Place":                     "a value: a place, and one log file there",
	"internal/follow.Head has 20 methods, more than 15": "a value without a dependency: questions, and changed copies",
	"pkg/trail.Event has 34 methods, more than 15":      "a value: one method reads one member of a record",

	// Readers and iterators of one call, whose methods cannot be given its context.
	"internal/awsapi.body keeps a context":            "an io.Reader of one Get",
	"internal/dir.body keeps a context":               "an io.Reader of one Get",
	"internal/dir.listing keeps a context":            "the iterator of one List",
	"internal/fetch.Calls keeps a context":            "the calls of one owner, who cancels them",
	"internal/validatelogs.readAhead keeps a context": "the reads ahead of one walk, which stops them",

	// The tables of a decoder, for its speed. Only internal/inflate sees them.
	"internal/inflate.deflate embeds input":    "the bits that the decoder reads",
	"internal/inflate.header embeds input":     "the bits that the header is read from",
	"internal/inflate.inflater embeds deflate": "a decoder and the hash of what it reads",

	// To be taken apart.
	"internal/awsapi.Client has methods in 4 files, more than 3":   "one method makes the client of one service",
	"internal/awsapi.S3 has methods in 4 files, more than 3":       "one file for each noun",
	"internal/dir.tree has methods in 5 files, more than 3":        "two of them are of other systems",
	"internal/discover.Finder has 17 methods, more than 15":        "to be taken apart",
	"internal/discover.Finder has methods in 5 files, more than 3": "to be taken apart",
	"internal/fetch.Fetcher has 19 methods, more than 15":          "to be taken apart",
	"internal/fetch.Fetcher has methods in 7 files, more than 3":   "to be taken apart",
	"internal/queue.Queue has 16 methods, more than 15":            "to be taken apart",
	"internal/queue.Queue has methods in 5 files, more than 3":     "to be taken apart",
	"internal/report.Report has methods in 4 files, more than 3":   "one file for each form",
	"internal/validatelogs.chain embeds walk":                      "to be a named field",
	"internal/verify.run has 50 methods, more than 15":             "to be taken apart",
	"internal/verify.run has methods in 11 files, more than 3":     "to be taken apart",
	"internal/verify.run keeps a context":                          "of log checks: to be an argument",
	"internal/verify.walk has 37 methods, more than 15":            "to be taken apart",
	"internal/verify.walk has methods in 5 files, more than 3":     "to be taken apart",

	// Test support: what a test asks of a fake, in one place.
	"internal/sink/sinktest.suite has 17 methods, more than 15":    "one method for each subtest",
	"internal/testaws.Queue has 21 methods, more than 15":          "a fake queue, and what tests do with it",
	"internal/testaws.Server has 27 methods, more than 15":         "one method for each operation",
	"internal/testaws.Server has methods in 8 files, more than 3":  "one file for each service",
	"internal/testtrail.Chain has 27 methods, more than 15":        "the chain of a test, and its faults",
	"internal/testtrail.Chain has methods in 4 files, more than 3": "the chain of a test, and its faults",
	"internal/testtrail.Store has 20 methods, more than 15":        "the buckets of a test",
	"internal/testtrail.Trail embeds Options":                      "to be a named field",
	"internal/testtrail.World embeds Store":                        "tests change the world's objects directly",
}

package file

// Handle is an open file, to be wrapped by tests that make it fail.
type Handle = handle

// OpenWith is Open on files that with opens.
func OpenWith(path string, o Options, with func(string) (Handle, error)) (*Sink, error) {
	return open(path, o, with)
}

// OpenAppend opens a file as Open does.
var OpenAppend = openAppend

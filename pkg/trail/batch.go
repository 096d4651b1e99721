package trail

// Batch is the events of one log file, or of a part of a large one, as lines
// to emit. Cuts into parts depend on the log alone, so a repeat has the same
// parts.
type Batch struct {
	Log   Object   // the proven log file that the lines are from
	Part  int      // 0 for the first
	Lines [][]byte // one JSON object each, without line feed; not to be changed or kept after Emit returned
	IDs   []string // of the lines: equal for equal lines in every repeat
}

// Size returns how many bytes the lines have as NDJSON.
func (b Batch) Size() int {
	n := len(b.Lines)
	for _, l := range b.Lines {
		n += len(l)
	}
	return n
}

// AppendNDJSON appends the lines to dst, each with a line feed.
func (b Batch) AppendNDJSON(dst []byte) []byte {
	for _, l := range b.Lines {
		dst = append(append(dst, l...), '\n')
	}
	return dst
}

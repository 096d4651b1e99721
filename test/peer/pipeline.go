package main

import (
	"github.com/redpanda-data/benthos/v4/public/service"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"   // stdout
	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // the processors
)

// pipeline is what an operator would write, with everything off that costs
// time and is no work on events. PEER_THREADS is how many log files are
// worked on at once; -1, the default of Benthos, is one for each core.
//
// Of the ways that the documentation knows this is the fastest that we found.
// unarchive json_map takes Records out of a log file: "mapping: root =
// this.Records" would copy every event in memory. archive makes one message
// again of the lines of a log file: else the output, a single thread, would
// encode all events. try and reject_errored refuse a log file that a
// processor fails on; without them it would be written out as it came.
const pipeline = `
input:
  cloudtrail_s3: {}
pipeline:
  threads: ${PEER_THREADS:-1}
  processors:
    - try:
      - decompress: {algorithm: gzip}
      - unarchive: {format: json_map}
      - mutation: 'root = if @archive_key != "Records" { deleted() }'
      - unarchive: {format: json_array}
      - archive: {format: lines}
output:
  reject_errored:
    stdout: {codec: lines}
http: {enabled: false}
logger: {level: none}
metrics: {none: {}}
tracer: {none: {}}
`

// build returns the pipeline that reads from in. It sends nothing anywhere
// but to standard output.
func build(in *input) (*service.Stream, error) {
	env := service.NewEnvironment()
	ctor := func(*service.ParsedConfig, *service.Resources) (service.Input, error) { return in, nil }
	if err := env.RegisterInput("cloudtrail_s3", service.NewConfigSpec(), ctor); err != nil {
		return nil, err
	}
	b := env.NewStreamBuilder()
	if err := b.SetYAML(pipeline); err != nil {
		return nil, err
	}
	return b.Build()
}

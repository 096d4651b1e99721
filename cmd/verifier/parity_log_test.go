package main

import (
	"bytes"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// Rows about log files.
var logRows = []parity{
	{name: "log modified", tamper: func(s *scene) {
		s.EditLog(s.digest(2).Logs[0], func(b []byte) []byte { return append(b, ' ') })
	}},
	{name: "log modified, not verbose", tamper: func(s *scene) {
		s.EditLog(s.digest(2).Logs[0], func(b []byte) []byte { return append(b, ' ') })
	}, drop: []string{"--verbose"}},
	{name: "log deleted", tamper: func(s *scene) { s.deleteLog(2, 1) }},
	{name: "all logs deleted", tamper: func(s *scene) {
		for i := 1; i < 5; i++ {
			s.deleteLog(i, 0)
			s.deleteLog(i, 1)
		}
	}},
	{name: "logs bad in a row", tamper: func(s *scene) {
		s.deleteLog(3, 0)
		s.deleteLog(3, 1)
		s.editLog(2, 0, func(o *testtrail.Stored) { o.Body = []byte("x") })
	}},
	{name: "log swapped with another", tamper: func(s *scene) {
		a, _ := s.Stored("trail-bucket", s.digest(2).Logs[0].Key)
		s.editLog(3, 0, func(o *testtrail.Stored) { o.Body = a.Body })
	}},
	{name: "log not gzip", tamper: func(s *scene) { s.editLog(2, 0, func(o *testtrail.Stored) { o.Body = []byte(`{"Records":[]}`) }) }},
	{name: "log empty", tamper: func(s *scene) { s.editLog(2, 0, func(o *testtrail.Stored) { o.Body = nil }) }},
	{name: "log of one byte", tamper: func(s *scene) { s.editLog(2, 0, func(o *testtrail.Stored) { o.Body = []byte{0x1f} }) }},
	{name: "log of one other byte", tamper: func(s *scene) { s.editLog(2, 0, func(o *testtrail.Stored) { o.Body = []byte{0x20} }) }},
	{name: "log cut in its header", tamper: func(s *scene) { s.editLog(2, 0, func(o *testtrail.Stored) { o.Body = o.Body[:6] }) }},
	{name: "log cut in the middle", tamper: func(s *scene) { s.editLog(2, 0, func(o *testtrail.Stored) { o.Body = o.Body[:len(o.Body)/2] }) }},
	{name: "log with a wrong checksum", tamper: func(s *scene) { s.editLog(2, 0, func(o *testtrail.Stored) { o.Body[len(o.Body)-8] ^= 1 }) }},
	{name: "log with a wrong length", tamper: func(s *scene) { s.editLog(2, 0, func(o *testtrail.Stored) { o.Body[len(o.Body)-1] ^= 1 }) }},
	{name: "log with a flipped bit", tamper: func(s *scene) { s.editLog(2, 0, func(o *testtrail.Stored) { o.Body[len(o.Body)/2] ^= 0x10 }) }},
	{name: "log packed anew", tamper: func(s *scene) {
		s.editLog(2, 0, func(o *testtrail.Stored) { o.Body[9] ^= 0xff }) // the header's operating system
	}},
	{name: "log of two members", tamper: func(s *scene) {
		s.editLog(2, 0, func(o *testtrail.Stored) {
			o.Body = bytes.Join([][]byte{testtrail.Gzip([]byte(`{"Rec`)), testtrail.Gzip([]byte(`ords":[]}`))}, nil)
		})
	}},
	{name: "log modified and followed by data", tamper: func(s *scene) {
		s.editLog(2, 0, func(o *testtrail.Stored) { o.Body = append(testtrail.Gzip([]byte(`{"Records":[]}`)), "more"...) })
	}},

	{name: "data after a log", tamper: func(s *scene) {
		s.editLog(2, 0, func(o *testtrail.Stored) { o.Body = append(o.Body, testtrail.Gzip([]byte(`{"Records":[]}`))...) })
	}, ours: func(s *scene) said {
		return said{s.summary("04:08:11", "5/5 digest files valid", "7/8 log files valid, 1/8 log files INVALID"),
			"Log file\t" + s.log(2, 0) + "\tINVALID: unexpected data after end of compressed stream\n\n", 1}
	}, why: "what follows the stream was never signed, and other readers read it"},
	{name: "log without its trailer", tamper: func(s *scene) {
		s.editLog(2, 0, func(o *testtrail.Stored) { o.Body = o.Body[:len(o.Body)-8] })
	}, ours: func(s *scene) said {
		return said{s.summary("04:08:11", "5/5 digest files valid", "7/8 log files valid, 1/8 log files INVALID"),
			"Log file\t" + s.log(2, 0) + "\tINVALID: invalid format\n\n", 1}
	}, why: "the object is not the one that was delivered: it was cut off"},

	{name: "log denied", tamper: func(s *scene) { s.aws.Fail(testaws.AccessDenied().On("GetObject", "", s.digest(2).Logs[0].Key)) },
		ours: unverifiedLog("access-denied", "AccessDenied: Access Denied"), why: whyUnverified},
	{name: "key of a log denied", tamper: func(s *scene) { s.aws.Fail(testaws.KMSDenied().On("GetObject", "", s.digest(2).Logs[0].Key)) },
		ours: unverifiedLog("kms-denied", "AccessDenied: "+testaws.KMSDenied().Message), why: whyUnverified},
	{name: "log in Glacier", tamper: func(s *scene) { s.aws.Fail(testaws.Archived().On("GetObject", "", s.digest(2).Logs[0].Key)) },
		ours: unverifiedLog("archived", "InvalidObjectState: "+testaws.Archived().Message), why: whyUnverified},
	{name: "log behind a dropped connection", tamper: func(s *scene) {
		s.aws.Fail(testaws.Fault{Op: "GetObject", Key: s.digest(2).Logs[0].Key, CutBody: 20})
	}, ours: unverifiedLog("network", "unexpected EOF"), why: "the reference calls a dropped connection INVALID: invalid format"},
	{name: "log denied and another deleted", tamper: func(s *scene) {
		s.aws.Fail(testaws.AccessDenied().On("GetObject", "", s.digest(2).Logs[0].Key))
		s.deleteLog(1, 0)
	}, ours: func(s *scene) said {
		return said{s.summary("04:08:11", "5/5 digest files valid", "6/8 log files valid, 1/8 log files INVALID, 1/8 log files UNVERIFIED"),
			"Log file\t" + s.log(2, 0) + "\tUNVERIFIED: access-denied\n\nLog file\t" + s.log(1, 0) + "\tINVALID: not found\n\n", 1}
	}, why: whyUnverified + "; and what was proven INVALID is not hidden by it"},
}

const whyUnverified = "one object that cannot be read does not end the run"

func unverifiedLog(reason, cause string) func(*scene) said {
	return func(s *scene) said {
		return said{s.summary("04:08:11", "5/5 digest files valid", "7/8 log files valid, 1/8 log files UNVERIFIED"),
			"Log file\t" + s.log(2, 0) + "\tUNVERIFIED: " + reason + "\n\n" +
				"error: 1 file could not be checked: get " + s.log(2, 0) + ": " + cause + "\n", 255}
	}
}

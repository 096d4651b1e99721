package bench

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// peak returns the most resident memory that an ended process had, in bytes.
func peak(p *os.ProcessState) int64 {
	most := p.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS != "darwin" {
		most <<= 10 // Linux and the BSDs count kilobytes
	}
	return most
}

// processorTime returns what this process has used so far.
func processorTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

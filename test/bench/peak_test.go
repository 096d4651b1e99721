package bench

import (
	"os"
	"runtime"
	"syscall"
)

// peak returns the most resident memory that an ended process had, in bytes.
func peak(p *os.ProcessState) int64 {
	most := p.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS != "darwin" {
		most <<= 10 // Linux and the BSDs count kilobytes
	}
	return most
}

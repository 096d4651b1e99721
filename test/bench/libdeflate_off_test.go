//go:build !libdeflate

package bench

func libdeflateVersion() string { return "" }

func libdeflateLoops() []loop { return nil }

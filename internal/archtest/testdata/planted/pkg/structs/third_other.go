//go:build !linux

package structs

func (spread) d() {}

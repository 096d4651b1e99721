package structs

import "context"

func (near) p() {}
func (near) q() {}

type fixture struct {
	inner
	ctx context.Context
}

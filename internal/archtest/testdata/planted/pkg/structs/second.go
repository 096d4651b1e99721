package structs

func (near) n() {}

func (*spread) b() {}

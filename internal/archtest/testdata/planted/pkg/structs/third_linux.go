package structs

func (near) o() {}

func (spread) c() {}

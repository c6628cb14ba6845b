package blocklists

func (p *Policy) cancel() {}

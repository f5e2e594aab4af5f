package driver

// idle are the buffers of a queue that the device does not have. The one used last goes
// first, since it is in the cache.
type idle []uint16

// newIdle makes one of the buffers 0 to n-1, of which the first goes first.
func newIdle(n uint16) idle {
	var l idle
	for i := range n {
		l.put(n - 1 - i)
	}
	return l
}

func (l *idle) put(i uint16) { *l = append(*l, i) }

// take gives one. There must be one.
func (l *idle) take() uint16 {
	last := len(*l) - 1
	i := (*l)[last]
	*l = (*l)[:last]
	return i
}

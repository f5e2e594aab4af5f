package driver

import (
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
	"vsockets.dev/internal/virtqueue"
)

// A device that gives back at once what it takes sees the same few buffers over and over.
func TestSendWarm(t *testing.T) {
	b := newBed(t, plainFeatures)
	seen := make(map[*byte]bool)
	for range 5 * queueSize {
		if _, ok := b.driver.Take(out(100), nil); !ok {
			t.Fatal("refused, though there is room")
		}
		b.backend.use(func() {
			c := b.popNow(txQueue)
			seen[&c.Readable[0][0]] = true
			b.giveNow(txQueue, c.Head, 0)
		})
	}
	if len(seen) != txRotation[1] {
		t.Errorf("%d buffers are used, want %d", len(seen), txRotation[1])
	}
}

// While someone polls, few buffers go round; whoever goes to sleep leaves the device all.
func TestReceiveWarm(t *testing.T) {
	b := newBed(t, plainFeatures)
	if n := len(b.offered()); n != queueSize {
		t.Errorf("%d buffers are offered at first, want %d", n, queueSize)
	}
	b.driver.Hold()
	for range queueSize {
		b.sendIn(inHeader(0), nil, packet.HeaderSize)
	}
	spin.Batches(rxSource{&b.driver.rx})
	first := b.offered()
	if len(first) != rxRotation[1] {
		t.Fatalf("%d buffers are offered while they are polled, want %d", len(first), rxRotation[1])
	}
	for range 5 * queueSize {
		b.sendIn(inHeader(0), nil, packet.HeaderSize)
		spin.Batches(rxSource{&b.driver.rx})
	}
	for p := range b.offered() {
		if !first[p] {
			t.Error("other buffers go round than before")
			break
		}
	}
	b.driver.Release()
	b.backend.use(func() {
		for range queueSize {
			b.popNow(rxQueue) // the driver lingers, and then it offers the rest
		}
	})
}

// offered tells which RX buffers the device has, by where they begin.
func (b *bed) offered() map[*byte]bool {
	all := make(map[*byte]bool)
	b.backend.use(func() {
		var c virtqueue.Chain
		for ok := true; ok; {
			var err error
			if ok, err = b.rx.Pop(&c); err != nil {
				b.t.Fatal(err)
			}
			if ok {
				all[&c.Writable[0][0]] = true
			}
		}
		for range all {
			b.rx.Unpop()
		}
	})
	return all
}

// While packets of some size go, more buffers go round in trials, and fewer.
func TestSendTries(t *testing.T) {
	b := newBed(t, plainFeatures)
	seen := make(map[*byte]bool)
	for range 4 * leastSpan {
		b.send(out(leastMeasured))
		b.backend.use(func() {
			c := b.popNow(txQueue)
			seen[&c.Readable[0][0]] = true
			b.giveNow(txQueue, c.Head, 0)
		})
	}
	if len(seen) <= txRotation[1] {
		t.Errorf("%d buffers are used, want more", len(seen))
	}
}

func TestReceiveTries(t *testing.T) {
	b := newBed(t, plainFeatures)
	b.driver.Hold()
	defer b.driver.Release()
	for range queueSize {
		b.sendIn(inHeader(0), nil, packet.HeaderSize)
		spin.Batches(rxSource{&b.driver.rx})
		receive(t, b.in.got, "a packet")
	}
	data := pattern(leastMeasured)
	for range 4 * leastSpan {
		b.sendIn(inHeader(len(data)), data, packet.HeaderSize+leastMeasured)
		spin.Batches(rxSource{&b.driver.rx})
		receive(t, b.in.got, "a packet")
		if len(b.offered()) != rxRotation[1] {
			return
		}
	}
	t.Errorf("%d buffers are offered, over and over", rxRotation[1])
}

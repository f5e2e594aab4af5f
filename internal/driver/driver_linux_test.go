package driver

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vsockets.dev/internal/packet"
)

func TestConnectRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		backend *backend
		want    string
	}{
		"no VERSION_1":     {newBackend(featureEventIdx, ownCID), "VERSION_1"},
		"hypervisor's CID": {newBackend(wantedFeatures, 0), "CID 0"},
		"local CID":        {newBackend(wantedFeatures, 1), "CID 1"},
		"host's CID":       {newBackend(wantedFeatures, 2), "CID 2"},
		"any CID":          {newBackend(wantedFeatures, 1<<32-1), "CID 4294967295"},
		"no 32-bit CID":    {newBackend(wantedFeatures, 1<<32+3), "CID 4294967299"},
		"no configuration": {&backend{features: wantedFeatures}, "configuration space"},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := listen(t, c.backend)
			d, err := Connect(t.Context(), path)
			if err == nil {
				_ = d.Close()
				t.Fatal("connected")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%q does not tell of %q, and where", err, c.want)
			}
		})
	}
	t.Run("no socket", func(t *testing.T) {
		if _, err := Connect(t.Context(), filepath.Join(t.TempDir(), "s")); err == nil {
			t.Error("connected")
		}
	})
	t.Run("canceled", func(t *testing.T) {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s")) // where nobody answers
		must(t, err)
		defer l.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Connect(ctx, l.Addr().String()); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestLargestCID(t *testing.T) {
	path, _ := listen(t, newBackend(wantedFeatures, 1<<32-2))
	d, err := Connect(t.Context(), path)
	must(t, err)
	if d.CID() != 1<<32-2 {
		t.Errorf("CID %d", d.CID())
	}
	must(t, d.Close()) // was not started
	if !errors.Is(d.Err(), net.ErrClosed) {
		t.Errorf("ended with %v", d.Err())
	}
}

func TestStartTwice(t *testing.T) {
	b := newBed(t, wantedFeatures)
	if err := b.driver.Start(b.in); err == nil {
		t.Error("started twice")
	}
}

func TestSend(t *testing.T) {
	data := pattern(packet.MaxPayload)
	for name, payload := range map[string][][]byte{
		"no payload":           nil,
		"a byte":               {data[:1]},
		"as much as there may": {data},
		"in pieces":            {data[:100], nil, data[100:20000], data[20000:60000]},
	} {
		for mode, features := range eventModes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				b := newBed(t, features)
				p := out(0)
				var want string
				for _, s := range payload {
					p.Len += uint32(len(s))
					want += string(s)
				}
				p.Payload = payload
				for range 2 * queueSize { // so that some buffers have several turns
					if n, ok := b.driver.Take(p, newWaker()); n != int(p.Len) || !ok {
						t.Fatalf("Take: %d, %v", n, ok)
					}
					head, h, got := b.sent()
					if d := cmp.Diff(p.Header, h); d != "" {
						t.Fatalf("header (-want +got):\n%s", d)
					}
					if string(got) != want {
						t.Fatal("the payload is not what was sent")
					}
					b.giveBack(head, 0)
				}
			})
		}
	}
}

func TestReceive(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			b := newBed(t, features)
			for i := range 5 * queueSize {
				n := []int{0, 1, 100, bufferSize - packet.HeaderSize}[i%4]
				h := inHeader(n)
				h.FwdCnt = uint32(i)
				b.sendIn(h, pattern(n), uint32(packet.HeaderSize+n))
				want := record{h, string(pattern(n))}
				if got := receive(t, b.in.got, "a packet"); got != want {
					t.Fatalf("packet %d: %v with %d bytes", i, &got.Header, len(got.Payload))
				}
			}
		})
	}
}

// A packet for another context is none of ours.
func TestReceiveForAnother(t *testing.T) {
	b := newBed(t, wantedFeatures)
	for _, cid := range []uint64{0, hostCID, ownCID + 1, ownCID | 1<<32} {
		h := inHeader(0)
		h.DstCID = cid
		b.sendIn(h, nil, packet.HeaderSize)
	}
	b.sendIn(inHeader(0), nil, packet.HeaderSize)
	if got := receive(t, b.in.got, "a packet"); got.DstCID != ownCID {
		t.Errorf("%v arrives", &got.Header)
	}
}

// A full queue refuses, and wakes when the device has given something back.
func TestFull(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			b := newBed(t, features)
			w := b.fill(0)
			for range 1000 {
				head, _, _ := b.sent()
				b.giveBack(head, 0)
				receive(t, w, "room")
				if n, ok := b.driver.Take(out(100), w); !ok || n != 100 {
					t.Fatalf("with room: %d, %v", n, ok)
				}
				if n, ok := b.driver.Take(out(0), w); ok || n != 0 {
					t.Fatalf("with none left: %d, %v", n, ok)
				}
			}
			if n, ok := b.driver.Take(out(0), nil); !ok || n != 0 {
				t.Errorf("what nobody sends again: %d, %v; want it dropped", n, ok)
			}
		})
	}
}

// The device returns several buffers. Before whoever waits is woken, another sender takes them
// all back, and needs but one.
func TestLeftoversWake(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			b := newBed(t, features)
			w := b.fill(0)
			first, _, _ := b.sent()
			second, _, _ := b.sent()
			b.backend.use(func() {
				b.tx.Push(first, 0)
				b.tx.Push(second, 0)
				b.tx.Publish()
			})
			if _, ok := b.driver.Take(out(100), newWaker()); !ok {
				t.Fatal("refused, though there is room")
			}
			b.backend.use(func() { _ = b.backend.queues[txQueue].Call.Signal() })
			receive(t, w, "room")
		})
	}
}

// A datagram for which there is no room is lost, whoever waits.
func TestDatagramWithoutRoom(t *testing.T) {
	b := newBed(t, plainFeatures)
	b.fill(0)
	for _, w := range []packet.Waker{nil, newWaker()} {
		p := out(200)
		p.Type = packet.TypeDatagram
		if n, ok := b.driver.Take(p, w); !ok || n != 200 {
			t.Fatalf("Take: %d, %v", n, ok)
		}
	}
	for range queueSize {
		head, _, _ := b.sent()
		b.giveBack(head, 0)
	}
	b.send(out(100))
	if _, h, _ := b.sent(); h.Len != 100 {
		t.Errorf("sent is %v", &h)
	}
}

// Replies, which nobody waits for, go when there is room: first, and as many as may wait.
func TestRepliesWait(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			b := newBed(t, features)
			b.fill(1)
			b.driver.Take(out(100), nil) // without a sender that waits
			const more = 10
			for i := range uint32(maxReplies + more) {
				rst := out(0)
				rst.Op, rst.DstPort = packet.OpReset, i
				if n, ok := b.driver.Take(rst, nil); !ok || n != 0 {
					t.Fatalf("Take: %d, %v", n, ok)
				}
			}
			for range queueSize { // and each brings the device's signal, or none is asked for
				head, _, _ := b.sent()
				b.giveBack(head, 0)
			}
			for i := range uint32(maxReplies) {
				if _, h, _ := b.sent(); h.Op != packet.OpReset || h.DstPort != i {
					t.Fatalf("sent is %v, want the reset of %d", &h, i)
				}
			}
			if n, ok := b.driver.Take(out(100), nil); !ok || n != 100 {
				t.Errorf("Take: %d, %v", n, ok)
			}
			if _, h, _ := b.sent(); h.Len != 100 {
				t.Errorf("sent is %v, and more resets than may wait", &h)
			}
		})
	}
}

// Many senders and a device, all of which sleep when there is nothing to do.
func TestNoWakeupIsLost(t *testing.T) {
	const senders, packets = 4, 20_000
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			b := newBed(t, features)
			got := make(chan int, senders*packets*2)
			b.device(7, func(payload []byte) { got <- len(payload) })
			var wg sync.WaitGroup
			for range senders {
				wg.Go(func() {
					w := newWaker()
					for i := range packets {
						p := out(0)
						if i%64 == 0 {
							p = out(40_000)
						}
						for {
							if _, ok := b.driver.Take(p, w); ok {
								break
							}
							<-w
						}
					}
				})
			}
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			receive(t, done, "the senders")
			for n := senders * ((packets + 63) / 64) * 40_000; n > 0; {
				n -= receive(t, got, "a packet")
			}
		})
	}
}

func TestClose(t *testing.T) {
	b := newBed(t, plainFeatures)
	w := b.fill(0)
	must(t, b.driver.Close())
	receive(t, w, "the end")
	if !errors.Is(b.driver.Err(), net.ErrClosed) {
		t.Errorf("ended with %v", b.driver.Err())
	}
	if n, ok := b.driver.Take(out(100), w); !ok || n != 100 {
		t.Errorf("after the end: %d, %v; want it dropped", n, ok)
	}
	must(t, b.driver.Close())
}

// Close while packets go both ways.
func TestCloseInTheMidst(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			b := newBed(t, features)
			b.device(64, func([]byte) {})
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					w := newWaker()
					for {
						select {
						case <-b.driver.Done():
							return
						default:
						}
						if _, ok := b.driver.Take(out(30_000), w); !ok {
							<-w
						}
					}
				})
			}
			for range 50 {
				b.sendIn(inHeader(100), pattern(100), packet.HeaderSize+100)
			}
			b.end()
			must(t, b.driver.Close())
			wg.Wait()
		})
	}
}

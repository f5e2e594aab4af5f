package vhostuser

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// This file is about how messages come: whole or cut, in one piece or byte by byte, with
// too many descriptors or with some where none belong.

// TestHangUp has the front-end go away after each message, and within each.
func TestHangUp(t *testing.T) {
	for name, tt := range scripts {
		t.Run(name, func(t *testing.T) {
			before := held(t)
			for n := range tt.script {
				s := serve(t, &recorder{t: t})
				s.do(t, tt.script[:n]...)
				if err := s.hangUp(t); err != nil {
					t.Errorf("after %d messages: %v", n, err)
				}
				_ = s.front.Close()

				s = serve(t, &recorder{t: t})
				s.do(t, tt.script[:n]...)
				if err := tt.script[n].write(t, s.front); err != nil {
					t.Fatal(err)
				}
				_ = s.front.Close() // with the answer, if there is one, unread
				if err := s.finish(t); err != nil {
					t.Errorf("after %d messages, unanswered: %v", n+1, err)
				}
				noLeak(t, before)
			}
		})
	}
}

// TestCutMessage has the front-end go away in the middle of a message.
func TestCutMessage(t *testing.T) {
	before := held(t)
	whole := append(Header{Request: SetMemTable, Flags: version, Size: uint32(len(umlTable))}.Append(nil), umlTable...)
	for n := 1; n < len(whole); n++ {
		s := serve(t, &recorder{t: t})
		fd := memory.open(t)
		if _, _, err := s.front.WriteMsgUnix(whole[:n], unix.UnixRights(fd), nil); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
		if err := s.hangUp(t); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d of %d bytes: %v", n, len(whole), err)
		}
		_ = s.front.Close()
	}
	noLeak(t, before)
}

// TestSlowMessage sends a script byte by byte, as a stream may carry it.
func TestSlowMessage(t *testing.T) {
	s := serve(t, &recorder{t: t})
	for _, want := range []msg{{r: GetFeatures, answer: offered}, {r: GetConfig, payload: askCID, answer: guestCID}} {
		whole := append(Header{Request: want.r, Flags: version, Size: uint32(len(want.payload))}.Append(nil), want.payload...)
		for i := range whole {
			if _, err := s.front.Write(whole[i : i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if h, got, err := readAnswer(s.front); err != nil || h.Request != want.r || !slices.Equal(got, want.answer) {
			t.Errorf("%v: answer %+v % x, %v", want.r, h, got, err)
		}
	}
	if err := s.hangUp(t); err != nil {
		t.Error(err)
	}
}

// TestManyDescriptors has more descriptors come with one message than any has,
// a few with each byte of its header.
func TestManyDescriptors(t *testing.T) {
	before := held(t)
	s := serve(t, &recorder{t: t})
	fd := memory.open(t)
	header := Header{Request: SetMemTable, Flags: version, Size: uint32(len(umlTable))}.Append(nil)
	for i := range header {
		if _, _, err := s.front.WriteMsgUnix(header[i:i+1], unix.UnixRights(fd, fd, fd), nil); err != nil {
			break // the session has ended
		}
	}
	_ = unix.Close(fd)
	if err := s.hangUp(t); err == nil || !strings.Contains(err.Error(), "more than 8") {
		t.Errorf("Serve: %v", err)
	}
	_ = s.front.Close()
	noLeak(t, before)
}

// negotiated begins a session with REPLY_ACK.
var negotiated = []msg{
	{r: SetProtocolFeatures, payload: protos},
	{r: SetFeatures, payload: u64(testFeatures | FeatureProtocolFeatures)},
}

// ready makes queue 0 lack nothing but its kick.
var ready = slices.Concat(negotiated, []msg{
	{r: SetMemTable, payload: AppendMemTable(nil, oneRegion), fds: []kind{memory}},
	{r: SetVringNum, payload: state(0, 256)},
	{r: SetVringAddr, payload: addr(0)},
})

// running has queue 0 at work.
var running = slices.Concat(ready, []msg{
	{r: SetVringKick, payload: fdOf(0), fds: []kind{event}},
	{r: SetVringEnable, payload: state(0, 1)},
})

// TestStrayDescriptors sends descriptors with the payload, where none belong.
func TestStrayDescriptors(t *testing.T) {
	before := held(t)
	s := serve(t, &recorder{t: t})
	whole := append(Header{Request: SetFeatures, Flags: version, Size: 8}.Append(nil), u64(0)...)
	if _, err := s.front.Write(whole[:HeaderSize]); err != nil {
		t.Fatal(err)
	}
	fd := memory.open(t)
	if _, _, err := s.front.WriteMsgUnix(whole[HeaderSize:], unix.UnixRights(fd), nil); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	s.do(t, msg{r: GetFeatures, answer: offered})
	if err := s.hangUp(t); err != nil {
		t.Error(err)
	}
	_ = s.front.Close()
	noLeak(t, before)
}

package soak

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"vsockets.dev/hybrid"
	"vsockets.dev/internal/attach"
	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/vsock"
)

// EnvChild makes a program that calls Child one of the soak's processes: the stack that
// it has.
const EnvChild = "VSOCKETS_SOAK_CHILD"

const (
	stackAttach = "attach" // PATH
	stackHybrid = "hybrid" // PATH CID
)

// Child is what such a process does: as it is told by its standard input, until that
// ends.
func Child(stack string) error {
	st, err := openStack(stack)
	if err != nil {
		return err
	}
	peer := guestpeer.New(st)
	peer.ServeCalls(stdio{onEnd: func() { _ = st.Close() }}) // which ends what is under way
	return peer.Close()
}

type closingStack interface {
	vsock.Stack
	io.Closer
}

func openStack(stack string) (closingStack, error) {
	switch words := strings.Fields(stack); {
	case len(words) == 2 && words[0] == stackAttach:
		return attach.Dial(context.Background(), words[1])
	case len(words) == 3 && words[0] == stackHybrid:
		cid, err := strconv.ParseUint(words[2], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("soak: %q is no stack: %w", stack, err)
		}
		return hybrid.NewStack(words[1], hybrid.StackConfig{GuestCID: uint32(cid)}), nil
	}
	return nil, fmt.Errorf("soak: %q is no stack", stack)
}

// stdio is standard input and output.
type stdio struct{ onEnd func() }

func (s stdio) Read(p []byte) (int, error) {
	n, err := os.Stdin.Read(p)
	if err != nil {
		s.onEnd()
	}
	return n, err
}

func (stdio) Write(p []byte) (int, error) { return os.Stdout.Write(p) }

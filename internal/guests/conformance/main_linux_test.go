package conformance

import (
	"testing"

	"vsockets.dev/internal/guests"
)

func TestMain(m *testing.M) { guests.Main(m) }

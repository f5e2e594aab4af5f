package forward

import (
	"testing"

	"vsockets.dev/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.MainSplicing(m) }

//go:build !linux

package compare

import "context"

// Scale measures what many contexts and connections cost.
func Scale(context.Context, ScaleConfig) (*ScaleReport, error) { return nil, errNoAttach }

package switchd

import (
	"context"
	"net/http"

	"vsockets.dev/vswitch"
)

// connectionList is the answer to GET /v1/connections.
type connectionList struct {
	Connections []vswitch.Connection `json:"connections"`
}

// connections answers it.
func connections(sw *vswitch.Switch) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		all := sw.Connections()
		if all == nil {
			all = []vswitch.Connection{} // a list in JSON too
		}
		write(w, http.StatusOK, connectionList{all})
	}
}

// Connections tells of all connections through the switch.
func (c *Client) Connections(ctx context.Context) ([]vswitch.Connection, error) {
	var list connectionList
	err := c.do(ctx, http.MethodGet, "/v1/connections", nil, &list)
	return list.Connections, err
}

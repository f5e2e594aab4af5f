package switchd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ParseGuest reads the form of a guest on the command line:
//
//	cid=3,socket=/run/vm3.sock[,hybrid=/run/vm3.vsock][,groups=a+b][,LIMIT=N...]
//
// A path with a comma can only be written in the file.
func ParseGuest(s string) (Guest, error) {
	var g Guest
	err := eachItem(s, func(key, value string) (err error) {
		switch key {
		case "cid":
			g.CID, err = parseNumber(value)
		case "socket":
			g.Socket = value
		case "hybrid":
			g.Hybrid = value
		case "groups":
			g.Groups = splitGroups(value)
		default:
			return setLimit(&g.Limits, key, value, "cid, socket, hybrid, groups")
		}
		return err
	})
	switch {
	case err != nil:
	case g.CID == 0:
		err = errors.New("it has no cid; write cid=N,socket=PATH")
	case g.Socket == "":
		err = errors.New("it has no socket; write cid=N,socket=PATH")
	}
	if err != nil {
		return Guest{}, fmt.Errorf("guest %q: %w", s, err)
	}
	return g, nil
}

// ParseAttach reads the form of a socket for processes on the command line:
//
//	/run/attach.sock[,cids=1000-1999][,users=0+1000][,per-user=N][,groups=a+b][,LIMIT=N...]
func ParseAttach(s string) (Attach, error) {
	var a Attach
	path, items, _ := strings.Cut(s, ",")
	a.Socket = strings.TrimPrefix(path, "socket=")
	err := eachItem(items, func(key, value string) (err error) {
		switch key {
		case "cids":
			err = a.CIDs.UnmarshalText([]byte(value))
		case "users":
			for u := range strings.SplitSeq(value, "+") {
				var id uint32
				if id, err = parseNumber(u); err != nil {
					return err
				}
				a.Users = append(a.Users, id)
			}
		case "per-user":
			a.PerUser, err = ParseSize(value)
		case "groups":
			a.Groups = splitGroups(value)
		default:
			return setLimit(&a.Limits, key, value, "cids, users, per-user, groups")
		}
		return err
	})
	if err == nil && a.Socket == "" {
		err = errors.New("it has no path; write PATH[,cids=FIRST-LAST]")
	}
	if err != nil {
		return Attach{}, fmt.Errorf("attach %q: %w", s, err)
	}
	return a, nil
}

// eachItem calls f for each KEY=VALUE between commas.
func eachItem(s string, f func(key, value string) error) error {
	if s == "" {
		return nil
	}
	seen := make(map[string]bool)
	for item := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(item, "=")
		switch {
		case !ok:
			return fmt.Errorf("%q is no KEY=VALUE", item)
		case seen[key]:
			return fmt.Errorf("%s is there twice; leave one out", key)
		case value == "":
			return fmt.Errorf("%s has no value", key)
		}
		seen[key] = true
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

func setLimit(l *Limits, key, value, others string) error {
	if l.named(key) == nil {
		return fmt.Errorf("%q is not known; use %s, %s", key, others, limitNames)
	}
	return l.Set(key, value)
}

func splitGroups(s string) []string { return strings.Split(s, "+") }

func parseNumber(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no number of 32 bits", s)
	}
	return uint32(n), nil
}

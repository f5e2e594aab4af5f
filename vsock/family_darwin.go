package vsock

func addressFamily() (int, error) { return afVsock, nil }

func systemVersion() (uint32, error) { return 0, ErrNotSupported }

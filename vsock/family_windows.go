package vsock

func addressFamily() (int, error) { return vmci{}.Number() }

func systemVersion() (uint32, error) { return askVMCI("version", vmciVersion) }
